"""The real cascades: all fifty where the data folder lies beside the checkout, else the two kept here."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics.demo.cascades import Cascade, read_cascades

KEPT = Path(__file__).parent / "data"
BESIDE = Path(__file__).parents[2].parent / "shared" / "data" / "cascades"


@pytest.fixture(scope="session")
def cascades_dir() -> Path:
    return BESIDE if BESIDE.is_dir() else KEPT


@pytest.fixture(scope="session")
def cascades(cascades_dir: Path) -> list[Cascade]:
    return read_cascades(cascades_dir)
