"""Fixtures that every test may ask for."""

from pathlib import Path

import pytest

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real radiographs, DICOM files and models; the test is skipped without it."""
    if not REALDATA.is_dir():
        pytest.skip("real data are absent: they are looked for in ../shared/data")
    return REALDATA
