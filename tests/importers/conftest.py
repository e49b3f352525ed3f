"""Readers of foreign formats, judged in the process of the test."""

import pytest
from tests.importers.small_models import read_here


@pytest.fixture(autouse=True)
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read without a child, which takes a second a file, but where a test is about the child."""
    if "child" not in request.keywords:
        monkeypatch.setattr("thorax.importers.confined.read", read_here)
