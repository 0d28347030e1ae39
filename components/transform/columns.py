"""What a transform makes of each column: its kind, and from a sample of the rows, whether values lack or are skewed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from beam_jobs import storage
from beam_jobs.chunks import chunks_of, read_chunk
from beam_jobs.table import ROW_GROUP_ROWS, Table
from components import feature_tensors
from components.errors import StepError
from components.model_contract import Feature

TRAIN = "train"
SAMPLE_ROWS = 131_072
SAMPLE_PLACES = 32

Role = Literal["number", "flag", "text", "code"]


@dataclass(frozen=True)
class TransformConfig:
    """What the user may set of a transform.

    Attributes:
      module: the user's own Python file, as the planner resolved it; '' for the default function.
      module_digest: the digest of that file's content, so that an edited file is another configuration.
      function: the function of the module: takes a dict of tensors of shape (rows,), gives a dict of tensors.
      vocabulary: the most values of a category that get an id of their own.
      oov_buckets: ids that values outside the vocabulary share.
      buckets: ranges of equal share that a skewed number is cut into.
      skewness: a number whose distribution is skewed by more is also given as the range it falls into.
    """

    module: str = ""
    module_digest: str = ""
    function: str = "preprocessing_fn"
    vocabulary: int = 1_000
    oov_buckets: int = 1
    buckets: int = 10
    skewness: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("vocabulary", 1), ("oov_buckets", 1), ("buckets", 2), ("skewness", 0)):
            if getattr(self, name) < least:
                raise StepError(f"Transform: {name} is {getattr(self, name)}; {least} is the least.")


@dataclass(frozen=True)
class Column:
    """A feature as the default function sees it.

    Attributes:
      role: 'number', 'flag' (false or true), 'text', or 'code' (whole numbers that are names).
      missing: whether rows without a value are told apart from the others.
      skewed: whether a number is also given as the range it falls into.
    """

    name: str
    role: Role
    missing: bool = False
    skewed: bool = False


def read_schema(uri: str) -> Any:
    """The `tensorflow_metadata` Schema of a Schema artifact's folder."""
    path = f"{uri.rstrip('/')}/schema.pbtxt"
    return text_format.Parse(storage.read_text(path), schema_pb2.Schema(), allow_unknown_extension=True)


def plan_columns(table: Table, features: Sequence[Feature], schema: Any, config: TransformConfig) -> tuple[Column, ...]:
    """Decides for each feature, by its kind, the schema and a sample of the rows of `train`.

    Args:
      schema: a `tensorflow_metadata` Schema; a whole number that it calls categorical is a code.
    """
    codes = {one.name for one in schema.feature if one.int_domain.is_categorical}
    pieces = [feature_tensors.arrays(batch, features) for batch in sample(table, [one.name for one in features])]
    return tuple(
        _column(feature, feature.name in codes, [piece[feature.name] for piece in pieces], config)
        for feature in features
    )


def _column(feature: Feature, code: bool, pieces: Sequence[npt.NDArray[Any]], config: TransformConfig) -> Column:
    if feature_tensors.is_text(feature):
        return Column(feature.name, "text")
    if code:
        return Column(feature.name, "code")
    values = np.concatenate(pieces)
    missing = bool(np.isnan(values).any())
    if feature.kind == "bool":
        return Column(feature.name, "flag", missing)
    skewed = feature.kind == "numeric" and abs(skewness(values)) > config.skewness
    return Column(feature.name, "number", missing, skewed)


def skewness(values: npt.NDArray[np.float32]) -> float:
    """The third standardized moment of the values that are not missing; 0 where they do not vary."""
    known = values[~np.isnan(values)].astype(np.float64)
    centred = known - known.mean() if len(known) else known
    spread = float(np.sqrt(np.mean(centred**2))) if len(known) else 0.0
    return float(np.mean((centred / spread) ** 3)) if spread > 0 else 0.0


def sample(table: Table, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some rows of `train`, from places spread evenly over it: all of a small table, a bounded work in a large one."""
    chunks = chunks_of(table, 1, [TRAIN])  # a row group each
    rows = sum(chunk.rows for chunk in chunks)
    chosen = chunks if rows <= SAMPLE_ROWS else chunks[:: -(-len(chunks) // SAMPLE_PLACES)]
    most = min(ROW_GROUP_ROWS, -(-SAMPLE_ROWS // len(chosen))) if chosen else 0
    for chunk in chosen:
        yield next(read_chunk(chunk, columns, most))
