"""pytest plugin: the fixture ``assert_parametrization``, the function of ``tpbench.check`` of the same name.

pytest loads this module at every start, so it imports nothing but pytest; torch comes when a test asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session", name="assert_parametrization")
def assert_parametrization_fixture() -> Callable[..., Any]:
    """``assert_parametrization(factory, "mup", **options)``: fails with the refuted rows, their cause and remedy."""
    from tpbench.check.api import assert_parametrization

    return assert_parametrization
