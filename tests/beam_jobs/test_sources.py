import dataclasses
import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest

from beam_jobs.errors import DataError
from beam_jobs.sources import DigestedFile, SourceConfig, find_files, source_content


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.CSV.GZ", "csv"),
        ("a.tsv.zst", "csv"),
        ("a.jsonl.bz2", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.parquet", "parquet"),
    ],
)
def test_format_by_ending(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert find_files(SourceConfig("t", str(tmp_path / name))).format == expected


def test_format_by_the_name_inside_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner.jsonl", "{}")
    assert find_files(SourceConfig("t", str(tmp_path / "a.zip"))).format == "jsonl"


def test_unknown_endings_and_mixtures(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match="tells no format"):
        find_files(SourceConfig("t", str(tmp_path / "a.xlsx")))
    assert find_files(SourceConfig("t", str(tmp_path / "a.xlsx"), format="csv")).format == "csv"
    (tmp_path / "b.csv").write_bytes(b"x")
    (tmp_path / "a.xlsx").rename(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet' is parquet, '.*b\.csv' is csv"):
        find_files(SourceConfig("t", str(tmp_path)))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"format": "cvs"}, "Did you mean 'csv'"),
        ({"types": {"a": "int46"}}, "Did you mean 'int64'"),
        ({"delimiter": "||"}, "cannot be a delimiter"),
        ({"delimiter": '"'}, "cannot be a delimiter"),
        ({"max_reject_fraction": 1.5}, "max_reject_fraction is 1.5"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        SourceConfig("t", "t.csv", **settings)  # type: ignore[arg-type]


def test_a_config_survives_json() -> None:
    config = SourceConfig("t", "t.csv", types={"a": "int64"}, columns=("a", "b"))
    assert SourceConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_tsv_files_are_cut_at_tabs() -> None:
    assert SourceConfig("t", "folder/t.tsv.gz").dialect.delimiter == "\t"
    assert SourceConfig("t", "folder/t.tsv.gz", delimiter=";").dialect.delimiter == ";"


def aged(path: Path, text: str, seconds: float) -> None:
    path.write_text(text)
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns - int(seconds * 1e9)))


def test_fingerprint_follows_content_and_options(tmp_path: Path) -> None:
    aged(tmp_path / "a.csv", "a\n1\n", 0)
    config = SourceConfig("t", str(tmp_path / "a.csv"))
    first = source_content(config).fingerprint
    assert source_content(dataclasses.replace(config, name="u")).fingerprint == first
    assert source_content(dataclasses.replace(config, null_values=("-",))).fingerprint != first
    aged(tmp_path / "a.csv", "a\n2\n", 0)
    assert source_content(config).fingerprint != first


def test_content_lists_every_file_with_its_size_and_digest(tmp_path: Path) -> None:
    for name, text in (("b.csv", "a\n1\n"), ("a.csv", "a\n22\n"), ("_no.csv", "a\n")):
        (tmp_path / name).write_text(text)
    files = source_content(SourceConfig("t", str(tmp_path))).files
    digests = [hashlib.blake2b(text, digest_size=16).hexdigest() for text in (b"a\n22\n", b"a\n1\n")]
    assert files == (
        DigestedFile(str(tmp_path / "a.csv"), 5, digests[0]),
        DigestedFile(str(tmp_path / "b.csv"), 4, digests[1]),
    )


def test_memo_spares_reading_files_that_did_not_change(tmp_path: Path) -> None:
    file, memo = tmp_path / "a.csv", str(tmp_path / "memo.json")
    aged(file, "a\n1\n", 60)
    config = SourceConfig("t", str(file))
    first = source_content(config, memo)
    assert source_content(config) == first
    remembered = json.loads(Path(memo).read_text())
    remembered[str(file)][3] = "remembered"
    Path(memo).write_text(json.dumps(remembered))
    assert source_content(config, memo) != first  # the memo was believed
    aged(file, "a\n2\n", 30)
    assert source_content(config, memo) == source_content(config) != first
    Path(memo).write_text("damaged")
    assert source_content(config, memo) == source_content(config)


def test_memo_does_not_trust_files_written_just_now(tmp_path: Path) -> None:
    file, memo = tmp_path / "a.csv", tmp_path / "memo.json"
    aged(file, "a\n1\n", 0)
    source_content(SourceConfig("t", str(file)), str(memo))
    assert json.loads(memo.read_text()) == {}
