"""What a report knows of a run: from the store, and from the files of its artifacts."""

import json
from pathlib import Path

import pytest

from beam_jobs.errors import BraidError
from pipeline.report.gathering import gather
from tests.pipeline.report.report_world import RUN, failed_run, whole_run


def test_everything_of_a_whole_run_is_found(tmp_path: Path) -> None:
    found = gather(whole_run(tmp_path), RUN)
    steps = {step["name"]: step for step in found["steps"]}
    assert list(steps) == [
        *("ingest", "load", "check", "select", "tune", "train", "evaluate", "explain", "push", "late"),
    ]  # no resolver
    assert (steps["ingest"]["state"], steps["ingest"]["reused_from"]) == ("CACHED", "run-0")
    assert steps["late"]["error"] == "Step 'late' failed:\nit was late"
    assert [(step["name"], step["error"]) for step in found["attempts"]] == [("load", "Too early.")]
    assert [one["ledger"]["read"] for one in found["ledgers"]] == [10, 9]
    assert found["run"]["state"] == "FAILED"
    assert (found["run"]["configuration"], found["run"]["code_dirty"]) == ("wind.yaml", 1)
    assert found["run"]["seconds"] == 1.5 * 9  # all but the one from the cache, the last attempts
    assert [one["uri"] for one in found["models"]] == ["/m"]
    assert found["pushed"][0]["pushed_version"] == "00000007"
    assert (found["tuning"][0]["trial"], len(found["tuning"][0]["trials"])) == (1, 4)
    assert found["explanations"]["summary"]["rows"] == 6
    assert found["evaluation"]["candidates"][1]["name"] == "deep"
    assert json.loads(json.dumps(found))["run"]["name"] == RUN


def test_warnings_of_all_steps_are_told_once_in_their_order(tmp_path: Path) -> None:
    assert gather(whole_run(tmp_path), RUN)["warnings"] == [
        "A column drifts.",
        "'wind' may leak.",
        "9 rows have no label.",
        "Slice column 'wind': 3 rarer values share one slice.",
        "A note.",
    ]


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("evaluation/metrics.json", "evaluation"),
        ("importances/importances.json", "features"),
        ("explained/global.json", "explanations"),
        ("explained/explanations.parquet", "explanations"),
    ],
)
@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_file_that_cannot_be_read_is_said_and_the_rest_is_told(
    tmp_path: Path, file: str, part: str, damage: str
) -> None:
    store = whole_run(tmp_path)
    if damage == "gone":
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(b"PAR1{")
    found = gather(store, RUN)
    assert not found[part]
    assert found["tuning"]
    (told,) = (warning for warning in found["warnings"] if str(tmp_path) in warning)
    assert ("is gone" if damage == "gone" and file.endswith("json") else "cannot be read") in told


def test_trials_that_are_gone_leave_what_was_found(tmp_path: Path) -> None:
    store = whole_run(tmp_path)
    (tmp_path / "tuned" / "trials.json").unlink()
    found = gather(store, RUN)
    assert (found["tuning"][0]["value"], found["tuning"][0]["trials"]) == (0.41, [])


def test_a_run_that_failed_at_once(tmp_path: Path) -> None:
    found = gather(failed_run(tmp_path), "latest")
    assert [step["error"] for step in found["steps"]] == ["There is no file."]
    assert (found["evaluation"], found["features"], found["explanations"], found["warnings"]) == (None, None, None, [])


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BraidError, match=r"There is no run 'run-2'\. Did you mean 'run-[01]'"):
        gather(whole_run(tmp_path), "run-2")
