"""The golden files, for the tests in this folder."""

from pathlib import Path

import pytest
from golden import ROOT, Golden


@pytest.fixture
def golden(renew_golden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Golden:
    """Comparison or renewal, from the project's root and as wide as a plain terminal."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("BRAID_WORKSPACE", raising=False)
    return Golden(renew_golden, tmp_path)
