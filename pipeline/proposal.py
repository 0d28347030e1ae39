"""A first configuration for a table that nobody has described yet: a sample is looked at, and the rest follows."""

import datetime
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from beam_jobs import ingest, rejects, sources, storage
from beam_jobs.errors import listed, nearest
from beam_jobs.sources import SourceConfig
from beam_jobs.text_chunks import read_blocks
from pipeline.errors import ConfigError

SAMPLED_PIECES = 64
PIECE_BYTES = 1 << 20
EVAL_QUANTILE, TEST_QUANTILE = 0.8, 0.9


@dataclass(frozen=True)
class Sample:
    """Some rows of a source, spread over it."""

    source: SourceConfig
    rows: pa.Table


def sample(path: str) -> Sample:
    """Reads up to 64 pieces of about a megabyte, spread over the source.

    Raises:
      DataError: there is no such source, or it is no sound table.
    """
    name = re.sub(r"\W+", "_", os.path.basename(path.rstrip("/")).split(".")[0]).strip("_") or "rows"
    config = SourceConfig(name=f"t_{name}" if name[0].isdigit() else name, path=path)
    schema = sources.infer_schema(config)
    found = sources.find_files(config)
    pieces = _parquet_pieces(found) if found.format == "parquet" else _text_pieces(config, schema)
    return Sample(config, pa.Table.from_batches([b for piece in pieces for b in piece.to_batches()], schema))


def _spread(count: int) -> list[int]:
    return sorted({round(i * (count - 1) / max(1, SAMPLED_PIECES - 1)) for i in range(min(count, SAMPLED_PIECES))})


def _parquet_pieces(found: sources.SourceFiles) -> Iterator[pa.Table]:
    for i in _spread(len(found.files)):
        with storage.open_input(found.files[i].path) as stream:
            file = pq.ParquetFile(stream)
            for group in _spread(file.num_row_groups)[:: max(1, len(found.files) // 8)]:
                yield file.read_row_group(group)


def _text_pieces(config: SourceConfig, schema: pa.Schema) -> Iterator[pa.Table]:
    plan = ingest.plan(config, schema, PIECE_BYTES)
    target = ingest.IngestTarget(config, plan, "", "")
    for i in _spread(len(plan.chunks)):
        chunk = plan.chunks[i]
        for block in read_blocks(chunk, target.parser.grammar, PIECE_BYTES):
            yield rejects.read_block(block, chunk.path, target.parser, 0.5).rows


def time_columns(rows: pa.Table) -> list[str]:
    """Columns by which rows can be split in time: dates and timestamps without a null, spread enough to cut twice."""
    found = [f.name for f in rows.schema if pa.types.is_timestamp(f.type) or pa.types.is_date(f.type)]
    return [name for name in found if rows[name].null_count == 0 and _cuts(rows[name]) is not None]


def _cuts(column: pa.ChunkedArray) -> tuple[str, str] | None:
    """Midnights near the 80th and the 90th percentile, when they leave rows on each side."""
    days = pc.cast(
        pc.cast(column, pa.timestamp("us"), safe=False) if pa.types.is_timestamp(column.type) else column,
        pa.date32(),
        safe=False,
    )
    numbers = pc.cast(days, pa.int32())
    first, second = (
        int(v.as_py()) for v in pc.quantile(numbers, [EVAL_QUANTILE, TEST_QUANTILE], interpolation="nearest")
    )
    low, high = (int(v.as_py()) for v in (pc.min(numbers), pc.max(numbers)))
    if not low < first < second <= high:
        return None
    epoch = datetime.date(1970, 1, 1)
    return tuple((epoch + datetime.timedelta(days=day)).isoformat() for day in (first, second))  # type: ignore[return-value]


def split_of(rows: pa.Table, label: str, column: str | None) -> dict[str, object]:
    """By time where there is a column for it, else by a hash of a key, or of all columns so that twins stay together."""
    if column:
        cuts = _cuts(rows[column])
        if cuts is None:
            raise ConfigError(
                f"Column '{column}' does not spread over enough days to split by it.",
                "Leave --time out to split by a hash.",
            )
        return {"by": "time", "column": column, "eval_from": cuts[0], "test_from": cuts[1]}
    others = [name for name in rows.column_names if name != label]
    keys = [
        name
        for name in others
        if not pa.types.is_floating(rows.schema.field(name).type)
        and pc.count_distinct(rows[name]).as_py() > 0.95 * len(rows)
    ]
    return {"by": "hash", "columns": keys[:1] or others, "shares": {"train": 0.8, "eval": 0.1, "test": 0.1}}


def check_label(rows: pa.Table, label: str) -> None:
    """Refuses a label that nothing can be learned from, as far as the sample shows.

    Raises:
      ConfigError: there is no such column, or it never varies.
    """
    if label not in rows.column_names:
        raise ConfigError(
            f"The table has no column '{label}'.{nearest(label, rows.column_names)}",
            f"Its columns: {listed(rows.column_names, 40)}.",
        )
    values = pc.unique(rows[label].drop_null())
    if len(values) < 2:
        shown = values[0].as_py() if len(values) else "null"
        raise ConfigError(
            f"Column '{label}' is {shown!r} in all {len(rows):,} sampled rows; there is nothing to predict.",
            "Name another label.",
        )


def configuration(taken: Sample, name: str, label: str, time: str | None, folder: str) -> str:
    """The text of a configuration that runs."""
    path = taken.source.path
    relative = (
        path if storage.is_remote(path) or path.startswith(storage.PACKAGE_SCHEME) else os.path.relpath(path, folder)
    )
    document = {
        "name": name,
        "sources": {taken.source.name: {"path": relative}},
        "examples": {"table": taken.source.name, "label": label, "split": split_of(taken.rows, label, time)},
        "select": {"exclude": [time] if time else []},
        "evaluate": {"slices": []},
    }
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=110)
    return f"# Written by `braid init`; docs/configuration.md explains every key.\n{text}"
