"""Facts of a run that need no run."""

import json
import subprocess
from pathlib import Path

import pytest

from pipeline import loading, run_facts

CONFIG = """\
name: trips
sources:
  trips: {path: 'hdfs://ann@cluster:9000/trips/*.parquet'}
prepare:
  days:
    stream: trips
    sql: SELECT replace(url, 'https://ann:secret@host', '') AS url FROM trips
examples:
  table: trips
  label: late
  split: {by: hash, columns: [id]}
"""


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("s3://key:secret@bucket/a.csv", "s3://bucket/a.csv"),
        ("hdfs://ann@cluster:9000/a", "hdfs://cluster:9000/a"),
        ('{"a": "https://x:y@h/1", "b": "ftp://z@h/2"}', '{"a": "https://h/1", "b": "ftp://h/2"}'),
        ("s3://bucket/at@home.csv", "s3://bucket/at@home.csv"),
        ("gs://bucket/a.csv?x=1@2", "gs://bucket/a.csv?x=1@2"),
        ("/folder/a@b.csv", "/folder/a@b.csv"),
        ("SELECT 'gs://' AS a, b FROM c WHERE d = 'e@f'", "SELECT 'gs://' AS a, b FROM c WHERE d = 'e@f'"),
    ],
)
def test_urls_lose_their_credentials(text: str, clean: str) -> None:
    assert run_facts.without_credentials(text) == clean


def test_the_configuration_is_told_whole_and_without_credentials(tmp_path: Path) -> None:
    file = tmp_path / "trips.yaml"
    file.write_text(CONFIG)
    facts = run_facts.of_configuration(loading.load(str(file), assignments=["train.rounds=7"]))
    config = json.loads(facts["config"])
    assert list(config) == sorted(config)
    assert config["sources"]["trips"]["path"] == "hdfs://cluster:9000/trips/*.parquet"
    assert "'https://host'" in config["prepare"]["days"]["sql"]
    assert config["train"]["rounds"] == 7
    assert config["validate"]["anomalies"] == "stop"  # a default, under the name that the file gives it
    assert facts["config_file"] == str(file)


def test_the_codes_version(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert run_facts.of_code(str(tmp_path)) == {"code_commit": "", "code_dirty": 0, "lock_digest": ""}
    git("init", "-q")
    (tmp_path / "lock").mkdir()
    (tmp_path / "lock/requirements.txt").write_text("pyarrow==1\n")
    git("add", ".")
    git("commit", "-qm", "one")
    clean = run_facts.of_code(str(tmp_path))
    assert (clean["code_commit"], clean["code_dirty"]) == (git("rev-parse", "HEAD"), 0)
    (tmp_path / "lock/requirements.txt").write_text("pyarrow==2\n")
    dirty = run_facts.of_code(str(tmp_path))
    assert dirty["code_commit"] == clean["code_commit"]
    assert dirty["code_dirty"] == 1
    assert dirty["lock_digest"] != clean["lock_digest"]
