#!/bin/sh
# Measure one commit with asv in the existing environment, and publish the pages under build/asv-html.
#
#   sh benchmarks/run_asv.sh                         # HEAD
#   COMMIT=HEAD~1 sh benchmarks/run_asv.sh           # another commit, with the benchmarks of the working tree
#   sh benchmarks/run_asv.sh --bench training        # further arguments go to `asv run`
#
# What is measured is the commit's own code, unpacked into a temporary directory, whatever the working tree holds.
# PYTHON names the interpreter (default .venv/bin/python); asv must be installed beside it.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || { echo "run_asv.sh: there is no $python; run \`make venv\` or set PYTHON" >&2; exit 1; }
asv() { "$python" -m asv "$@"; }
commit=$(git rev-parse --verify "${COMMIT:-HEAD}^{commit}")

source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
trap 'exit 130' INT TERM
git archive --format=tar "$commit" tpbench | tar -x -f - -C "$source"

# asv drops PYTHONPATH and takes ASV_PYTHONPATH; without it, it would record the installed code under this commit.
ASV_PYTHONPATH=$source
export ASV_PYTHONPATH
found=$(PYTHONPATH=$source "$python" -P -c 'import tpbench; print(tpbench.__file__)')
case $found in
"$source"/*) ;;
*) echo "run_asv.sh: the code of $commit was unpacked into $source, but Python imports $found" >&2; exit 1 ;;
esac

asv machine --yes
# An existing environment saves nothing without --set-commit-hash.
asv run --environment "existing:$python" --set-commit-hash "$commit" --show-stderr "$@"
asv publish
echo "The pages are in build/asv-html; look at them with: $python -m asv preview"
