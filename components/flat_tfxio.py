"""Lets TFX's own components read flat Parquet examples in a hand-written pipeline.

TFX's Parquet reader hands columns on as they are, and its consumers want lists: flat columns fail, or make its
Evaluator report no metric at all. `accept_flat_parquet()`, called where the pipeline is defined, puts a reader in its
place that wraps them. Examples must carry the custom property `payload_format` = `FORMAT_PARQUET`.
"""

from typing import Any

import apache_beam as beam
import pyarrow as pa
from tfx_bsl.tfxio import parquet_tfxio

from beam_jobs.table import ROW
from components.listed_columns import listed_batch, listed_schema

_STOCK = parquet_tfxio.ParquetTFXIO


class FlatParquetTFXIO(_STOCK):  # type: ignore[misc, valid-type]
    """TFX's Parquet reader for flat columns; `_row` is no feature and stays out."""

    def BeamSource(self, batch_size: int | None = None) -> beam.PTransform:  # noqa: N802  the name is TFX's
        """A transform from a pipeline to record batches of list columns."""
        return _ReadListed(super().BeamSource(batch_size))

    def _InferArrowSchema(self) -> pa.Schema:  # noqa: N802
        flat = super()._InferArrowSchema()
        return listed_schema(pa.schema([column for column in flat if column.name != ROW]), for_tensors=True)


class _ReadListed(beam.PTransform[Any, Any]):
    def __init__(self, flat: beam.PTransform) -> None:
        super().__init__()
        self.flat = flat

    def expand(self, start: Any) -> Any:
        return start | "ReadFlat" >> self.flat | "List" >> beam.Map(_listed).with_output_types(pa.RecordBatch)


def _listed(batch: pa.RecordBatch) -> pa.RecordBatch:
    features = [name for name in batch.schema.names if name != ROW]
    return listed_batch(batch.select(features), for_tensors=True)


def accept_flat_parquet() -> None:
    """Makes every TFX component of this process that reads Parquet examples accept flat columns; safe to repeat."""
    parquet_tfxio.ParquetTFXIO = FlatParquetTFXIO
