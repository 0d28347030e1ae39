"""Judging by tensorflow-model-analysis (TFMA) itself: Braid's models predict, TFMA counts, and its results become reports.

TFMA reads Arrow batches of list columns: the label, each model's predictions, and the slice columns' values as Braid
names them. It tells no intervals here, and some metrics not at all.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.options.pipeline_options import DirectOptions

from beam_jobs import io_lineage, progress, storage
from beam_jobs.chunks import Chunk, read_chunk
from beam_jobs.errors import listed
from beam_jobs.judgement import CHAMPION, Gap, nothing_judged
from beam_jobs.judging import (
    FindSlices,
    Judging,
    WithPredictors,
    check_columns,
    check_splits,
    judged_chunks,
    kept_errors,
    predict,
)
from beam_jobs.metrics import BINARY, METRICS, MULTICLASS, REGRESSION
from beam_jobs.progress import Progress
from beam_jobs.slicing import Columns, Slices, Values, check_slices
from beam_jobs.table import ROW, Table
from components import local_folders, record_batch_coder
from components.errors import StepError
from components.evaluator import tfma_config
from components.evaluator.checks import Figures
from components.evaluator.rules import Rules
from components.evaluator.tfma_config import EXAMPLE_COUNT, TFMA_METRICS_OF
from components.evaluator.tfma_results import folder_of
from components.listed_columns import listed_column

LABEL, PREDICTION = "braid_label", "braid_prediction_"
UNTOLD = {BINARY: ("calibration_error",), MULTICLASS: ("macro_f1", "calibration_error"), REGRESSION: ("r2",)}
"""Metrics of Braid's that TFMA does not compute."""
NO_INTERVAL = "TFMA tells no interval"


def check(rules: Rules, task: str) -> None:
    """Refuses rules that hang on a metric which TFMA does not compute.

    Raises:
      StepError: names the metric.
    """
    ranked = [("champion", rules.champion_metric(task).name)] if rules.champion else []
    fair = [("fairness", gap.metric) for gap in rules.gaps(task)]
    for where, name in [*((where, name) for where, name, _ in rules.bounds()), *ranked, *fair]:
        if name in UNTOLD[task]:
            told = [metric.name for metric in METRICS[task] if metric.name not in UNTOLD[task]]
            raise StepError(
                f"The evaluator: {where}: TFMA does not compute '{name}'.",
                f"Judge with `engine: braid`, or by one of: {listed(told)}.",
            )


def take_one_worker(pipeline: beam.Pipeline) -> None:
    """Keeps a pipeline on this machine to one worker; TFMA's work holds the interpreter's lock anyway.

    With several threads Beam's local runner has been seen to decode TFMA's data with the coder of another stage.
    """
    options = pipeline.options.view_as(DirectOptions)
    options.direct_running_mode, options.direct_num_workers = "in_memory", 1


class JudgeWithTfma(beam.PTransform[beam.Pipeline, list[Any]]):
    """Judges the models on a table's splits with TFMA, which writes its results below `root`.

    Raises:
      DataError: on construction, when splits, columns or slice columns are not in the table.
    """

    def __init__(self, table: Table, judging: Judging, root: str, decide_on: str) -> None:
        super().__init__()
        check_columns(table.schema, judging.columns)
        check_slices(table.schema, judging.slice_columns)
        check_splits(table, judging.question.splits)
        self.chunks = judged_chunks(table, judging.question.splits)
        self.judging, self.root, self.decide_on = judging, root, decide_on

    def expand(self, pipeline: beam.Pipeline) -> list[Any]:
        """Each split is an evaluation of its own."""
        from tensorflow_model_analysis.api import model_eval_lib

        record_batch_coder.register()
        columns = [(name,) for name in self.judging.slice_columns]
        slices = beam.pvalue.AsSingleton(pipeline | "FindSlices" >> FindSlices(self.chunks, columns))
        predictions = {model: _prediction(model) for model in self.judging.models}
        return [
            pipeline
            | f"Chunks-{split}" >> beam.Create([chunk for chunk in self.chunks if chunk.split == split])
            | f"Spread-{split}" >> beam.Reshuffle()
            | f"Predict-{split}" >> beam.ParDo(_PredictChunk(self.judging), slices).with_output_types(pa.RecordBatch)
            | f"Evaluate-{split}"
            >> model_eval_lib.ExtractEvaluateAndWriteResults(
                eval_config=tfma_config.eval_config(self.judging, LABEL, predictions),
                output_path=folder_of(self.root, split, self.decide_on),
            )
            for split in self.judging.question.splits
        ]


def _prediction(model: str) -> str:
    return f"{PREDICTION}{model}"


class _PredictChunk(WithPredictors):
    """Reads a chunk and scores it."""

    def process(self, chunk: Chunk, slices: Slices) -> Iterator[pa.RecordBatch]:
        io_lineage.reads(chunk.path)
        rows = 0
        for batch in read_chunk(chunk, list(dict.fromkeys((*self.judging.columns, *self.judging.slice_columns, ROW)))):
            rows += batch.num_rows
            with kept_errors():
                made = self._listed(batch, slices)
            if made.num_rows:
                yield made
        progress.advance(self.judging.job, Progress(read=rows, chunks=1))

    def _listed(self, batch: pa.RecordBatch, slices: Slices) -> pa.RecordBatch:
        labelled, labels, predictions = predict(batch, self.judging, self.predictors)
        columns = {LABEL: listed_column(pa.array(labels.astype(np.float32)))}
        columns |= {_prediction(model): _listed_predictions(each) for model, each in predictions.items()}
        for name in self.judging.slice_columns:
            values = np.array([value for (value,) in slices.names((name,))])
            columns[name] = listed_column(pa.array(values[slices.numbers(batch, (name,))[labelled]]))
        return pa.RecordBatch.from_pydict(columns)


def _listed_predictions(predictions: npt.NDArray[np.float32]) -> pa.Array:
    """(rows,) or (rows, classes) as lists of one or of a value a class."""
    size = predictions.shape[1] if predictions.ndim > 1 else 1
    offsets = np.arange(len(predictions) + 1, dtype=np.int64) * size
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(predictions).ravel()))


_Told = dict[tuple[str, str], float]
"""Of a slice: by model and metric, the value."""


def report(table: Table, judging: Judging, root: str, rules: Rules) -> None:
    """Turns TFMA's results into the candidates' reports (see `beam_jobs.judgement`), where `JudgeExamples` writes its own.

    Raises:
      StepError: TFMA told nothing, or not of every model.
      DataError: a split has no labelled row.
    """
    found = {split: _read(folder_of(root, split, rules.decide_on)) for split in judging.question.splits}
    for split, slices in found.items():
        if ((), ()) not in slices:
            raise nothing_judged(split, judging.question.label, table.splits[split])
    reports = {candidate: _report(table, judging, found, candidate) for candidate in judging.candidates}
    storage.write_text(judging.output, json.dumps(reports, indent=1, allow_nan=False))
    io_lineage.writes(judging.output)


def _read(folder: str) -> dict[tuple[Columns, Values], _Told]:
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as stored

    slices: dict[tuple[Columns, Values], _Told] = {}
    with local_folders.reading(folder) as local:
        found = list(stored.load_and_deserialize_metrics(local))
    for sliced in found:
        keys = sliced.slice_key.single_slice_keys
        slice_key = tuple(key.column for key in keys), tuple(key.bytes_value.decode() for key in keys)
        told: _Told = {}
        for one in sliced.metric_keys_and_values:
            if not one.key.is_diff and not one.key.HasField("sub_key"):
                told[one.key.model_name, one.key.name] = one.value.double_value.value
        if not told:
            reasons = "; ".join(value.debug_message for value in sliced.metrics.values())
            raise StepError(
                f"TFMA computed no metric of the slice {slice_key}. {reasons}", "Judge with `engine: braid`."
            )
        slices[slice_key] = told
    return slices


def _report(
    table: Table, judging: Judging, found: Mapping[str, Mapping[tuple[Columns, Values], _Told]], candidate: str
) -> Figures:
    question = judging.question
    splits: Figures = {}
    for split, slices in found.items():
        nodes = {slice_key: _node(told, judging, candidate) for slice_key, told in slices.items()}
        overall = nodes[(), ()]
        splits[split] = {"overall": {**overall, "unlabelled": table.splits[split] - overall["rows"]}}
        splits[split] |= {"slices": {}}
        for columns in judging.slices:
            _add_slices(splits[split], columns, nodes)
        if question.gaps:
            splits[split]["fairness"] = [
                _gap(gap, _of_columns(gap.columns, nodes), question.fewest_rows) for gap in question.gaps
            ]
    note = "Judged by TFMA, without intervals"
    note += "; pr_auc is its auc_precision_recall, which interpolates." if question.task == BINARY else "."
    return {
        "task": question.task,
        "label": question.label,
        "classes": list(question.classes),
        "splits": splits,
        "notes": [note],
    }


def _of_columns(columns: Columns, nodes: Mapping[tuple[Columns, Values], Figures]) -> dict[Values, Figures]:
    """The slices by a column or a cross, most rows first; TFMA keeps columns in the order of their names."""
    places = [sorted(columns).index(name) for name in columns]
    found = {
        tuple(values[place] for place in places): node
        for (names, values), node in nodes.items()
        if names == tuple(sorted(columns))
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1]["rows"], item[0])))


def _add_slices(split: Figures, columns: Columns, nodes: Mapping[tuple[Columns, Values], Figures]) -> None:
    found = _of_columns(columns, nodes)
    if len(columns) == 1:
        split["slices"][columns[0]] = {values[0]: node for values, node in found.items()}
    else:
        crossed = [{"values": list(values), **node} for values, node in found.items()]
        split.setdefault("crosses", []).append({"columns": list(columns), "slices": crossed})


def _node(told: _Told, judging: Judging, candidate: str) -> Figures:
    names, task = tfma_config.model_names(judging.models), judging.question.task
    missing = [model for model, name in names.items() if (name, EXAMPLE_COUNT) not in told]
    if missing:
        raise StepError(f"TFMA computed no metric of the models {listed(missing)}.", "Judge with `engine: braid`.")
    ours = _values(told, names[candidate], task)
    node: Figures = {"rows": round(told[names[candidate], EXAMPLE_COUNT]), "unlabelled": None, **_figures(ours, task)}
    if CHAMPION in judging.models:
        theirs = _values(told, names[CHAMPION], task)
        node["champion"] = _figures(theirs, task)
        node["difference"] = _figures({name: ours[name] - theirs[name] for name in ours}, task)
    return node


def _values(told: _Told, model: str, task: str) -> dict[str, float]:
    """Braid's metrics, NaN where TFMA tells none."""
    values = {metric.figure: told[model, metric.name] for metric in TFMA_METRICS_OF[task]}
    if task == BINARY:
        values["pr_auc"] = values["auc_precision_recall"]
    if task == REGRESSION:
        values["rmse"] = math.sqrt(values["mean_squared_error"])
        values["mean_error"] = values["mean_prediction"] - values["mean_label"]
    return {metric.name: values.get(metric.name, math.nan) for metric in METRICS[task]}


def _figures(values: Mapping[str, float], task: str) -> Figures:
    return {
        name: _figure(value, "TFMA does not compute it" if name in UNTOLD[task] else "")
        for name, value in values.items()
    }


def _figure(value: float, untold: str = "") -> Figures:
    without = {"low": None, "high": None, "no_interval": NO_INTERVAL}
    if math.isfinite(value):
        return {"value": float(f"{value:.12g}"), **without}
    return {"value": None, **without, "reason": untold or "TFMA gives no number, as where a class has no row"}


def _gap(gap: Gap, nodes: Mapping[Values, Figures], fewest_rows: int) -> Figures:
    told = {
        values: node[gap.metric]["value"]
        for values, node in nodes.items()
        if node["rows"] >= fewest_rows and node[gap.metric]["value"] is not None
    }
    found: Figures = {"columns": list(gap.columns), "metric": gap.metric}
    counts = {"slices": len(told), "left_out": len(nodes) - len(told)}
    if len(told) < 2:
        return {**found, "gap": {"value": None, "low": None, "high": None}, **counts}
    highest, lowest = (pick(sorted(told), key=lambda values: told[values]) for pick in (max, min))
    ends = {
        end: {"values": list(values), "value": told[values]}
        for end, values in (("highest", highest), ("lowest", lowest))
    }
    return {**found, "gap": _figure(told[highest] - told[lowest]), **ends, **counts}
