"""What failing jobs leave behind: real Beam jobs, on this disk and in a bucket, and their failures run again."""

import errno
import gzip
import json
import os
import subprocess
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from bucket import Bucket
from failing_jobs import BAD, CAST, JOINED, PEOPLE, SUMMED, TEXTS, fail, failing_tables, only, saved
from small_tables import IN_MEMORY, TWO_THREADS, prepare, write_source

from beam_jobs import capture, failures, fused, ingest, progress, storage
from beam_jobs.errors import DataError
from beam_jobs.failures import Contents, Failure, KeptTable, Raised, list_failures
from beam_jobs.judgement import Question
from beam_jobs.judging import JudgeExamples, Judging
from beam_jobs.ledger import Ledger
from beam_jobs.publish import PENDING
from beam_jobs.replay_failure import rerun, shrink_failure
from beam_jobs.sources import SourceConfig
from beam_jobs.splits import SplitByColumn
from beam_jobs.table import MANIFEST, ROW, Table, row_id


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Table]:
    return failing_tables(tmp_path)


# What is kept


@pytest.mark.parametrize("running", [IN_MEMORY, TWO_THREADS])
@pytest.mark.parametrize("stores_rows", [False, True])
def test_a_chunk_that_fails_is_kept_with_its_exception(
    tmp_path: Path, running: tuple[str, ...], stores_rows: bool
) -> None:
    texts = saved(tmp_path / "texts", TEXTS, stores_rows=stores_rows)
    raised = fail(tmp_path / "out", CAST, {"texts": texts}, running=running, chunk_rows=50)
    failure = only(tmp_path / "out")
    assert failure.name == "chunk-000002"
    assert failure.error.type == "beam_jobs.errors.DataError"
    assert (failure.error.message, failure.error.hint) == (str(raised), raised.hint)
    assert "failed on row 138 of" in failure.error.message
    assert "Traceback" in failure.error.traceback and "ConversionException" in failure.error.traceback
    assert failure.parameters["sql"] == CAST and failure.step == "step"
    assert failure.origin is not None
    assert (failure.origin.file, failure.origin.start, failure.origin.stop) == (texts.path(texts.parts[0]), 100, 150)
    rows = failures.rows(failure)
    assert rows.column_names == ["n", "who", ROW]
    assert rows.drop_columns([ROW]).equals(TEXTS.slice(100, 50).select(["n", "who"]))
    assert rows.column(ROW).to_pylist() == [row_id(0, place) for place in range(100, 150)]
    assert pq.read_table(failure.file).equals(rows)
    told = [line.strip() for line in traceback.format_exception(raised)]
    assert f"What it failed on is kept in '{failure.folder}', chunk-000002." in told


def test_a_partition_that_fails_is_kept_whole(tmp_path: Path, tables: dict[str, Table]) -> None:
    sql = "SELECT t.who, sum(CAST(n AS INTEGER)) AS s, max(age) AS a FROM texts t JOIN people p ON t.who = p.who GROUP BY t.who"
    fail(tmp_path / "out", sql, tables, ["who"], chunk_rows=50, partition_rows=20)
    failure = only(tmp_path / "out")
    assert failure.kind == failures.PARTITION and failure.origin is None
    rows, people = failures.rows(failure), failures.rows(failure, "people")
    assert "x'137" in rows.column("n").to_pylist() and 0 < rows.num_rows < 200
    mine = set(rows.column("who").to_pylist())
    assert mine <= set(people.column("who").to_pylist()) and 0 < people.num_rows < 9
    whole = TEXTS.append_column(ROW, pa.array(range(200)))
    assert rows.equals(whole.filter(pa.compute.is_in(whole["who"], pa.array(sorted(mine)))).select(["n", "who", ROW]))
    assert f"the {rows.num_rows:,} rows of 'texts' in partition {failure.number} by who" == failure.words
    assert failure.words in failure.error.message


def test_broadcast_tables_are_named_not_copied(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", JOINED, tables, chunk_rows=50)
    failure = only(tmp_path / "out")
    assert {name: (kept.root, bool(kept.file)) for name, kept in failure.tables.items()} == {
        "texts": (tables["texts"].root, True),
        "people": (tables["people"].root, False),
    }
    assert failures.rows(failure, "people").equals(PEOPLE)
    assert failures.rows(failure, "people", ["age"]).column_names == ["age"]
    assert failure.tables["texts"].schema == TEXTS.schema


def test_every_chunk_that_fails_is_kept_apart(tmp_path: Path) -> None:
    texts = pa.table({"n": ["x" if n % 10 == 3 else "1" for n in range(400)]})
    meeting = threading.Barrier(2, timeout=60)
    once = fused.run_query

    def together(*arguments: Any, **named: Any) -> Any:
        meeting.wait()
        return once(*arguments, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fused, "run_query", together)
        source = {"texts": write_source(tmp_path / "texts", texts, row_group_rows=200)}
        fail(tmp_path / "out", "SELECT CAST(n AS INTEGER) AS n FROM texts", source, chunk_rows=200)
    found = list_failures(str(tmp_path / "out"))
    assert found and {one.name for one in found} <= {"chunk-000000", "chunk-000001"}
    for failure in found:
        assert failures.rows(failure).column("n").equals(texts.column("n").slice(failure.number * 200, 200))
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_another_attempt_replaces_what_the_first_one_kept(tmp_path: Path, tables: dict[str, Table]) -> None:
    once = fused.RunChunk.process

    def again(self: fused.RunChunk, chunk: Any) -> Iterator[Any]:
        for _ in range(2):
            try:
                yield from once(self, chunk)
            except DataError:
                continue
            return
        yield from once(self, chunk)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fused.RunChunk, "process", again)
        fail(tmp_path / "out", CAST, tables, chunk_rows=50)
    folder = Path(failures.folder_of(str(tmp_path / "out")))
    assert sorted(path.name for path in folder.iterdir()) == ["chunk-000002.json", "chunk-000002.parquet"]


@pytest.mark.parametrize("partition_by", [[], ["who"]])
def test_what_is_published_holds_no_failure(tmp_path: Path, tables: dict[str, Table], partition_by: list[str]) -> None:
    sql = SUMMED if partition_by else CAST
    fail(tmp_path / "out", sql, tables, partition_by, chunk_rows=50)
    assert list_failures(str(tmp_path / "out"))
    mended = sql.replace("CAST", "TRY_CAST")
    prepare(tmp_path / "out", mended, tables, partition_by, chunk_rows=50)
    assert sorted(os.listdir(tmp_path / "out")) == [
        *(n for n in sorted(os.listdir(tmp_path / "out")) if n.startswith("part-")),
        MANIFEST,
    ]
    assert list_failures(str(tmp_path / "out")) == []


def test_rows_that_multiply_are_kept(tmp_path: Path, tables: dict[str, Table]) -> None:
    tables["people"] = saved(tmp_path / "twice", pa.concat_tables([PEOPLE, PEOPLE.slice(4, 1)]))
    fail(tmp_path / "out", "SELECT t.n, p.age FROM texts t JOIN people p USING (who)", tables, chunk_rows=100)
    assert failures.rows(list_failures(str(tmp_path / "out"))[0]).num_rows == 100


def test_a_row_without_a_split_is_kept(tmp_path: Path, tables: dict[str, Table]) -> None:
    split = SplitByColumn("who", {"train": [f"p{n}" for n in range(8)], "eval": ["q"]})
    fail(tmp_path / "out", "SELECT who FROM texts", tables, split=split, chunk_rows=200)
    failure = only(tmp_path / "out")
    assert failure.parameters["split"] == {
        "by": "column",
        "column": "who",
        "values": {k: list(v) for k, v in split.values.items()},
    }
    with pytest.raises(DataError, match="has 'p8' in 22 rows, and no split is declared"):
        rerun(failure)


def test_a_broadcast_table_that_cannot_be_loaded(tmp_path: Path, tables: dict[str, Table]) -> None:
    Path(tables["people"].path(tables["people"].parts[0])).write_bytes(b"PAR1 damaged")
    raised = fail(tmp_path / "out", JOINED, tables)
    assert "people" in str(raised)
    failure = only(tmp_path / "out")
    assert (failure.kind, list(failure.tables), failure.file) == (failures.BROADCAST, ["people"], "")
    with pytest.raises(DataError, match="cannot be run by itself"):
        rerun(failure)


def test_a_chunk_that_cannot_be_read_is_described(tmp_path: Path, tables: dict[str, Table]) -> None:
    Path(tables["texts"].path(tables["texts"].parts[0])).write_bytes(b"PAR1 damaged")
    raised = fail(tmp_path / "out", CAST, tables, chunk_rows=200)
    failure = only(tmp_path / "out")
    assert "cannot be read" in str(raised) and "cannot be read" in failure.incomplete
    assert "its data could not be kept" in raised.__notes__[0]
    with pytest.raises(DataError, match="could not be kept"):
        failures.rows(failure)


def test_a_chunk_that_cannot_be_spilled(
    tmp_path: Path, tables: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise DataError("No hash today.", "Tomorrow.")

    monkeypatch.setattr("beam_jobs.partitioned.hash_rows", broken)
    fail(tmp_path / "out", SUMMED, tables, ["who"])
    failure = only(tmp_path / "out")
    assert failure.name == "spill-texts-000000"
    assert failures.rows(failure).drop_columns([ROW]).equals(TEXTS.select(["n", "who"]))


def test_an_error_that_is_no_users_mistake_is_kept_too(tmp_path: Path, tables: dict[str, Table]) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fused, "run_query", broken)
        with pytest.raises(Exception, match="a bug"):
            prepare(tmp_path / "out", CAST, tables, chunk_rows=200)
    failure = only(tmp_path / "out")
    assert (failure.error.type, failure.error.signature) == ("builtins.KeyError", "KeyError: '…'")
    assert failures.rows(failure).num_rows == 200


# When keeping fails


def small_disk(folder: Path, size: int) -> bool:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize("free", [0, 64 << 10])
def test_a_disk_that_is_full_hides_nothing(tmp_path: Path, free: int) -> None:
    rows = pa.table({"n": [f"{n * 7919**3 % 10**17}" for n in range(50_000)] + ["x"]})
    tables = {"texts": write_source(tmp_path / "texts", rows, row_group_rows=60_000)}
    disk = tmp_path / "disk"
    if not small_disk(disk, 256 << 10):
        pytest.skip("a disk cannot be mounted here")
    try:
        (disk / "filling").write_bytes(bytes((256 << 10) - free))
        raised = fail(disk / "out", "SELECT CAST(n AS BIGINT) AS n FROM texts WHERE n = 'x'", tables)
        assert "Could not convert string 'x'" in str(raised)
        found = list_failures(str(disk / "out"))
        left = [path.name for path in disk.rglob("*") if path.is_file() and path.name != "filling"]
        if not free:
            assert (found, left) == ([], [])
            assert "could not be kept: OSError: [Errno 28]" in raised.__notes__[0]
        else:
            assert left == ["chunk-000000.json"]
            assert "No space left" in found[0].incomplete
            with pytest.raises(DataError, match=r"could not be kept.*No space left"):
                rerun(found[0])
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("broken", ["rows", "json"])
def test_writing_that_fails_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    opened = storage.open_output

    class Full:
        def __init__(self, stream: BinaryIO) -> None:
            self.stream, self.closed, self.left = stream, False, 40

        def write(self, data: bytes) -> int:
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.stream.write(data)

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.stream.close()

    def full(path: str) -> Any:
        stream = opened(path)
        return Full(stream) if (".parquet." in path) is (broken == "rows") else stream

    monkeypatch.setattr(storage, "open_output", full)
    rows = pa.table({"a": list(range(1_000))})
    failure = Failure(
        "chunk", "s", 1, Raised.of(ValueError("no")), "here", stream="t", tables={"t": KeptTable(rows.schema)}
    )
    contents = Contents({"t": rows.to_reader()})
    if broken == "json":
        with pytest.raises(OSError, match="No space left"):
            failures.save(failure, contents, str(tmp_path))
        assert [path.name for path in tmp_path.iterdir()] == ["chunk-000001.parquet"]
    else:
        assert (
            failures.save(failure, contents, str(tmp_path)).incomplete == "OSError: [Errno 28] No space left on device"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["chunk-000001.json"]


def test_a_description_that_fails_hides_nothing(tmp_path: Path) -> None:
    def describe(error: Raised) -> capture.Described:
        raise KeyError("which chunk?")

    with pytest.raises(ValueError, match="the real error") as caught, capture.capturing(str(tmp_path), describe):
        raise ValueError("the real error")
    assert caught.value.__notes__ == ["What it failed on could not be kept: KeyError: 'which chunk?'"]


def test_nothing_is_kept_of_what_succeeds_or_is_interrupted(tmp_path: Path) -> None:
    def describe(error: Raised) -> capture.Described:
        raise AssertionError("nobody asked")

    with capture.capturing(str(tmp_path), describe):
        pass
    with pytest.raises(KeyboardInterrupt), capture.capturing(str(tmp_path), describe):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


# At rest


def test_a_failure_comes_back_as_it_was_kept(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", JOINED, tables)
    failure = only(tmp_path / "out")
    again = failures.load(f"{failure.folder}/{failure.name}.json")
    assert again == failure and again.folder == failure.folder
    assert failures.load(str(Path(failure.folder) / f"{failure.name}.json")).error == failure.error


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "AttributeError|TypeError"),
        ("{}", "KeyError"),
        ('{"format": 99}', "another version"),
        (b"\xff\xfe", "UnicodeDecodeError"),
    ],
)
def test_what_is_no_failure_is_told(tmp_path: Path, content: str | bytes, reason: str) -> None:
    path = tmp_path / "_failed" / "chunk-000000.json"
    path.parent.mkdir()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=rf"'{path}' is no failure that Braid kept: .*({reason})"):
        list_failures(str(tmp_path))


@pytest.mark.parametrize("name", ["../secret.parquet", "/etc/passwd"])
def test_a_failure_reads_nothing_outside_its_folder(tmp_path: Path, tables: dict[str, Table], name: str) -> None:
    fail(tmp_path / "out", CAST, tables)
    path = Path(only(tmp_path / "out").folder) / "chunk-000000.json"
    data = json.loads(path.read_text())
    data["tables"]["texts"]["file"] = name
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="names a file outside its folder"):
        failures.load(str(path))


def test_nothing_failed(tmp_path: Path) -> None:
    assert list_failures(str(tmp_path)) == list_failures(str(tmp_path / "nowhere")) == []
    with pytest.raises(DataError, match="does not exist"):
        failures.load(str(tmp_path / "nowhere.json"))


def test_a_table_that_was_not_read_is_told(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", JOINED, tables)
    with pytest.raises(DataError, match=r"holds no table 'peopel'\. Did you mean 'people'\?"):
        failures.rows(only(tmp_path / "out"), "peopel")


def test_broadcast_tables_that_are_gone_are_told(tmp_path: Path, tables: dict[str, Table]) -> None:
    fail(tmp_path / "out", JOINED, tables)
    (tmp_path / "people" / MANIFEST).unlink()
    with pytest.raises(DataError, match="holds no table"):
        rerun(only(tmp_path / "out"))


# Text


def ingested(config: SourceConfig, root: str, chunk_bytes: int = 4_000) -> None:
    plan = ingest.plan(config, chunk_bytes=chunk_bytes)
    options = PipelineOptions(["--runner=FnApiRunner", *TWO_THREADS])
    with progress.original_errors(), beam.Pipeline(options=options) as pipeline:
        ingest.ingest(pipeline, config, plan, f"{root}/table", f"{root}/rejects")


def test_a_chunk_of_text_is_kept_as_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["n\n", *(f"{n}\n" for n in range(6_000)), *(f"x{n}\n" for n in range(11_000))]
    path = tmp_path / "rows.csv"
    path.write_text("".join(lines))
    monkeypatch.setattr("beam_jobs.rejects.MAX_REJECTS", 10)
    monkeypatch.setattr("beam_jobs.rejects.read_block.__defaults__", (1.0, 10))
    with pytest.raises(DataError, match="cannot be read, and max_reject_fraction"):
        ingested(SourceConfig("rows", str(path), types={"n": "int64"}), str(tmp_path), chunk_bytes=8 << 20)
    failure = only(tmp_path / "table")
    assert failure.name == "text-000000" and failure.origin is not None
    content = path.read_bytes()
    assert (failure.origin.file, failure.origin.start, failure.origin.stop) == (str(path), 2, len(content))
    assert (Path(failure.folder) / failure.raw).read_bytes() == content[2:]
    assert failure.parameters["source"]["types"] == {"n": "int64"}
    assert failure.tables["rows"].schema == pa.schema([("n", pa.int64())])


def test_of_a_long_chunk_the_beginning_is_kept_and_of_a_damaged_one_what_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"".join(b"%d\n" % n for n in range(400_000))
    cut = gzip.compress(text)[:-200_000]
    (tmp_path / "cut.gz").write_bytes(cut)
    chunk = ingest.TextChunk(0, str(tmp_path / "cut.gz"), "gzip", 2, -1, 1)
    table = KeptTable(pa.schema([("n", pa.int64())]))
    error = Raised.of(ValueError("no"))
    whole = b"".join(capture.text_of_source("rows", table, chunk, {}, error)[1].raw or ())
    monkeypatch.setattr(capture, "RAW_BYTES", 1_000)
    short = b"".join(capture.text_of_source("rows", table, chunk, {}, error)[1].raw or ())
    assert short == text[2:1_002]
    assert text[2:].startswith(whole) and len(whole) >= 1 << 20


def test_a_damaged_archive_fails_with_its_own_error(tmp_path: Path) -> None:
    text = "n\n" + "".join(f"{n}\n" for n in range(2_000_000))
    whole = gzip.compress(text.encode())
    (tmp_path / "rows.csv.gz").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(DataError, match="is not sound gzip"):
        ingested(SourceConfig("rows", f"{tmp_path}/rows.csv.gz", types={"n": "int64"}), str(tmp_path))
    assert only(tmp_path / "table").kind == failures.TEXT


# Batches of jobs that score


class Half:
    """A model that predicts no probability for one row."""

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        return np.array([2.0 if n == BAD else 0.5 for n in batch.column("n").to_pylist()], np.float32)

    def labels(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        return np.zeros(batch.num_rows, np.float32)


def test_a_batch_that_cannot_be_judged_is_kept(tmp_path: Path) -> None:
    from parquet_parts import write_part

    rows = pa.table({"n": list(range(200)), "label": [n % 2 for n in range(200)]})
    part = write_part(tmp_path / "examples", "Split-eval/part-000000.parquet", rows, 0, "eval", 50)
    table = Table(str(tmp_path / "examples"), rows.schema, (part,), True, Ledger(200, kept=200, written=200))
    question = Question("binary", "label", ("0", "1"), ("eval",))
    judging = Judging(
        "evaluator", question, {"candidate": Half}, ("n", "label"), (), str(tmp_path / "out/metrics.json")
    )
    options = PipelineOptions(["--runner=FnApiRunner", *IN_MEMORY])
    with (
        pytest.raises(DataError, match="predicts 2 where a probability is expected"),
        progress.original_errors(),
        beam.Pipeline(options=options) as pipeline,
    ):
        _ = pipeline | JudgeExamples(table, judging)
    failure = only(tmp_path / "out")
    assert failure.name == "batch-eval-000000"
    assert failure.origin is not None and (failure.origin.start, failure.origin.stop) == (0, 200)
    assert failures.rows(failure).column("n").to_pylist() == list(range(200))


# In a bucket


def test_failures_are_kept_in_a_bucket(tmp_path: Path, bucket: Bucket, tables: dict[str, Table]) -> None:
    root = f"{bucket.url}/out"
    fail(root, JOINED, tables, chunk_rows=50)
    assert [name for name in bucket.names if PENDING not in name] == [
        "out/_failed/chunk-000002.json",
        "out/_failed/chunk-000002.parquet",
    ]
    failure = only(root)
    assert failures.rows(failure).drop_columns([ROW]).equals(TEXTS.slice(100, 50).select(["n", "who"]))
    assert shrink_failure(failure).stream.table.column("n").to_pylist() == ["x'137"]
    prepare(root, JOINED.replace("CAST", "TRY_CAST"), tables, chunk_rows=50)
    assert not [name for name in bucket.names if "_failed" in name]
    assert list_failures(root) == []


def test_a_partition_fails_in_a_bucket(bucket: Bucket, tables: dict[str, Table]) -> None:
    fail(f"{bucket.url}/out", SUMMED, tables, ["who"], partition_rows=20)
    shrunk = shrink_failure(only(f"{bucket.url}/out"))
    assert shrunk.stream.table.column("n").to_pylist() == ["x'137"]


def test_a_bucket_that_may_not_be_listed_is_no_empty_answer(bucket: Bucket) -> None:
    with pytest.raises(DataError, match="cannot be listed: there is no such object or bucket"):
        list_failures("gs://no-such-bucket/out")
