"""Fail unless the verdicts of a smoke run are what theory allows.

usage: inspect_verdicts.py CLAIMS.json VERDICTS.json, as `tpbench list --json` and `tpbench judge --json` print them.
"""

import json
import sys
from pathlib import Path

MUST_BE_SUPPORTED = {"coordinate-size", "zero-output"}
"""Claims whose smoke sweep is large enough to be sure of."""


def main(claims: Path, judged: Path) -> int:
    """Return 0 when every claim is there, none is refuted, and the sure ones are supported."""
    listed = {claim["name"] for claim in json.loads(claims.read_text())}
    verdicts = {item["claim"]: item["verdict"] for item in json.loads(judged.read_text()) if item.get("overall")}
    for name, verdict in verdicts.items():
        print(f"{name}: {verdict}")
    wrong = {
        "without a verdict": listed - set(verdicts),
        "refuted": {name for name, verdict in verdicts.items() if verdict == "refuted"},
        "should be supported": {name for name in MUST_BE_SUPPORTED if verdicts.get(name) != "supported"},
    }
    for what, names in wrong.items():
        if names:
            print(f"{what}: {', '.join(sorted(names))}", file=sys.stderr)
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
