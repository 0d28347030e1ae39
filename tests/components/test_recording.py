"""Digests of tables, as they are recorded: taken by the job, and otherwise read."""

import dataclasses
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parquet_parts import pieces, write_part

from beam_jobs import storage
from beam_jobs.ledger import Ledger
from beam_jobs.table import Part, Table
from components.recording import content_digest

if TYPE_CHECKING:
    from bucket import Bucket

ROWS = pa.table({"a": range(400)})
names = st.lists(st.text("abc/", min_size=1).map(lambda name: f"x{name}"), unique=True, max_size=5)


def table(root: str, parts: tuple[Part, ...]) -> Table:
    return Table(root, ROWS.schema, parts, True, Ledger())


@pytest.fixture
def written(tmp_path: Path) -> Table:
    """As an earlier version left it: no part has a digest in the manifest."""
    parts = [write_part(tmp_path, f"part-{n}.parquet", rows, n) for n, (_, rows) in enumerate(pieces(ROWS, 3))]
    return table(str(tmp_path), tuple(parts))


def digested(written: Table) -> Table:
    parts = [dataclasses.replace(part, digest=storage.bytes_digest(written.path(part))) for part in written.parts]
    return dataclasses.replace(written, parts=tuple(parts))


def test_what_the_job_digested_is_what_would_be_read(written: Table) -> None:
    assert content_digest(digested(written)) == content_digest(written)


def test_what_the_job_digested_is_not_read(written: Table, tmp_path: Path) -> None:
    known = digested(written)
    expected = content_digest(known)
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    assert content_digest(known) == expected
    assert content_digest(dataclasses.replace(known, root="gs://nowhere/at/all")) == expected


def test_an_older_table_in_a_bucket_has_the_digest_that_it_has_on_a_disk(written: Table, bucket: "Bucket") -> None:
    for part in written.parts:
        bucket.put(f"t/{part.path}", Path(written.path(part)).read_bytes())
    assert content_digest(dataclasses.replace(written, root=f"{bucket.url}/t")) == content_digest(written)


def test_files_read_in_place_count_whatever_their_names(written: Table, tmp_path: Path, bucket: "Bucket") -> None:
    first, second = (Part(str(tmp_path / f"part-{n}.parquet"), (134,), n) for n in range(2))
    there = [
        Part(bucket.put(f"{n}.parquet", Path(part.path).read_bytes()), (134,), n)
        for n, part in enumerate((first, second))
    ]
    here = content_digest(table("/r", (first, second)))
    assert here != content_digest(table("/r", (second, first)))
    told = {part.path: storage.bytes_digest(part.path) for part in (first, second)}
    assert content_digest(table("/r", (first, second)), told) == here
    bucket.requests.clear()
    remote = content_digest(table("/r", tuple(there)))
    assert bucket.downloads == []  # sources may be huge: the store's checksums stand for them
    assert remote == content_digest(table("/elsewhere", tuple(there)))


@given(names, st.randoms(use_true_random=False), st.sampled_from(["/here", "gs://there/deep"]))
def test_it_depends_on_parts_and_their_order_alone(paths: list[str], chance: random.Random, root: str) -> None:
    parts = tuple(Part(path, (1,), n, "", storage.text_digest(path * 2)) for n, path in enumerate(paths))
    found = content_digest(table("/here", parts))
    assert content_digest(table(root, parts)) == found
    shuffled = chance.sample(parts, len(parts))
    assert (content_digest(table(root, tuple(shuffled))) == found) == (tuple(shuffled) == parts)
    if parts:
        other = (dataclasses.replace(parts[0], digest=storage.text_digest("another")), *parts[1:])
        assert content_digest(table(root, other)) != found
