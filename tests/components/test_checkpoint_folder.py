"""The folder of checkpoints: found again under the same key alone, gone at a good end, swept when abandoned."""

import os
import time
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components import checkpoint_folder as folders
from components.checkpoint_folder import checkpoint_folder, checkpoint_key
from components.errors import StepError


def output(root: Path, execution: int = 5) -> str:
    return str(root / "train" / "model" / str(execution))


def hidden(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if ".resume" in str(path))


def cut_off(root: Path, key: str, execution: int = 5) -> None:
    with pytest.raises(KeyboardInterrupt), checkpoint_folder(output(root, execution), key) as folder:
        Path(folder).mkdir(parents=True)
        (Path(folder) / "state").write_text("so far")
        raise KeyboardInterrupt


def test_what_was_cut_off_is_found_by_the_next_execution_and_goes_at_a_good_end(tmp_path: Path) -> None:
    cut_off(tmp_path, "k")
    with checkpoint_folder(output(tmp_path, 6), "k") as folder:
        assert (Path(folder) / "state").read_text() == "so far"
    assert hidden(tmp_path) == []


def test_another_key_finds_nothing_and_leaves_it_alone(tmp_path: Path) -> None:
    cut_off(tmp_path, "k")
    with checkpoint_folder(output(tmp_path, 6), "other") as folder:
        assert not Path(folder).exists()
    assert hidden(tmp_path) == ["train/.resume", "train/.resume/k", "train/.resume/k/state"]


def test_a_failure_that_may_pass_keeps_it_and_a_refusal_does_not(tmp_path: Path) -> None:
    cut_off(tmp_path, "k")
    with pytest.raises(OSError, match="disk"), checkpoint_folder(output(tmp_path), "k"):
        raise OSError("disk")
    assert "train/.resume/k/state" in hidden(tmp_path)
    with pytest.raises(StepError), checkpoint_folder(output(tmp_path), "k"):
        raise StepError("refused")
    assert hidden(tmp_path) == []


def test_what_was_abandoned_a_week_ago_is_swept(tmp_path: Path) -> None:
    cut_off(tmp_path, "old")
    cut_off(tmp_path, "young")
    then = time.time() - (folders.KEPT_DAYS + 1) * folders.DAY_SECONDS
    for path in (tmp_path / "train/.resume/old/state", tmp_path / "train/.resume/old"):
        os.utime(path, (then, then))
    with checkpoint_folder(output(tmp_path), "k"):
        assert not (tmp_path / "train/.resume/old").exists()
    assert "train/.resume/young/state" in hidden(tmp_path)


def examples(digest: str, number: int = 1) -> standard_artifacts.Examples:
    made = standard_artifacts.Examples()
    made.id, made.uri = number, f"/somewhere/{number}"
    if digest:
        made.set_string_custom_property("content_digest", digest)
    return made


def test_the_key_goes_by_content_configuration_code_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    key = checkpoint_key({"examples": [examples("a")]}, "{}")
    assert key == checkpoint_key({"examples": [examples("a", number=2)]}, "{}")
    others = {
        checkpoint_key({"examples": [examples("b")]}, "{}"),
        checkpoint_key({"examples": [examples("a")], "hyperparameters": [examples("h")]}, "{}"),
        checkpoint_key({"examples": [examples("a")]}, '{"seed": 1}'),
        checkpoint_key({"examples": [examples("")]}, "{}"),
        checkpoint_key({"examples": [examples("", number=2)]}, "{}"),
    }
    for name in ("_code_digest", "_versions"):
        with monkeypatch.context() as patched:
            patched.setattr(folders, name, lambda: {"xgboost": "9"})
            others.add(checkpoint_key({"examples": [examples("a")]}, "{}"))
    assert len(others | {key}) == 8


def test_an_edited_step_has_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "braid_like"
    package.mkdir()
    (package / "__init__.py").write_text('"""Steps."""')
    step = package / "step.py"
    step.write_text("ROUNDS = 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(folders, "PACKAGES", ("braid_like",))
    digests = []
    for text in ("ROUNDS = 1", "ROUNDS = 2", "ROUNDS = 1"):
        step.write_text(text)
        digests.append(folders._code_digest.__wrapped__())
    assert digests[0] == digests[2] != digests[1]


def test_the_libraries_that_decide_have_versions() -> None:
    assert {"xgboost", "optuna", "numpy", "pyarrow"} <= set(folders._versions())
