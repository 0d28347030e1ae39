import json
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from bucket import Bucket

from beam_jobs import storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import folder_digest
from components import serving_folder
from components.errors import StepError
from components.pusher.pushing import Push, hold_back, push, superseded, withdrawn
from components.serving_folder import Withdrawal, note_withdrawals, withdrawals


def model(folder: Path, content: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.ubj").write_text(content)
    (folder / "contract.json").write_text("{}")
    return str(folder)


def test_each_new_model_becomes_the_next_version_and_current_names_it(tmp_path: Path) -> None:
    target = tmp_path / "serving"
    first = push(model(tmp_path / "a", "one"), str(target))
    second = push(model(tmp_path / "b", "two"), str(target))
    assert (first.version, second.version) == ("00000001", "00000002")
    assert (target / "current").readlink() == Path("00000002")
    assert (target / "current/model.ubj").read_text() == "two"
    assert (target / "00000001/model.ubj").read_text() == "one"
    assert sorted(path.name for path in target.iterdir()) == ["00000001", "00000002", "current"]


def test_the_model_that_serves_already_makes_no_new_version(tmp_path: Path) -> None:
    target = tmp_path / "serving"
    push(model(tmp_path / "a", "one"), str(target))
    again = push(model(tmp_path / "same", "one"), str(target))
    assert (again.serving, again.version) == (True, "00000001")
    push(model(tmp_path / "b", "two"), str(target))
    assert push(model(tmp_path / "a", "one"), str(target)).version == "00000003"


def test_the_folder_can_be_moved(tmp_path: Path) -> None:
    push(model(tmp_path / "a", "one"), str(tmp_path / "serving"))
    (tmp_path / "serving").rename(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere/current/model.ubj").read_text() == "one"


def test_a_reader_always_sees_one_whole_model(tmp_path: Path) -> None:
    target, seen, done = tmp_path / "serving", set(), threading.Event()
    models = [model(tmp_path / str(n), str(n)) for n in range(30)]
    push(models[0], str(target))

    def read() -> None:
        while not done.is_set():
            folder = (target / "current").resolve(strict=True)
            seen.add((folder / "model.ubj").read_text())
            assert (folder / "contract.json").read_text() == "{}"

    reader = threading.Thread(target=read)
    reader.start()
    for uri in models[1:]:
        push(uri, str(target))
    done.set()
    reader.join()
    assert seen <= {str(n) for n in range(30)}
    assert (target / "current/model.ubj").read_text() == "29"


def test_a_push_that_fails_leaves_what_serves_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "serving"
    push(model(tmp_path / "a", "one"), str(target))

    def full(source: str, copied: Path) -> None:
        copied.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("components.serving_folder.copy_file", full)
    with pytest.raises(StepError, match="No space left on device"):
        push(model(tmp_path / "b", "two"), str(target))
    assert sorted(path.name for path in target.iterdir()) == ["00000001", "current"]
    assert (target / "current/model.ubj").read_text() == "one"


def test_a_destination_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    uri = model(tmp_path / "a", "one")
    (tmp_path / "file").write_text("")
    (tmp_path / "taken/current").mkdir(parents=True)
    with pytest.raises(StepError, match="is a file"):
        push(uri, str(tmp_path / "file"))
    with pytest.raises(StepError, match="is not a link"):
        push(uri, str(tmp_path / "taken"))
    with pytest.raises(DataError, match="does not exist"):
        push(str(tmp_path / "gone"), str(tmp_path / "serving"))


def cut_off(monkeypatch: pytest.MonkeyPatch, uri: str, target: Path) -> None:
    """A push that ends after its version was written, before anything points at it."""

    def die(root: Path, version: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("components.serving_folder.point", die)
        push(uri, str(target))


def saved(made: Push, folder: Path) -> object:
    folder.mkdir()
    made.save(str(folder))
    return json.loads((folder / "pushed.json").read_text())


@pytest.mark.parametrize("first", [True, False])
def test_a_push_that_was_cut_off_is_taken_up_by_the_next(
    first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, undisturbed = tmp_path / "serving", tmp_path / "undisturbed"
    for folder in () if first else (target, undisturbed):
        push(model(tmp_path / "a", "one"), str(folder))
    two = model(tmp_path / "b", "two")
    cut_off(monkeypatch, two, target)
    again, expected = push(two, str(target)), push(two, str(undisturbed))
    assert sorted(os.listdir(target)) == sorted(os.listdir(undisturbed))
    assert (target / "current/model.ubj").read_text() == "two"
    assert saved(again, tmp_path / "x") == saved(expected, tmp_path / "y")
    assert saved(push(two, str(target)), tmp_path / "z") == saved(expected, tmp_path / "w")


def test_what_a_cut_off_push_of_another_model_left_is_no_one_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "serving"
    cut_off(monkeypatch, model(tmp_path / "a", "one"), target)
    assert push(model(tmp_path / "b", "two"), str(target)).version == "00000002"


def test_a_version_that_was_left_behind_on_purpose_is_not_served_again(tmp_path: Path) -> None:
    target = tmp_path / "serving"
    one, two = model(tmp_path / "a", "one"), model(tmp_path / "b", "two")
    push(one, str(target))
    push(two, str(target))
    assert push(one, str(target)).version == "00000003"


def test_a_push_stands_until_another_model_serves(tmp_path: Path) -> None:
    target = tmp_path / "serving"
    first = push(model(tmp_path / "a", "one"), str(target))
    assert superseded(first.path, first.digest) == ""
    second = push(model(tmp_path / "b", "two"), str(target))
    assert superseded(first.path, first.digest) == f"'{target}/current' names 00000002 by now, not 00000001"
    assert superseded(second.path, second.digest) == ""
    (target / "current").unlink()
    (target / "current").symlink_to("00000001")
    assert superseded(second.path, second.digest) == "", "going back by hand is the user's right"
    (target / "current").unlink()
    assert "names no version by now" in superseded(first.path, first.digest)


def test_a_served_model_that_was_altered_is_no_longer_what_was_pushed(tmp_path: Path) -> None:
    made = push(model(tmp_path / "a", "one"), str(tmp_path / "serving"))
    Path(made.path, "model.ubj").write_text("onE")
    assert superseded(made.path, made.digest) == f"'{made.path}' is not what was pushed"
    assert superseded(made.path, "") == "", "older records know no digest"


def test_a_push_clears_what_a_killed_one_half_wrote_and_leaves_what_others_are_writing(tmp_path: Path) -> None:
    target = tmp_path / "serving"
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = socket.gethostname()
    kept = {f".pushing-{host}-{os.getpid()}-a", ".pushing-elsewhere-1-a"}
    for name in (*kept, f".pushing-{host}-{ended.pid}-a"):
        (target / name).mkdir(parents=True)
    push(model(tmp_path / "a", "one"), str(target))
    assert {path.name for path in target.glob(".*")} == kept


def test_what_was_held_back_is_saved_without_a_place(tmp_path: Path) -> None:
    assert saved(hold_back("/x"), tmp_path / "h") == {"serving": False, "version": "", "model": ""}


def saved_model(folder: Path, weights: str = "weights") -> str:
    """As a Keras trainer leaves it: a SavedModel, the contract at the top."""
    for name, content in {
        "contract.json": "{}",
        "saved_model.pb": "graph",
        "fingerprint.pb": "print",
        "variables/variables.index": "index",
        "variables/variables.data-00000-of-00001": weights,
        "assets/vocabulary/shops.txt": "north\nsouth",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(folder)


def test_a_model_of_several_folders_is_pushed_whole(tmp_path: Path) -> None:
    uri = saved_model(tmp_path / "keras")
    made = push(uri, str(tmp_path / "serving"))
    assert folder_digest(made.path) == folder_digest(uri)
    assert push(uri, str(tmp_path / "serving")).version == "00000001"
    other = push(saved_model(tmp_path / "other", "other weights"), str(tmp_path / "serving"))
    assert (other.version, other.digest != made.digest) == ("00000002", True)
    Path(made.path, "variables/variables.index").write_text("mine")
    assert superseded(other.path, other.digest) == ""
    Path(other.path, "assets/vocabulary/shops.txt").unlink()
    assert superseded(other.path, other.digest) == f"'{other.path}' is not what was pushed"


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for folder, (first, second) in {"a": ("1", "2"), "b": ("2", "1")}.items():
        for place, content in {"x": first, "y": second}.items():
            (tmp_path / folder / place).mkdir(parents=True)
            (tmp_path / folder / place / "same").write_text(content)
    assert serving_folder.digest_of(tmp_path / "a") != serving_folder.digest_of(tmp_path / "b")


def test_the_digest_of_a_flat_folder_is_what_earlier_pushes_have_recorded(tmp_path: Path) -> None:
    uri = model(tmp_path / "a", "one")
    lines = [f"{name}:{storage.content_digest(f'{uri}/{name}')}\n" for name in ("contract.json", "model.ubj")]
    assert serving_folder.digest_of(uri) == storage.text_digest("".join(lines))


def test_a_push_that_fails_between_folders_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, copied = tmp_path / "serving", serving_folder.copy_file

    def full(source: str, to: Path) -> None:
        if "variables.data" in source:
            raise OSError(28, "No space left on device")
        copied(source, to)

    monkeypatch.setattr("components.serving_folder.copy_file", full)
    with pytest.raises(StepError, match="No space left on device"):
        push(saved_model(tmp_path / "keras"), str(target))
    assert list(target.iterdir()) == []


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file"):
        push(str(tmp_path / "empty"), str(tmp_path / "serving"))


def withdraw(target: Path, version: str, digest: str, to: str) -> None:
    note_withdrawals(target, {**withdrawals(target), version: Withdrawal(digest, "it drifts", "ann@desk", 1.0)})
    serving_folder.point(target, to)


def test_a_model_that_was_withdrawn_is_not_pushed_again(tmp_path: Path) -> None:
    target = tmp_path / "serving"
    one, two = model(tmp_path / "a", "one"), model(tmp_path / "b", "two")
    push(one, str(target))
    second = push(two, str(target))
    withdraw(target, "00000002", second.digest, to="00000001")
    again = push(two, str(target))
    assert (again.serving, again.version, again.path) == (False, "", "")
    assert again.reason == "This very model was withdrawn as version 00000002 by ann@desk: it drifts"
    assert (target / "current").readlink() == Path("00000001")
    assert superseded(second.path, second.digest) == "version 00000002 was withdrawn"
    assert push(model(tmp_path / "c", "three"), str(target)).version == "00000003"
    assert not push(two, str(target)).serving, "nor after another model was pushed"
    note_withdrawals(target, {})
    assert withdrawn(str(target), second.digest) == ""
    assert push(two, str(target)).version == "00000004"


def test_what_is_noted_of_the_version_that_serves_is_void_and_forgotten_by_the_next_push(tmp_path: Path) -> None:
    target = tmp_path / "serving"
    first = push(model(tmp_path / "a", "one"), str(target))
    note_withdrawals(target, {"00000001": Withdrawal(first.digest, "cut off", "ann", 1.0)})
    assert withdrawals(target) == {}
    push(model(tmp_path / "b", "two"), str(target))
    assert withdrawals(target) == {}
    assert push(model(tmp_path / "a", "one"), str(target)).serving


def test_a_damaged_list_of_withdrawals_stops_the_push(tmp_path: Path) -> None:
    target = tmp_path / "serving"
    push(model(tmp_path / "a", "one"), str(target))
    (target / "withdrawn.json").write_text("{")
    with pytest.raises(StepError, match=r"withdrawn\.json', which tells the versions that were withdrawn"):
        push(model(tmp_path / "b", "two"), str(target))
    assert (target / "current").readlink() == Path("00000001")


# A bucket


def test_a_model_serves_from_a_bucket(tmp_path: Path, bucket: Bucket) -> None:
    one, two = model(tmp_path / "a", "one"), model(tmp_path / "b", "two")
    root = f"{bucket.url}/models/serving"
    first = push(one, root)
    assert (first.path, first.serving) == (f"{root}/00000001", True)
    assert bucket.get("models/serving/current") == b"00000001\n"
    assert bucket.get("models/serving/00000001/model.ubj") == b"one"
    assert "was serving already" in push(one, f"{root}/").reason
    bucket.put("elsewhere/model.ubj", "two")
    bucket.put("elsewhere/contract.json", (Path(two) / "contract.json").read_bytes())
    second = push(f"{bucket.url}/elsewhere", root)
    assert (second.version, second.digest) == ("00000002", push(two, str(tmp_path / "local")).digest)
    assert superseded(first.path, first.digest) == f"'{root}/current' names 00000002 by now, not 00000001"
    assert superseded(second.path, second.digest) == ""
    bucket.put("models/serving/00000002/model.ubj", "altered")
    assert "is not what was pushed" in superseded(second.path, second.digest)


def test_a_model_withdrawn_from_a_bucket_is_not_pushed_again(tmp_path: Path, bucket: Bucket) -> None:
    root = f"{bucket.url}/serving"
    first, second = (push(model(tmp_path / name, name), root) for name in ("a", "b"))
    note_withdrawals(root, {second.version: Withdrawal(second.digest, "it drifts", "ann@desk", 1.0)})
    assert withdrawals(root) == {}, "it serves still"
    serving_folder.point(root, first.version)
    assert "withdrawn as version 00000002 by ann@desk: it drifts" in push(model(tmp_path / "c", "b"), root).reason
    assert superseded(second.path, second.digest) == "version 00000002 was withdrawn"


def test_a_push_to_a_bucket_that_is_cut_off_names_nothing(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = f"{bucket.url}/serving"
    push(model(tmp_path / "a", "one"), root)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr("components.serving_folder.point", die)
        push(model(tmp_path / "b", "two"), root)
    assert bucket.get("serving/current") == b"00000001\n"
    bucket.put("serving/00000003/model.ubj", "half")  # of another that was killed while it copied
    assert push(model(tmp_path / "c", "two"), root).version == "00000004"


def test_two_that_push_at_once_do_not_mix(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"{bucket.url}/serving"
    push(model(tmp_path / "a", "one"), root)
    bucket.put("serving/00000002/another.ubj", "of the other")
    monkeypatch.setattr("components.serving_folder.last_version", lambda _: 1)  # as it was when both looked
    with pytest.raises(StepError, match="something else was written there"):
        push(model(tmp_path / "b", "two"), root)
    assert bucket.get("serving/current") == b"00000001\n"
