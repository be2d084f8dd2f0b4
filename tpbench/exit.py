"""How commands end: exit statuses, and errors that a user can mend as one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

REFUTED, BAD_INPUT, INTERRUPTED = 3, 2, 130


@contextmanager
def bad_input() -> Iterator[None]:
    """Turn the errors that a user can mend into one sentence and status 2; TPBENCH_TRACEBACK=1 shows the rest."""
    from tpbench.bench.atomic import StoreError

    try:
        yield
    except (ValueError, StoreError) as error:
        _stop(str(error), BAD_INPUT)
    except typer.Exit:
        raise
    except Exception as error:
        from tpbench.bench.engine import Interrupted, WorkersDied
        from tpbench.bench.store import MissingRuns

        if isinstance(error, Interrupted):
            _stop(str(error), INTERRUPTED)
        if isinstance(error, MissingRuns | WorkersDied):
            _stop(str(error), BAD_INPUT)
        raise


def _stop(message: str, status: int) -> None:
    if os.environ.get("TPBENCH_TRACEBACK"):
        raise
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(status)
