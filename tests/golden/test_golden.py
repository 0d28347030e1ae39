"""The comparison itself."""

import sysconfig
from pathlib import Path

import golden as golden_files
import pytest
from golden import ROOT, Golden


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(golden_files, "__file__", str(tmp_path / "golden.py"))
    (tmp_path / "expected").mkdir()
    return tmp_path / "expected" / "some.txt"


def test_a_difference_is_shown_with_the_way_to_renew(kept: Path, tmp_path: Path) -> None:
    Golden(True, tmp_path).check("some.txt", "one\ntwo\n", "hand")
    assert kept.read_text().startswith("# Made by: hand\n")
    Golden(False, tmp_path).check("some.txt", "one\ntwo\n", "hand")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)-two\n\+three.*--renew-golden"):
        Golden(False, tmp_path).check("some.txt", "one\nthree\n", "hand")


def test_a_missing_file_is_a_difference(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"\+one"):
        Golden(False, tmp_path).check("some.txt", "one\n", "hand")
    assert not kept.exists()


def test_machine_and_moment_are_taken_out(tmp_path: Path) -> None:
    packages = sysconfig.get_paths()["purelib"]
    text = f'{tmp_path}/a {packages}/b {ROOT}/c "request-0123456789ab" "{"0f" * 16}" "{"0f" * 8}" "0f"'
    portable = '$WORKSPACE/a $PACKAGES/b $PROJECT/c "<digest>" "<digest>" "<digest>" "0f"'
    assert Golden(False, tmp_path).portable(text) == portable
