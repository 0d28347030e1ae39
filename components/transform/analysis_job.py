"""The analysis as a Beam job: Parquet chunks in, a transform graph out, no tf.Example between."""

import functools
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform import impl_helper
from tensorflow_transform.beam.tft_beam_io import transform_fn_io
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from beam_jobs import capture, io_lineage, progress
from beam_jobs.chunks import Chunk, chunks_of, read_chunk
from beam_jobs.errors import BraidError
from beam_jobs.progress import Progress
from beam_jobs.table import ROW_GROUP_ROWS
from components import feature_tensors, local_folders, record_batch_coder
from components.model_contract import Feature
from components.transform.analysis import Analysis
from components.transform.analyzers import Analyzers, States, analyzers_of
from components.transform.canonical import canonicalize
from components.transform.columns import TRAIN

JOB = "transform"
BATCH_ROWS = 32_768
MOST_GROUPS = 64
"""Parts of the split that are looked at side by side; each sends on what it has seen."""

ChunkGroup = tuple[Chunk, ...]


class Analyze(beam.PTransform[beam.Pipeline, Any]):
    """Reads the chunks of `train`, analyses them, and writes the transform graph.

    Raises:
      StepError: on construction, when the user's function is at fault.
    """

    def __init__(self, analysis: Analysis) -> None:
        super().__init__()
        self.analysis = analysis
        self.chunks = chunks_of(analysis.table, ROW_GROUP_ROWS, [TRAIN])
        self.fused = analyzers_of(analysis.preprocessing, analysis.features) is not None

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """One pass by `analyzers`, or as many as the function asks for by TensorFlow Transform's own steps."""
        return pipeline | ("OnePass" >> _OnePass(self) if self.fused else "Passes" >> _Passes(self))


def groups_of(chunks: Sequence[Chunk]) -> list[ChunkGroup]:
    """Neighbouring chunks that one worker looks at, one after the other: the same groups for the same table."""
    size = -(-len(chunks) // MOST_GROUPS)
    return [tuple(chunks[start : start + size]) for start in range(0, len(chunks), size)]


class _OnePass(beam.PTransform[beam.Pipeline, Any]):
    def __init__(self, job: Analyze) -> None:
        super().__init__()
        self.analysis, self.groups = job.analysis, groups_of(job.chunks)

    def expand(self, pipeline: beam.Pipeline) -> Any:
        return (
            pipeline
            | "Groups" >> beam.Create(self.groups)
            | "Spread" >> beam.Reshuffle()
            | "Analyze" >> beam.CombineGlobally(AnalyzeChunks(self.analysis))
            | "Write" >> beam.Map(_write_graph, self.analysis)
        )


class AnalyzeChunks(beam.CombineFn):
    """Feeds every analyzer with the chunks.

    States are merged at the end, in the chunks' order: sums of floats and sketches of quantiles come out otherwise in
    another order, and workers finish in any.
    """

    def __init__(self, analysis: Analysis) -> None:
        super().__init__()
        self._analysis = analysis

    def create_accumulator(self) -> dict[int, States]:
        """Nothing seen yet."""
        return {}

    def add_input(self, accumulator: dict[int, States], group: ChunkGroup) -> dict[int, States]:
        """Reads the chunks of a group and looks at them, batch by batch."""
        analyzers = _analyzers(self._analysis)
        states = analyzers.begin()
        for chunk in group:
            for batch, describe in _read(chunk, self._analysis):
                with capture.capturing(self._analysis.output, describe):
                    states = analyzers.add(states, feature_tensors.arrays(batch, self._analysis.features))
        return {**accumulator, group[0].number: states}

    def merge_accumulators(self, accumulators: Iterable[dict[int, States]]) -> dict[int, States]:
        """All groups' states, not merged yet."""
        return {number: states for accumulator in accumulators for number, states in accumulator.items()}

    def extract_output(self, accumulator: dict[int, States]) -> States:
        """What the analyzers have seen of all rows."""
        analyzers = _analyzers(self._analysis)
        return analyzers.merge([states for _, states in sorted(accumulator.items())] or [analyzers.begin()])


def _analyzers(analysis: Analysis) -> Analyzers:
    with _kept_errors():
        found = analyzers_of(analysis.preprocessing, analysis.features)
    assert found is not None  # the job was made so because there are some
    return found


def _write_graph(states: States, analysis: Analysis) -> str:
    """Puts the analyzers' answers into the graph and writes it, where TensorFlow Transform would."""
    with local_folders.writing(analysis.written) as output:
        folder = f"{output}/.analysis/{uuid.uuid4().hex}"  # an attempt's own
        os.makedirs(folder)
        written = os.path.join(folder, "transform_fn")
        _write_attempt(states, analysis, folder, written)
        canonicalize(written, folder)
        metadata = os.path.join(written, impl_helper.METADATA_DIR_NAME)
        for made, name in ((metadata, "TRANSFORMED_METADATA_DIR"), (written, "TRANSFORM_FN_DIR")):
            inner = getattr(tft.TFTransformOutput, name)
            shutil.rmtree(os.path.join(output, inner), ignore_errors=True)  # of an attempt that was repeated
            os.rename(made, os.path.join(output, inner))
            io_lineage.writes(os.path.join(analysis.output, inner))
        shutil.rmtree(folder)
    return analysis.output


def _write_attempt(states: States, analysis: Analysis, folder: str, written: str) -> None:
    analyzers = _analyzers(analysis)
    with _kept_errors():
        impl_helper.trace_and_write_v2_saved_model(
            written,
            analysis.preprocessing,
            analyzers.specs,
            folder,
            analyzers.fingerprint,
            analyzers.replacements(states, folder),
            {},
            None,
        )
    if analyzers.assets:
        metadata = os.path.join(written, impl_helper.METADATA_DIR_NAME)
        with open(os.path.join(metadata, tft.TFTransformOutput.ASSET_MAP), "w", encoding="utf-8") as stream:
            stream.write(json.dumps(analyzers.assets))


@contextmanager
def _kept_errors() -> Iterator[None]:
    """Around work in a worker: the user's errors survive the thread."""
    try:
        yield
    except BraidError as error:
        raise progress.failed(error) from None


class _Passes(beam.PTransform[beam.Pipeline, Any]):
    def __init__(self, job: Analyze) -> None:
        super().__init__()
        self.analysis, self.chunks = job.analysis, job.chunks

    def expand(self, pipeline: beam.Pipeline) -> Any:
        record_batch_coder.register()
        analysis = self.analysis
        batches = (
            pipeline
            | "Chunks" >> beam.Create(list(enumerate(self.chunks)))
            # By number, not at random: the same chunks meet in the same order in every run.
            | "Spread" >> beam.GroupByKey()
            | "Read" >> beam.FlatMap(_listed_batches, analysis).with_output_types(pa.RecordBatch)
        )
        with tft_beam.Context(temp_dir=analysis.temporary, force_tf_compat_v1=False):
            analyze = tft_beam.AnalyzeDataset(analysis.preprocessing)  # type: ignore[no-untyped-call]
            transform_fn = (batches, adapter_config(analysis.features)) | "Analyze" >> analyze
            write = transform_fn_io.WriteTransformFn(analysis.written)  # type: ignore[no-untyped-call]
            return transform_fn | "Write" >> write


def _listed_batches(numbered: tuple[int, Iterable[Chunk]], analysis: Analysis) -> Iterator[pa.RecordBatch]:
    for chunk in numbered[1]:
        for batch, describe in _read(chunk, analysis):
            with capture.capturing(analysis.output, describe):
                listed = feature_tensors.listed(batch, analysis.features)
            yield listed


def _read(chunk: Chunk, analysis: Analysis) -> Iterator[tuple[pa.RecordBatch, Callable[..., Any]]]:
    """The batches of a chunk, and for each what describes it when it fails."""
    io_lineage.reads(chunk.path)
    rows = 0
    with _kept_errors():
        for batch in read_chunk(chunk, analysis.names, BATCH_ROWS):
            yield batch, functools.partial(capture.batch_of_job, JOB, batch, chunk, rows)
            rows += batch.num_rows
            progress.advance(JOB, Progress(read=batch.num_rows))
    progress.advance(JOB, Progress(chunks=1))


def adapter_config(features: Sequence[Feature]) -> TensorAdapterConfig:
    """How list columns become the tensors of `feature_tensors`."""
    return TensorAdapterConfig(
        feature_tensors.listed_schema(features), {feature.name: _representation(feature) for feature in features}
    )


def _representation(feature: Feature) -> Any:
    dense = schema_pb2.TensorRepresentation.DenseTensor(column_name=feature.name, shape=schema_pb2.FixedShape())
    return schema_pb2.TensorRepresentation(dense_tensor=dense)
