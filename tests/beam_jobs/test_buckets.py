"""Tables in a bucket: Google's client, through Beam, against an emulator on this machine."""

import gzip
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from bucket import Bucket
from gcp_storage_emulator.server import RequestHandler
from small_tables import TWO_THREADS, prepare, stored

from beam_jobs import ingest, progress, storage
from beam_jobs.errors import DataError
from beam_jobs.ledger import Ledger
from beam_jobs.sources import SourceConfig, infer_schema, source_content
from beam_jobs.splits import SplitByHash
from beam_jobs.table import MANIFEST, ROW, Table, read_batches

ROWS = [{"id": n, "price": n / 4, "shop": f"shop {n % 5}"} for n in range(500)]
SCHEMA = pa.schema([("id", pa.int64()), ("price", pa.float64()), ("shop", pa.string())])
CSV = "id,price,shop\n" + "".join(f"{row['id']},{row['price']},{row['shop']}\n" for row in ROWS)
JSON_LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
SHOPS = pa.table({"shop": [f"shop {n}" for n in range(4)], "city": ["Ulm", "Bonn", "Jena", "Trier"]})
JOIN = "SELECT s.id, s.price, c.city FROM sales s JOIN shops c USING (shop) WHERE s.price >= 10"
JOINED = [
    {"id": r["id"], "price": r["price"], "city": SHOPS["city"][int(r["id"]) % 5].as_py()}
    for r in ROWS
    if r["id"] >= 40 and r["id"] % 5 < 4
]


def as_parquet(rows: pa.Table, row_group_rows: int = 100) -> bytes:
    written = io.BytesIO()
    pq.write_table(rows, written, row_group_size=row_group_rows)
    return written.getvalue()


def sales(first: int = 0, stop: int = 500) -> bytes:
    return as_parquet(pa.Table.from_pylist(ROWS[first:stop], SCHEMA))


def in_place(path: str, manifest: Path, name: str = "sales") -> Table:
    return ingest.parquet_table(SourceConfig(name, path), str(manifest))


def ingested(config: SourceConfig, root: str, chunk_bytes: int = 4_000) -> Table:
    plan = ingest.plan(config, chunk_bytes=chunk_bytes)
    options = PipelineOptions(["--runner=FnApiRunner", *TWO_THREADS])
    with progress.original_errors(), beam.Pipeline(options=options) as pipeline:
        ingest.ingest(pipeline, config, plan, f"{root}/table", f"{root}/rejects")
    return Table.load(f"{root}/table")


def rows_of(table: Table, columns: Sequence[str] | None = None, split: str = "") -> list[dict[str, object]]:
    rows = pa.Table.from_batches(read_batches(table, split, columns))
    return rows.sort_by(rows.column_names[0]).to_pylist()


# Sources


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sales.csv", CSV.encode()),
        ("sales.csv.gz", gzip.compress(CSV.encode())),
        ("sales.jsonl", JSON_LINES.encode()),
        ("sales.jsonl.gz", gzip.compress(JSON_LINES.encode())),
    ],
)
def test_text_is_ingested(tmp_path: Path, bucket: Bucket, name: str, content: bytes) -> None:
    config = SourceConfig("sales", bucket.put(f"in/{name}", content))
    table = ingested(config, str(tmp_path))
    assert table.schema == SCHEMA
    assert rows_of(table) == ROWS
    assert table.ledger == Ledger(read=500, kept=500, written=500)
    assert len(table.parts) == (1 if name.endswith(".gz") else len(content) // 4_000 + 1)
    assert {origin.file for origin in table.origins} == {config.path}


def test_a_reject_tells_where_in_the_bucket_it_stood(tmp_path: Path, bucket: Bucket) -> None:
    path = bucket.put("sales.csv", CSV + "one,2,three\n")
    table = ingested(SourceConfig("sales", path, types={"id": "int64"}), str(tmp_path))
    assert table.ledger == Ledger(read=501, rejected=1, kept=500, written=500)
    [reject] = rows_of(Table.load(f"{tmp_path}/rejects"))
    assert (reject["file"], reject["raw"]) == (path, "one,2,three")


def test_parquet_is_registered_where_it_lies(tmp_path: Path, bucket: Bucket) -> None:
    paths = [bucket.put("sales/one.parquet", sales(0, 220)), bucket.put("sales/two.parquet", sales(220))]
    table = in_place(f"{bucket.url}/sales", tmp_path)
    assert [table.path(part) for part in table.parts] == paths
    assert [part.row_groups for part in table.parts] == [(100, 100, 20), (100, 100, 80)]
    assert rows_of(Table.load(str(tmp_path))) == ROWS


@pytest.mark.parametrize("where", ["sales", "sales/", "sales/*.csv", "sales/part-?.csv", "**.csv"])
def test_folders_and_globs(tmp_path: Path, bucket: Bucket, where: str) -> None:
    lines = CSV.splitlines(keepends=True)
    halves = [bucket.put(f"sales/part-{n}.csv", "".join([lines[0], *lines[1 + n :: 2]])) for n in (0, 1)]
    bucket.put("sales/", "")  # what consoles make for a folder
    bucket.put("sales/_SUCCESS", "")
    bucket.put("elsewhere/other.txt", "not asked for")
    config = SourceConfig("sales", f"{bucket.url}/{where}")
    assert [file.path for file in storage.expand(config.path)] == halves
    assert rows_of(ingested(config, str(tmp_path))) == ROWS


def test_a_folder_stands_for_the_files_directly_in_it(bucket: Bucket) -> None:
    top, inner = bucket.put("top.csv", CSV), bucket.put("in/inner.csv", CSV)
    bucket.put("in/deeper/below.csv", CSV)
    assert storage.expand(f"{bucket.url}/in") == [storage.FileInfo(inner, len(CSV))]
    assert storage.expand(bucket.url) == storage.expand(f"{bucket.url}/") == [storage.FileInfo(top, len(CSV))]


def test_a_file_that_is_named_is_taken_whatever_its_name(bucket: Bucket) -> None:
    path = bucket.put("in/_draft.csv", CSV)
    assert storage.expand(path) == [storage.FileInfo(path, len(CSV))]


# What is not there


def test_a_missing_file_is_told_with_the_nearest(bucket: Bucket) -> None:
    bucket.put("in/sales.csv", CSV)
    with pytest.raises(DataError, match=r"in/sale\.csv' matches no file\. Did you mean 'sales\.csv'\?") as told:
        infer_schema(SourceConfig("sales", f"{bucket.url}/in/sale.csv"))
    assert told.value.hint == f"'{bucket.url}/in' holds: sales.csv."


@pytest.mark.parametrize("where", ["nothing/*.csv", "nothing", "*/nothing.csv", ""])
def test_nothing_that_matches(bucket: Bucket, where: str) -> None:
    bucket.put("in/_SUCCESS", "")
    with pytest.raises(DataError, match=r"matches no file\.$"):
        storage.expand(f"{bucket.url}/{where}")


@pytest.mark.parametrize("where", ["sales.csv", "*.csv", ""])
def test_a_missing_bucket(bucket: Bucket, where: str) -> None:
    with pytest.raises(DataError, match=r"'gs://no-such-bucket.*cannot be listed: there is no such object or bucket"):
        storage.expand(f"gs://no-such-bucket/{where}")


def test_an_unknown_scheme(bucket: Bucket) -> None:
    with pytest.raises(DataError, match=r"nothing here reads 'gcs://'\. Did you mean 'gs'\?") as told:
        storage.expand(f"gcs://{bucket.name}/sales.csv")
    assert "gs://" in told.value.hint


def test_a_file_that_goes_away_after_it_was_listed(tmp_path: Path, bucket: Bucket) -> None:
    config = SourceConfig("sales", bucket.put("sales.csv", CSV))
    plan = ingest.plan(config)
    table = in_place(bucket.put("sales.parquet", sales()), tmp_path)
    for name in bucket.names:
        bucket.client.bucket(bucket.name).delete_blob(name)
    with pytest.raises(DataError, match=r"sales\.csv' cannot be read: .*no such object"):
        ingest.ingest_chunk(plan.chunks[0], ingest.IngestTarget(config, plan, f"{tmp_path}/t", f"{tmp_path}/r"))
    with pytest.raises(DataError, match=r"sales\.parquet' cannot be read: .*no such object"):
        prepare(tmp_path / "out", "SELECT * FROM sales", {"sales": table})


@pytest.fixture
def secretive(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket that refuses whatever has `secret` in its name."""
    for verb in ("do_GET", "do_PUT"):
        answer = getattr(RequestHandler, verb)

        def refuse(self: RequestHandler, answer: object = answer) -> None:
            self.send_error(403) if "secret" in self.path else answer(self)  # type: ignore[operator]

        monkeypatch.setattr(RequestHandler, verb, refuse)
    return bucket


def test_a_bucket_that_refuses(secretive: Bucket, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be listed: permission denied"):
        storage.expand(f"{secretive.url}/secret/*.csv")
    with pytest.raises(PermissionError):
        storage.open_input(f"{secretive.url}/secret.csv")
    path = f"{secretive.url}/secret.txt"
    with pytest.raises(DataError, match=r"secret\.txt' failed: permission denied"), storage.writing(path):
        storage.write_text(path, "words")


# Fingerprints


def test_the_fingerprint_follows_the_content_and_reads_none_of_it(tmp_path: Path, bucket: Bucket) -> None:
    memo = str(tmp_path / "digests.json")
    config = SourceConfig("sales", f"{bucket.url}/in/*.csv")
    bucket.put("in/one.csv", CSV)
    first = source_content(config, memo)
    assert source_content(config, memo) == source_content(config) == first
    bucket.put("in/one.csv", CSV.replace("shop 1", "shop 7"))  # the same size
    changed = source_content(config, memo)
    bucket.put("in/two.csv", CSV)
    more = source_content(config, memo)
    bucket.put("in/one.csv", CSV)
    assert len({first, changed, more, source_content(config, memo)}) == 4
    assert bucket.downloads == []


# Jobs


def test_parquet_is_prepared_where_it_lies(tmp_path: Path, bucket: Bucket) -> None:
    paths = [bucket.put(f"sales/{n}.parquet", sales(n * 250, n * 250 + 250)) for n in (0, 1)]
    shops = in_place(bucket.put("shops.parquet", as_parquet(SHOPS)), tmp_path / "shops", "shops")
    table = prepare(
        tmp_path / "out", JOIN, {"sales": in_place(f"{bucket.url}/sales", tmp_path / "sales"), "shops": shops}
    )
    rows = stored(table)
    assert rows.drop_columns([ROW]).to_pylist() == JOINED
    assert [(row >> 32) * 250 + (row & 0xFFFFFFFF) for row in rows[ROW].to_pylist()] == [row["id"] for row in JOINED]
    assert table.ledger == Ledger(read=500, filtered=500 - len(JOINED), kept=len(JOINED), written=len(JOINED))
    assert bucket.names == [path.removeprefix(f"{bucket.url}/") for path in [*paths, shops.parts[0].path]]


def test_a_value_that_the_query_refuses_is_told_with_its_place_in_the_bucket(tmp_path: Path, bucket: Bucket) -> None:
    table = in_place(bucket.put("sales.parquet", sales()), tmp_path / "sales")
    sql = "SELECT CASE WHEN id = 317 THEN shop::INT ELSE id END AS id FROM sales"
    with pytest.raises(DataError, match=rf"row 318 of '{bucket.url}/sales\.parquet'"):
        prepare(f"{bucket.url}/out", sql, {"sales": table})
    kept = [f"out/_failed/chunk-000000.{ending}" for ending in ("json", "parquet")]
    assert bucket.names == [*kept, "sales.parquet"]


def test_a_whole_table_is_published_in_the_bucket(tmp_path: Path, bucket: Bucket) -> None:
    config = SourceConfig("sales", bucket.put("in/sales.csv", CSV))
    source = ingested(config, f"{bucket.url}/ingest")
    assert rows_of(source) == ROWS
    split = SplitByHash(("id",), {"train": 0.6, "eval": 0.4})
    shops = in_place(bucket.put("in/shops.parquet", as_parquet(SHOPS)), tmp_path / "shops", "shops")
    table = prepare(f"{bucket.url}/examples", JOIN, {"sales": source, "shops": shops}, split=split)
    rows = [row for name in split.names for row in rows_of(table, split=name)]
    assert sorted(rows, key=lambda row: str(row["id"]).zfill(3)) == JOINED
    assert set(table.splits) == {"train", "eval"}
    inside = [name.removeprefix("examples/") for name in bucket.names if name.startswith("examples/")]
    assert inside == sorted([*(part.path for part in table.parts), MANIFEST])
    assert not [name for name in bucket.names if "_pending" in name]


def test_partitions_are_spilled_to_the_bucket_and_removed(tmp_path: Path, bucket: Bucket) -> None:
    table = in_place(bucket.put("sales.parquet", sales()), tmp_path / "sales")
    sql = "SELECT shop, count(*) AS sales, sum(price) AS total FROM sales GROUP BY shop"
    totals = prepare(f"{bucket.url}/totals", sql, {"sales": table}, partition_by=["shop"])
    assert rows_of(totals) == [
        {"shop": f"shop {n}", "sales": 100, "total": sum(row["price"] for row in ROWS[n::5])} for n in range(5)
    ]
    assert {os.path.dirname(name) for name in bucket.names} == {"", "totals"}


# Verbs


def test_bytes_go_there_and_back(bucket: Bucket) -> None:
    content, path = os.urandom(20 << 20), f"{bucket.url}/folder/random.gz"  # more than a request carries
    with storage.open_output(path) as stream:
        for start in range(0, len(content), 3 << 20):
            stream.write(content[start : start + (3 << 20)])
    assert storage.expand(path) == [storage.FileInfo(path, len(content))]
    with storage.open_input(path) as stream:
        assert stream.read() == content
        stream.seek(17 << 20)
        assert stream.read(1_000) == content[17 << 20 :][:1_000]
        stream.seek(-5, os.SEEK_END)
        assert (stream.tell(), stream.read(10), stream.read(10)) == (len(content) - 5, content[-5:], b"")


def test_what_fails_while_it_is_written_is_not_there(bucket: Bucket) -> None:
    path = f"{bucket.url}/half.txt"
    with pytest.raises(ZeroDivisionError), storage.open_output(path) as stream:
        stream.write(b"half of it")
        raise ZeroDivisionError
    assert not storage.exists(path)


def test_text_and_existence(bucket: Bucket) -> None:
    path = f"{bucket.url}/folder/note.txt"
    assert not storage.exists(path)
    for words in ("erste Fassung", "zweite, größere Fassung"):
        storage.write_text(path, words)
        assert storage.read_text(path) == words
    assert storage.exists(path)
    assert bucket.names == ["folder/note.txt"]
    assert not storage.exists("gs://no-such-bucket/note.txt")


def test_moving_replaces_and_may_be_repeated(bucket: Bucket) -> None:
    source, target = bucket.put("pending/part", "new"), bucket.put("part", "old")
    for _ in range(2):
        storage.move(source, target)
        assert (bucket.names, bucket.get("part")) == (["part"], b"new")
    with pytest.raises(FileNotFoundError):
        storage.move(source, f"{bucket.url}/another")


def test_removing_a_folder_leaves_its_neighbours(bucket: Bucket) -> None:
    for name in ("table/a", "table/deep/b", "table/c[1]*", "table2/d", "table.json"):
        bucket.put(name, "x")
    for _ in range(2):
        storage.remove_tree(f"{bucket.url}/table")
        assert bucket.names == ["table.json", "table2/d"]


def test_removing_takes_few_requests(bucket: Bucket) -> None:
    for n in range(130):
        bucket.put(f"table/{n}", "x")
    before = len(bucket.requests)
    storage.remove_tree(f"{bucket.url}/table/")
    assert len(bucket.requests) - before < 10
    assert bucket.names == []
