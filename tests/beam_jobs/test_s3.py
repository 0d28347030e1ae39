"""Objects in S3: Amazon's client, through Beam, against an emulator on this machine."""

import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3_bucket import S3Bucket
from small_tables import prepare, stored

from beam_jobs import buckets, ingest, s3_client, storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import folder_digest
from beam_jobs.sources import SourceConfig, infer_schema
from beam_jobs.table import ROW

ROWS = pa.table({"id": range(500), "price": [n / 4 for n in range(500)]})


@pytest.mark.parametrize("size", [0, 1, s3_client.PART_BYTES, (40 << 20) + 7])
def test_bytes_go_there_and_back(s3_bucket: S3Bucket, size: int) -> None:
    content, path = os.urandom(size), f"{s3_bucket.url}/folder/random.gz"
    with storage.open_output(path) as stream:
        for start in range(0, size, 3 << 20):
            stream.write(content[start : start + (3 << 20)])
        assert stream.tell() == size
    assert storage.expand(path) == [storage.FileInfo(path, size)]
    with storage.open_input(path) as stream:
        assert stream.read() == content
        stream.seek(size // 2)
        assert stream.read(1_000) == content[size // 2 :][:1_000]


def test_what_fails_while_it_is_written_is_not_there(s3_bucket: S3Bucket) -> None:
    for size in (10, s3_client.PART_BYTES + 1):
        with pytest.raises(ZeroDivisionError), storage.open_output(f"{s3_bucket.url}/half") as stream:
            stream.write(bytes(size))
            raise ZeroDivisionError
    assert s3_bucket.names == []
    assert "Uploads" not in s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.name), "no part is paid for"


def test_folders(s3_bucket: S3Bucket) -> None:
    for name in ("table/a", "table/deep/b", "table2/d", "table.json"):
        s3_bucket.put(name, name)
    url = s3_bucket.url
    assert buckets.find(f"{url}/table") == {f"{url}/table/a": 7}
    below = buckets.below(f"{url}/table")
    assert list(below) == [f"{url}/table/a", f"{url}/table/deep/b"]
    assert all(changed > 1_700_000_000 for changed in below.values())
    assert (storage.is_folder(f"{url}/table"), storage.is_folder(f"{url}/tabl")) == (True, False)
    for _ in range(2):
        storage.remove_tree(f"{url}/table")
        assert s3_bucket.names == ["table.json", "table2/d"]


def test_text_existence_and_moving(s3_bucket: S3Bucket) -> None:
    path, target = f"{s3_bucket.url}/note.txt", f"{s3_bucket.url}/in/note.txt"
    assert not storage.exists(path)
    for words in ("erste Fassung", "zweite, größere Fassung", ""):
        storage.write_text(path, words)
        assert storage.read_text(path) == words
    for _ in range(2):
        storage.move(path, target)
        assert s3_bucket.names == ["in/note.txt"]
    with pytest.raises(FileNotFoundError):
        storage.move(path, f"{s3_bucket.url}/another")


def test_a_folder_has_the_same_digest_as_on_a_disk(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    for name in ("a", "deep/b"):
        s3_bucket.put(f"folder/{name}", name)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert folder_digest(f"{s3_bucket.url}/folder") == folder_digest(str(tmp_path))


def test_parquet_is_prepared_where_it_lies(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    for part in (0, 1):
        written = io.BytesIO()
        pq.write_table(ROWS.slice(part * 250, 250), written)
        s3_bucket.put(f"sales/{part}.parquet", written.getvalue())
    source = ingest.parquet_table(SourceConfig("sales", f"{s3_bucket.url}/sales"), str(tmp_path))
    table = prepare(f"{s3_bucket.url}/out", "SELECT * FROM sales WHERE price >= 10", {"sales": source})
    assert stored(table).drop_columns([ROW]).sort_by("id").equals(ROWS.slice(40).cast(table.schema))
    assert not [name for name in s3_bucket.names if "_pending" in name]


@pytest.mark.parametrize("where", ["sales.csv", "*.csv", ""])
def test_a_missing_bucket(s3_bucket: S3Bucket, where: str) -> None:
    with pytest.raises(DataError, match=r"'s3://no-such-bucket.*matches no file"):
        storage.expand(f"s3://no-such-bucket/{where}")
    with pytest.raises(FileNotFoundError):
        storage.write_text("s3://no-such-bucket/note.txt", "words")


def test_a_missing_file_is_told_with_the_nearest(s3_bucket: S3Bucket) -> None:
    s3_bucket.put("in/sales.csv", "id\n1\n")
    with pytest.raises(DataError, match=r"matches no file\. Did you mean 'sales\.csv'\?"):
        infer_schema(SourceConfig("sales", f"{s3_bucket.url}/in/sale.csv"))
    with pytest.raises(FileNotFoundError):
        storage.open_input(f"{s3_bucket.url}/in/sale.csv").read()


def test_without_credentials_it_is_told_at_once(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    s3_client.forget_client()
    with pytest.raises(DataError, match="permission denied: nothing tells who asks"):
        storage.expand(f"{s3_bucket.url}/sales.csv")
    with pytest.raises(OSError, match="permission denied: nothing tells who asks"):
        storage.write_text(f"{s3_bucket.url}/note.txt", "words")
