"""The same rows are the same bytes and the same digests, on a disk and in a bucket, whichever way DuckDB joins."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_tables import IN_MEMORY, prepare, write_source

from beam_jobs import fused, kernel, publish, storage
from beam_jobs.folder_digest import folder_digest
from beam_jobs.kernel import OutOfOrder
from beam_jobs.ledger import Ledger
from beam_jobs.splits import SplitByHash
from beam_jobs.table import MANIFEST, ROW, Origin, Part, Table, written_digests

if TYPE_CHECKING:
    from bucket import Bucket

STREAM = pa.table({"k": [n * 7 % 600 for n in range(2_000)], "name": [f"n{n % 90}" for n in range(2_000)]})
OTHER = pa.table({"k": [n % 600 for n in range(900)], "v": range(900)})
KEYS = pa.table({"k": range(600), "v": range(600)})
JOBS: dict[str, dict[str, Any]] = {
    "read": {"sql": "SELECT name, k + 1 AS k FROM stream WHERE k % 3 > 0"},
    "joined": {"sql": "SELECT s.k, k.v FROM stream s LEFT JOIN keys k ON s.k = k.k"},
    "joined with filters": {
        "sql": "SELECT s.name, k.v FROM stream s JOIN keys k USING (k) WHERE s.k > 5 AND name > 'n1'"
    },
    "split": {"sql": "SELECT * FROM stream", "split": SplitByHash(("name",), {"train": 0.7, "eval": 0.3})},
    "multiplied": {"sql": "SELECT s.name, o.v FROM stream s JOIN other o ON s.k = o.k", "fan_out": True},
    "partitioned": {
        "sql": "SELECT name, count(*) AS n, sum(k) AS k FROM stream GROUP BY name",
        "partition_by": ["name"],
        "partition_rows": 700,
    },
}


def tables_in(folder: Path) -> dict[str, Table]:
    """The stream in chunks of 1,000 rows of one file, so that a chunk looks smaller through Arrow than the file is."""
    return {
        "stream": write_source(folder / "stream", STREAM, row_group_rows=1_000),
        "other": write_source(folder / "other", OTHER),
        "keys": write_source(folder / "keys", KEYS),
    }


def uploaded(bucket: "Bucket", tables: Mapping[str, Table]) -> dict[str, Table]:
    """The same tables, their files in the bucket."""
    found = {}
    for name, table in tables.items():
        parts = [
            dataclasses.replace(part, path=bucket.put(f"{name}/{part.chunk}.parquet", Path(part.path).read_bytes()))
            for part in table.parts
        ]
        found[name] = dataclasses.replace(table, root=f"{bucket.url}/{name}", parts=tuple(parts))
    return found


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_a_bucket_holds_what_a_disk_holds(tmp_path: Path, bucket: "Bucket", job: dict[str, Any]) -> None:
    here = tables_in(tmp_path)
    local = prepare(tmp_path / "out", tables=here, chunk_rows=1_000, **job)
    remote = prepare(f"{bucket.url}/out", tables=uploaded(bucket, here), chunk_rows=1_000, **job)
    assert all(part.digest for part in local.parts) and local.rows
    assert remote.parts == local.parts
    held = folder_digest(str(tmp_path / "out"))
    assert folder_digest(f"{bucket.url}/out") == held
    assert folder_digest(f"{bucket.url}/out", known=written_digests(f"{bucket.url}/out")) == held
    assert folder_digest(str(tmp_path / "out"), known=written_digests(str(tmp_path / "out"))) == held


def test_what_is_known_is_not_read_and_the_rest_is(tmp_path: Path, bucket: "Bucket") -> None:
    prepare(f"{bucket.url}/out", JOBS["split"]["sql"], uploaded(bucket, tables_in(tmp_path)), chunk_rows=1_000)
    bucket.put("out/notes/read.me", "not of the table")
    known = written_digests(f"{bucket.url}/out")
    assert sorted(f"out/{path}" for path in known) == [name for name in bucket.names if "out/part-" in name]
    bucket.requests.clear()
    whole = folder_digest(f"{bucket.url}/out", known=known)
    assert bucket.downloads and [line for line in bucket.downloads if "parquet" in line] == []
    bucket.put(f"out/{next(iter(known))}", "damaged")
    assert folder_digest(f"{bucket.url}/out", known=known).digest == whole.digest
    assert folder_digest(f"{bucket.url}/out").digest != whole.digest


@pytest.mark.parametrize("name", ["joined", "multiplied"])
def test_rows_follow_the_stream_from_whichever_side_duckdb_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tables, orders, refused = tables_in(tmp_path), [], []
    once = kernel.run_query

    def watched(connection: Any, config: Any, stretch: Any, batch: Any, order: str, *more: Any) -> Any:
        orders.append(order)
        try:
            return once(connection, config, stretch, batch, order, *more)
        except OutOfOrder:
            refused.append(stretch.number)
            raise

    monkeypatch.setattr(fused, "run_query", watched)
    read_by_duckdb = prepare(tmp_path / "duckdb", tables=tables, chunk_rows=1_000, running=IN_MEMORY, **JOBS[name])
    if name == "joined":
        assert refused, "DuckDB has joined from the side of the stream, so there was nothing to test"
        assert refused == [0] and orders == ["", "_at", "_at"]  # it is tried once, not in every chunk
    else:
        assert orders == ["_at, 1, 2"] * 2  # copies of a row have no order of their own
    for part in read_by_duckdb.parts:
        ids = pq.read_table(read_by_duckdb.path(part)).column(ROW).to_pylist()
        assert ids == sorted(ids)
    assert not list(tmp_path.rglob(publish.PENDING))
    monkeypatch.setattr(fused.ChunkSource, "_duckdb_reads_it", lambda _: False)
    through_arrow = prepare(tmp_path / "arrow", tables=tables, chunk_rows=1_000, **JOBS[name])
    assert through_arrow.parts == read_by_duckdb.parts


def test_a_manifest_without_digests_is_still_read(tmp_path: Path) -> None:
    table = prepare(tmp_path / "out", JOBS["read"]["sql"], tables_in(tmp_path))
    manifest = tmp_path / "out" / MANIFEST
    data = json.loads(manifest.read_text())
    for part in data["parts"]:
        del part["digest"]
    manifest.write_text(json.dumps(data))
    older = Table.load(table.root)
    assert [part.digest for part in older.parts] == [""] * len(table.parts)
    assert older.parts == tuple(dataclasses.replace(part, digest="") for part in table.parts)
    assert written_digests(table.root) == {}


def test_files_read_in_place_are_not_digested(tmp_path: Path) -> None:
    part = Part(str(tmp_path / "huge.parquet"), (5,), 0)
    Table(str(tmp_path), STREAM.schema, (part,), False, Ledger(), (Origin(0, part.path, 0, 5, "rows"),)).save()
    assert Table.load(str(tmp_path)).parts == (part,) and part.is_in_place
    assert written_digests(str(tmp_path)) == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"parts": [{"path": 1}]}', '{"parts": 7, "schema": "x"}'])
def test_another_components_file_of_that_name_is_no_manifest(tmp_path: Path, content: str) -> None:
    storage.write_text(str(tmp_path / MANIFEST), content)
    assert written_digests(str(tmp_path)) == {}
    assert written_digests(str(tmp_path / "nothing")) == {}
