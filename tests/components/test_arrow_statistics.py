import datetime
import decimal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from examples_factory import write_examples
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import statistics_pb2

from beam_jobs import progress
from beam_jobs.errors import DataError
from beam_jobs.failures import list_failures
from beam_jobs.failures import rows as kept_rows
from beam_jobs.ledger import Ledger
from beam_jobs.table import Part, Table
from components.arrow_statistics import profiling
from components.listed_columns import listed_batch

RUNNER = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=2"]


def every_type(rows: int) -> pa.Table:
    """One column a supported type, every seventh value null but in `key`."""
    place = range(rows)

    def some(values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
        return pa.array([None if i % 7 == 6 else value for i, value in enumerate(values)], kind)

    start = datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)
    return pa.table(
        {
            "key": pa.array(place, pa.int64()),
            "small": some([i % 100 for i in place], pa.int8()),
            "real": some([i / 7 for i in place]),
            "flag": some([i % 3 == 0 for i in place]),
            "day": some([start.date() + datetime.timedelta(days=i % 365) for i in place]),
            "at": some([start + datetime.timedelta(minutes=i) for i in place], pa.timestamp("us", "UTC")),
            "price": some([decimal.Decimal(i) / 4 for i in place], pa.decimal128(12, 2)),
            "carrier": some(["UA", "AA", "B6"] * (rows // 3 + 1), pa.string())[:rows].dictionary_encode(),
            "note": some([f"note {i}" for i in place]),
            "void": pa.nulls(rows),
        }
    )


def profile(table: Table, folder: Path, sample_rows: int = 0) -> dict[str, Any]:
    paths = {split: str(folder / f"{split}.pb") for split in table.splits}
    target = profiling.Target(paths, table.splits, exact=not sample_rows, root=str(folder))
    with progress.original_errors(), beam.Pipeline(options=PipelineOptions(RUNNER)) as pipeline:
        _ = (
            pipeline
            | beam.Create(profiling.plan_chunks(table, sample_rows))
            | profiling.Profile(table.schema.names, target)
        )
    read = statistics_pb2.DatasetFeatureStatisticsList.FromString
    return {split: read(Path(path).read_bytes()).datasets[0] for split, path in paths.items()}


def test_every_row_is_counted_once_in_its_split(tmp_path: Path) -> None:
    table = write_examples(tmp_path / "e", {"train": every_type(5_003), "eval": every_type(11)}, parts=3)
    statistics = profile(table, tmp_path / "s")
    assert {split: one.num_examples for split, one in statistics.items()} == {"train": 5_003, "eval": 11}


def test_a_batch_that_cannot_be_counted_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_examples(tmp_path / "e", {"train": every_type(5_003), "eval": every_type(11)}, parts=1)

    def broken(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.num_rows == 11:
            raise ValueError("too few to count")
        return listed_batch(batch)

    monkeypatch.setattr(profiling, "listed_batch", broken)
    with pytest.raises(Exception, match="too few to count"):
        profile(table, tmp_path / "s")
    (failure,) = list_failures(str(tmp_path / "s"))
    assert (failure.group, failure.step, failure.error.type) == ("eval", "statistics", "builtins.ValueError")
    assert kept_rows(failure).to_pylist() == every_type(11).to_pylist()


def test_statistics_equal_those_counted_by_hand(tmp_path: Path) -> None:
    rows = every_type(4_000)
    statistics = profile(write_examples(tmp_path / "e", {"train": rows}), tmp_path / "s")["train"]
    features = {feature.path.step[0]: feature for feature in statistics.features}
    assert list(features) == rows.schema.names  # _row is no feature
    for name, feature in features.items():
        counted = feature.string_stats if feature.HasField("string_stats") else feature.num_stats
        assert counted.common_stats.num_missing == rows[name].null_count, name
    real = np.array([value for value in rows["real"].to_pylist() if value is not None])
    assert features["real"].num_stats.mean == pytest.approx(real.mean())
    assert features["real"].num_stats.std_dev == pytest.approx(real.std())
    assert features["key"].num_stats.max == 3_999
    assert features["day"].num_stats.min == 15_706  # 2013-01-01 in days since 1970
    assert features["price"].num_stats.max == 3_999 / 4
    buckets = features["carrier"].string_stats.rank_histogram.buckets
    expected = rows["carrier"].combine_chunks().dictionary_decode().value_counts().to_pylist()
    assert {b.label: b.sample_count for b in buckets} == {v["values"]: v["counts"] for v in expected if v["values"]}


def test_progress_counts_rows_and_chunks(tmp_path: Path) -> None:
    table = write_examples(tmp_path / "e", {"train": every_type(3_000), "eval": every_type(100)})
    steps: list[progress.Progress] = []
    with progress.listening(steps.append):
        profile(table, tmp_path / "s")
    assert sum(step.read for step in steps) == 3_100
    assert sum(step.chunks for step in steps) == len(profiling.plan_chunks(table))


def test_workers_that_finish_in_any_order_count_the_same_bytes(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    rows = pa.table({"real": generator.normal(1e6, 1e3, 4_000), "wild": generator.lognormal(0, 5, 4_000)})
    table = write_examples(tmp_path / "e", {"train": rows}, parts=8)
    combine = profiling.CountChunks(table.schema.names)
    combine.setup()
    groups = profiling.groups_of(profiling.plan_chunks(table))
    assert len(groups) == 8

    def counted(order: list[int], cut: int) -> bytes:
        """Two workers share the groups."""
        halves = [combine.create_accumulator(), combine.create_accumulator()]
        for place, number in enumerate(order):
            halves[place < cut] = combine.add_input(halves[place < cut], groups[number])
        return combine.extract_output(combine.merge_accumulators(halves))

    orders = [list(generator.permutation(8)) for _ in range(10)]
    assert len({counted(order, cut) for cut, order in enumerate(orders)}) == 1


@given(st.integers(1, 300), st.integers(1, 300))
def test_groups_hold_every_chunk_once_and_are_not_too_many(train: int, evaluation: int) -> None:
    names = ["train"] * train + ["eval"] * evaluation
    parts = tuple(Part(f"{i}.parquet", (131_072,), i, split) for i, split in enumerate(names))
    chunks = profiling.plan_chunks(Table("/nowhere", pa.schema([("x", pa.int8())]), parts, True, Ledger()))
    groups = profiling.groups_of(reversed(chunks))
    assert sorted(chunk.path for group in groups for chunk in group) == sorted(chunk.path for chunk in chunks)
    assert all(len({chunk.split for chunk in group}) == 1 for group in groups)
    assert len(groups) <= 2 * profiling.MOST_GROUPS
    assert groups == profiling.groups_of(chunks)


def test_files_that_changed_since_are_refused(tmp_path: Path) -> None:
    table = write_examples(tmp_path / "e", {"train": every_type(2_000)})
    lying = Table(
        table.root,
        table.schema,
        (*table.parts, Part("Split-train/part-000009.parquet", (5,), 9, "train")),
        True,
        Ledger(),
    )
    (tmp_path / "e" / "Split-train" / "part-000009.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"part-000009\.parquet' cannot be read"):
        profile(lying, tmp_path / "s")


def test_a_count_that_differs_from_the_manifest_is_refused(tmp_path: Path) -> None:
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    statistics.datasets.add().num_examples = 9
    target = profiling.Target({"train": str(tmp_path / "t.pb")}, {"train": 10}, exact=True)
    with pytest.raises(DataError, match="9 rows in its files and 10 in its manifest"):
        target.write(("train", statistics.SerializeToString()))
    assert not (tmp_path / "t.pb").exists()


def test_a_sample_takes_whole_row_groups_spread_over_the_split() -> None:
    parts = tuple(Part(f"Split-train/{i}.parquet", (131_072,), i, "train") for i in range(10))
    table = Table("/nowhere", pa.schema([("x", pa.int8())]), parts, True, Ledger())
    files = [chunk.path for chunk in profiling.plan_chunks(table, sample_rows=3 * 131_072)]
    assert len(files) in (3, 4)
    assert files[-1] > "/nowhere/Split-train/5"


@given(st.lists(st.lists(st.integers(0, 200_000), min_size=1, max_size=6), max_size=6))
def test_chunks_cover_every_row_group_once(files: list[list[int]]) -> None:
    parts = tuple(Part(f"{i}.parquet", tuple(groups), i, "train") for i, groups in enumerate(files))
    table = Table("/nowhere", pa.schema([("x", pa.int8())]), parts, True, Ledger())
    covered = [(chunk.path, group) for chunk in profiling.plan_chunks(table) for group in chunk.row_groups]
    assert len(covered) == len(set(covered))
    rows = {f"/nowhere/{part.path}": part.row_groups for part in parts}
    assert sum(rows[path][group] for path, group in covered) == table.rows


def test_tfdv_imports_where_tfx_was_not_imported() -> None:
    """As in a Beam worker, which unpickles the work without importing tfx."""
    code = "import sys; from components.tfdv_import import tfdv; tfdv.StatsOptions(); assert 'tfx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], capture_output=True)
