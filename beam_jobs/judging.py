"""Judging models on labelled rows: one Beam job, all models on the same rows, statistics a slice.

A chunk of the examples is read, scored and counted by one fused function; what leaves it is its statistics, which
merge in any order. Which values of the slice columns are frequent enough for a slice is counted first.
"""

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs import capture, failures, io_lineage, metrics, progress, storage
from beam_jobs.chunks import Chunk, chunks_of, read_chunk
from beam_jobs.errors import BraidError, DataError, listed, nearest
from beam_jobs.judgement import CHAMPION, Question, SliceKey, Tallies, Tally, merge_tallies, report
from beam_jobs.metric_statistics import (
    OVERALL_BINS,
    SLICE_BINS,
    Rows,
    SliceStatistics,
    binary_statistics,
    multiclass_statistics,
    regression_statistics,
)
from beam_jobs.progress import Progress
from beam_jobs.score_histogram import Floats, Ints
from beam_jobs.slicing import Columns, Slices, ValueCounts, Values, add_counts, check_slices, count_values
from beam_jobs.table import ROW, ROW_GROUP_ROWS, Table

MOST_CHUNKS = 256
"""About how many chunks a large table is cut into: a job that counts sends each one's counts on."""


class Predictor(Protocol):
    """A model as a worker uses it; `components.scoring.Scorer` is one."""

    def predict(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """(rows,): probability of the positive class, or value; or (rows, classes): probabilities."""

    def labels(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """(rows,): the class's code, or the value; NaN where there is none to judge by."""


@dataclass(frozen=True)
class Judging:
    """One job.

    Attributes:
      models: what loads each model in a worker, picklable: candidates by name, whose first one's labels count, and
        perhaps `CHAMPION`.
      columns: what the models read, the label included.
      slices: the columns, and crosses of columns, to slice by.
      output: where the candidates' reports are written, see `judgement`.
    """

    job: str
    question: Question
    models: Mapping[str, Callable[[], Predictor]]
    columns: tuple[str, ...]
    slices: tuple[Columns, ...]
    output: str

    @property
    def candidates(self) -> tuple[str, ...]:
        """Their names, in the order given."""
        return tuple(name for name in self.models if name != CHAMPION)

    @property
    def slice_columns(self) -> tuple[str, ...]:
        """Every column that is sliced by."""
        return tuple(dict.fromkeys(name for columns in self.slices for name in columns))


def judge_batch(
    batch: pa.RecordBatch, split: str, judging: Judging, predictors: Mapping[str, Predictor], slices: Slices
) -> Tallies:
    """Scores a batch and counts it.

    Args:
      batch: `judging.columns`, the slices' columns and `_row`.

    Raises:
      DataError: a label or a prediction is not what the task allows.
    """
    labelled, labels, predictions = predict(batch, judging, predictors)
    replicates = judging.question.intervals.replicates(batch.column(ROW).to_numpy()[labelled])
    tallies: dict[SliceKey, Tally] = {}
    for columns in ((), *judging.slices):
        names, numbers = slices.names(columns), slices.numbers(batch, columns)
        bins = SLICE_BINS if columns else OVERALL_BINS
        counted = {
            name: _statistics(
                judging.question.task, Rows(labels, predicted, replicates, numbers[labelled], len(names), bins)
            )
            for name, predicted in predictions.items()
        }
        tallies.update(_tallies(split, columns, names, numbers[~labelled], counted))
    return tallies


def predict(
    batch: pa.RecordBatch, judging: Judging, predictors: Mapping[str, Predictor]
) -> tuple[npt.NDArray[np.bool_], Floats, dict[str, npt.NDArray[np.float32]]]:
    """Which rows are labelled: (rows,); and of these the labels and each model's predictions.

    Raises:
      DataError: a label or a prediction is not what the task allows.
    """
    labels = _checked_labels(predictors[judging.candidates[0]].labels(batch), judging.question)
    labelled = ~np.isnan(labels)
    known = batch if labelled.all() else batch.filter(pa.array(labelled))
    predictions = {
        name: _checked_predictions(np.asarray(predictor.predict(known)), known.num_rows, name, judging.question)
        for name, predictor in predictors.items()
    }
    return labelled, labels[labelled], predictions


def _tallies(
    split: str,
    columns: Columns,
    names: Sequence[Values],
    unlabelled: Ints,
    counted: Mapping[str, Sequence[SliceStatistics]],
) -> Tallies:
    without = np.bincount(unlabelled, minlength=len(names)).tolist()
    every = {
        SliceKey(split, columns, values): Tally(without[n], {model: each[n] for model, each in counted.items()})
        for n, values in enumerate(names)
    }
    return {key: tally for key, tally in every.items() if tally.unlabelled or tally.rows}


def _statistics(task: str, rows: Rows) -> Sequence[SliceStatistics]:
    if task == metrics.BINARY:
        return binary_statistics(rows)
    return multiclass_statistics(rows) if task == metrics.MULTICLASS else regression_statistics(rows)


def _checked_labels(labels: npt.NDArray[np.float32], question: Question) -> Floats:
    known = labels[~np.isnan(labels)].astype(np.float64)
    if question.task == metrics.REGRESSION:
        wrong = known[~np.isfinite(known)]
    else:
        wrong = known[~np.isin(known, np.arange(len(question.classes)))]
    if len(wrong):
        raise DataError(
            f"Label '{question.label}' is {wrong[0]:g} in {len(wrong):,} rows of one batch, "
            f"which a {question.task} model cannot be judged on.",
            f"Its classes: {listed(question.classes)}." if question.classes else "Leave such rows out in the query.",
        )
    return labels.astype(np.float64)


def _checked_predictions(
    predictions: npt.NDArray[np.float32], rows: int, model: str, question: Question
) -> npt.NDArray[np.float32]:
    shape = (rows, len(question.classes)) if question.task == metrics.MULTICLASS else (rows,)
    if predictions.shape != shape:
        raise DataError(
            f"The model '{model}' predicts an array of shape {predictions.shape} where {shape} is expected."
        )
    free = question.task == metrics.REGRESSION
    fine = np.isfinite(predictions) if free else (predictions >= 0) & (predictions <= 1)
    if not fine.all():
        wrong, what = predictions[~fine], "a finite number" if free else "a probability"
        raise DataError(
            f"The model '{model}' predicts {wrong.flat[0]:g} where {what} is expected ({wrong.size:,} times)."
        )
    return predictions


@contextmanager
def kept_errors() -> Iterator[None]:
    """Around work in a worker: the user's errors survive the thread."""
    try:
        yield
    except BraidError as error:
        raise progress.failed(error) from None


class JudgeExamples(beam.PTransform[beam.Pipeline, beam.PCollection[str]]):
    """Judges the models on a table's splits, writes the candidates' reports, and yields where they are.

    Raises:
      DataError: on construction, when splits, columns or slice columns are not in the table.
    """

    def __init__(self, table: Table, judging: Judging) -> None:
        super().__init__()
        check_columns(table.schema, judging.columns)
        check_slices(table.schema, judging.slice_columns)
        check_splits(table, judging.question.splits)
        self.chunks = judged_chunks(table, judging.question.splits)
        self.judging = judging

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[str]:
        """Counts the slices' values, then the statistics."""
        slices = beam.pvalue.AsSingleton(pipeline | "FindSlices" >> FindSlices(self.chunks, self.judging.slices))
        return (
            pipeline
            | "Chunks" >> beam.Create(self.chunks)
            | "Spread" >> beam.Reshuffle()
            | "Judge" >> beam.ParDo(_JudgeChunk(self.judging), slices)
            | "Merge" >> beam.CombineGlobally(_MergeTallies())
            | "Report" >> beam.Map(_write_reports, slices, self.judging)
        )


def judged_chunks(table: Table, splits: Sequence[str]) -> list[Chunk]:
    """What the splits are cut into."""
    rows = sum(table.splits[split] for split in splits)
    return chunks_of(table, max(ROW_GROUP_ROWS, rows // MOST_CHUNKS), splits)


def check_splits(table: Table, splits: Sequence[str]) -> None:
    """Refuses splits without rows.

    Raises:
      DataError: names the first one.
    """
    for split in splits:
        if not table.splits.get(split):
            raise DataError(
                f"The examples have no row in split '{split}'.{nearest(split, table.splits)}",
                f"Their splits: {listed(f'{name} ({rows:,} rows)' for name, rows in table.splits.items())}.",
            )


def check_columns(schema: pa.Schema, columns: Sequence[str]) -> None:
    """Refuses a table that lacks a column which a model reads.

    Raises:
      DataError: names the first one.
    """
    for name in columns:
        if name not in schema.names:
            raise DataError(
                f"The examples have no column '{name}', which the model reads.{nearest(name, schema.names)}",
                f"They have: {listed(schema.names)}. Prepare them as for training, or train again.",
            )


class FindSlices(beam.PTransform[beam.Pipeline, beam.PCollection[Slices]]):
    """The slices' values from a first pass that reads the slice columns alone."""

    def __init__(self, chunks: list[Chunk], slices: Sequence[Columns]) -> None:
        super().__init__()
        self.chunks, self.slices = chunks, tuple(slices)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Slices]:
        """Counts by chunk, and chooses."""
        if not self.slices:
            return pipeline | "None" >> beam.Create([Slices({}, {})])
        return (
            pipeline
            | "Chunks" >> beam.Create(self.chunks)
            | "Spread" >> beam.Reshuffle()
            | "Count" >> beam.Map(_count_chunk, self.slices)
            | "Merge" >> beam.CombineGlobally(_add_counts)
            | "Choose" >> beam.Map(Slices.most_frequent)
        )


def _count_chunk(chunk: Chunk, slices: Sequence[Columns]) -> ValueCounts:
    columns = list(dict.fromkeys(name for each in slices for name in each))
    with kept_errors():
        return add_counts(count_values(batch, slices) for batch in read_chunk(chunk, columns))


def _add_counts(parts: Iterable[ValueCounts]) -> ValueCounts:
    with kept_errors():
        return add_counts(parts)


class WithPredictors(beam.DoFn):
    """A function of a chunk that has the job's models, loaded once a worker."""

    def __init__(self, judging: Judging) -> None:
        self.judging = judging
        self.predictors: dict[str, Predictor] = {}

    def setup(self) -> None:
        """Loads the models."""
        with kept_errors():
            self.predictors = {name: load() for name, load in self.judging.models.items()}


class _JudgeChunk(WithPredictors):
    """Reads, scores and counts a chunk."""

    def process(self, chunk: Chunk, slices: Slices) -> Iterator[Tallies]:
        with kept_errors():
            tallies, rows = self._judge(chunk, slices)
        progress.advance(self.judging.job, Progress(read=rows, chunks=1))
        yield tallies

    def _judge(self, chunk: Chunk, slices: Slices) -> tuple[Tallies, int]:
        io_lineage.reads(chunk.path)
        tallies: Tallies = {}
        rows = 0
        columns = dict.fromkeys((*self.judging.columns, *self.judging.slice_columns, ROW))
        for batch in read_chunk(chunk, list(columns)):
            describe = functools.partial(capture.batch_of_job, self.judging.job, batch, chunk, rows)
            with capture.capturing(os.path.dirname(self.judging.output), describe):
                judged = judge_batch(batch, chunk.split, self.judging, self.predictors, slices)
            tallies = merge_tallies([tallies, judged])
            rows += batch.num_rows
        return tallies, rows


class _MergeTallies(beam.CombineFn):
    """Merges at once: of a plain function Beam would keep ten inputs a worker waiting."""

    def create_accumulator(self) -> Tallies:
        return {}

    def add_input(self, accumulator: Tallies, element: Tallies) -> Tallies:
        return merge_tallies([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[Tallies]) -> Tallies:
        return merge_tallies(accumulators)

    def extract_output(self, accumulator: Tallies) -> Tallies:
        return accumulator


def _write_reports(tallies: Tallies, slices: Slices, judging: Judging) -> str:
    with kept_errors():
        found = {name: report(tallies, slices, judging.question, name) for name in judging.candidates}
    failures.discard(os.path.dirname(judging.output))  # attempts of a job that ends well
    storage.write_text(judging.output, json.dumps(found, indent=1, allow_nan=False))
    io_lineage.writes(judging.output)
    return judging.output


def read_reports(path: str) -> dict[str, dict[str, Any]]:
    """The reports that `JudgeExamples` wrote, by candidate."""
    found: dict[str, dict[str, Any]] = json.loads(storage.read_text(path))
    return found
