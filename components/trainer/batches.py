"""Examples as XGBoost takes them: Parquet, encoded batch by batch, cached where memory allows."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import xgboost

from beam_jobs.table import ROW_GROUP_ROWS, Table, read_batches
from components import encoding
from components.errors import StepError
from components.model_contract import ModelContract
from components.target import LabelCounts

Memory = Literal["cached", "streamed", "external"]
BATCH_CELLS = 16_000_000
EXTERNAL_BATCH_CELLS = 2_000_000  # a batch is a page on disk, of which XGBoost holds several
CACHED_BYTES_A_CELL = 4
QUANTISED_BYTES_A_CELL = 6
SHARE_OF_MEMORY = 0.6


class EncodedBatches(xgboost.DataIter):
    """Feeds one split to XGBoost, which passes over it about five times to build its quantised matrix.

    Rows without a usable label are left out, and counted in `counts` during the first pass.

    Args:
      cached: keep the encoded batches, 4 bytes a cell, so that Parquet is read once.
      cache_prefix: for external memory, a local path before the names of XGBoost's own page files.
      share: of the rows, drawn by lot but the same in each pass.
    """

    def __init__(
        self,
        table: Table,
        split: str,
        contract: ModelContract,
        cached: bool,
        cache_prefix: str | None = None,
        share: float = 1.0,
    ) -> None:
        self.table, self.split, self.contract, self.share = table, split, contract, share
        cells = EXTERNAL_BATCH_CELLS if cache_prefix else BATCH_CELLS
        self._batch_rows = max(4_096, min(ROW_GROUP_ROWS, cells // len(contract.features)))
        self.counts = LabelCounts()
        self._cache: list[tuple[encoding.Floats, encoding.Floats]] = []
        self._cached = cached
        self._batches: Iterator[tuple[encoding.Floats, encoding.Floats]] = iter(())
        super().__init__(cache_prefix=cache_prefix, on_host=False)

    def reset(self) -> None:
        """Starts the next pass."""
        self._batches = iter(self._cache) if self._cached and self._cache else self._encode()

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Hands one batch to XGBoost; False after the last."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        values, codes = batch
        input_data(data=values, label=codes, feature_types=self.contract.feature_types)
        return True

    def release(self) -> None:
        """Frees the cached batches once the matrix is built."""
        self._cache.clear()

    def _encode(self) -> Iterator[tuple[encoding.Floats, encoding.Floats]]:
        counts = self.counts = LabelCounts()
        chance = np.random.default_rng(0)
        for batch in read_batches(self.table, self.split, self.contract.columns, self._batch_rows):
            if self.share < 1:
                batch = batch.filter(pa.array(chance.random(batch.num_rows) < self.share))  # noqa: PLW2901
            codes = counts.add(batch.column(len(self.contract.features)), self.contract.classes)
            values, labelled = encoding.matrix(batch, self.contract), np.isfinite(codes)
            if not labelled.all():
                values, codes = values[labelled], codes[labelled]
            if not len(codes):
                continue
            if self._cached:
                self._cache.append((values, codes))
            yield values, codes
        if not counts.labelled:
            raise StepError(
                f"No row of the split '{self.split}' has a usable label '{self.contract.label}'.",
                f"{counts.missing:,} rows have none, {counts.unseen.total():,} hold a class that training never saw.",
            )


@dataclass(frozen=True)
class MatrixSettings:
    """How the quantised matrices are built.

    Attributes:
      memory: 'cached' keeps the encoded batches while building, 'streamed' reads Parquet anew for each pass,
        'external' also keeps the quantised pages on disk, in `folder`.
      bins: the most histogram bins of a feature.
    """

    memory: Memory
    threads: int
    bins: int
    folder: str


def build_matrix(batches: EncodedBatches, settings: MatrixSettings, reference: Any = None) -> Any:
    """Builds XGBoost's quantised matrix of a split; `reference`, the train matrix, gives its bins to the others.

    Raises:
      StepError: the examples do not fit the contract.
    """
    shared = {"nthread": settings.threads, "max_bin": settings.bins, "enable_categorical": True, "ref": reference}
    matrix_class = xgboost.ExtMemQuantileDMatrix if settings.memory == "external" else xgboost.QuantileDMatrix
    matrix = matrix_class(batches, **shared)
    batches.release()
    return matrix


def open_batches(
    table: Table, split: str, contract: ModelContract, settings: MatrixSettings, share: float = 1.0
) -> EncodedBatches:
    """The split, or a share of its rows, as an iterator that fits the settings."""
    prefix = os.path.join(settings.folder, split) if settings.memory == "external" else None
    return EncodedBatches(table, split, contract, settings.memory == "cached", prefix, share)


def plan_memory(asked: str, cells: int, available: int) -> Memory:
    """Chooses how to hold the examples.

    Args:
      asked: 'memory', 'external', or 'auto' to decide by size.
      cells: rows times features, of all splits that are held.
      available: bytes of memory that can be had.
    """
    budget = SHARE_OF_MEMORY * available
    if asked == "external" or (asked == "auto" and cells * QUANTISED_BYTES_A_CELL > budget):
        return "external"
    return "cached" if cells * (QUANTISED_BYTES_A_CELL + CACHED_BYTES_A_CELL) <= budget else "streamed"
