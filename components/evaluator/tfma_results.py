"""Writes a judging job's reports as TFMA writes its own, so that `tfma.load_eval_result(folder)` and its views open them.

folder/eval_config.json, metrics-00000-of-00001.tfrecord, validations.tfrecord     of the deciding split
folder/Split-eval/eval_config.json, metrics-00000-of-00001.tfrecord                of each other one
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_jobs import storage
from beam_jobs.judgement import CHAMPION
from beam_jobs.judging import Judging
from beam_jobs.slicing import Columns, Values
from components.evaluator import tfma_config
from components.evaluator.checks import Figures
from components.evaluator.tfma_config import EXAMPLE_COUNT, TFMA_METRICS_OF, TfmaMetric

METRICS_FILE, VALIDATIONS_FILE, CONFIG_FILE = (
    "metrics-00000-of-00001.tfrecord",
    "validations.tfrecord",
    "eval_config.json",
)


def folder_of(root: str, split: str, decide_on: str) -> str:
    """Where the results on a split lie."""
    return root.rstrip("/") if split == decide_on else f"{root.rstrip('/')}/Split-{split}"


def write(root: str, judging: Judging, reports: Mapping[str, Figures], decide_on: str, blessed: bool) -> None:
    """Writes the results on every split.

    Args:
      reports: by candidate; what TFMA tells besides must be in them.
      blessed: what TFMA calls valid.
    """
    from tensorflow_model_analysis.proto import validation_result_pb2

    for split in judging.question.splits:
        folder = folder_of(root, split, decide_on)
        sliced = [_slice(judging, slice_key, nodes) for slice_key, nodes in _slices(split, reports)]
        _write_records(f"{folder}/{METRICS_FILE}", sliced)
        storage.write_text(f"{folder}/{CONFIG_FILE}", _run(judging, split))
    valid = validation_result_pb2.ValidationResult(validation_ok=blessed)
    _write_records(f"{folder_of(root, decide_on, decide_on)}/{VALIDATIONS_FILE}", [valid])


def _run(judging: Judging, split: str) -> str:
    from google.protobuf import json_format
    from tensorflow_model_analysis import version
    from tensorflow_model_analysis.proto import config_pb2

    config = tfma_config.with_intervals(tfma_config.eval_config(judging, judging.question.label, {}), judging)
    run = config_pb2.EvalRun(eval_config=config, version=version.VERSION, data_location=split, file_format="parquet")
    for name in tfma_config.model_names(judging.models).values():
        run.model_locations[name] = name
    return str(json_format.MessageToJson(run, sort_keys=True))


def _slices(split: str, reports: Mapping[str, Figures]) -> Iterator[tuple[tuple[Columns, Values], dict[str, Figures]]]:
    """Each slice with the candidates' figures."""
    found = {name: report["splits"][split] for name, report in reports.items()}
    first = next(iter(found.values()))
    yield ((), ()), {name: each["overall"] for name, each in found.items()}
    for column, values in first["slices"].items():
        for value in values:
            yield ((column,), (value,)), {name: each["slices"][column][value] for name, each in found.items()}
    for number, cross in enumerate(first.get("crosses", ())):
        for place, node in enumerate(cross["slices"]):
            nodes = {name: each["crosses"][number]["slices"][place] for name, each in found.items()}
            yield (tuple(cross["columns"]), tuple(node["values"])), nodes


def _slice(judging: Judging, slice_key: tuple[Columns, Values], nodes: Mapping[str, Figures]) -> Any:
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2

    made = metrics_for_slice_pb2.MetricsForSlice()
    made.slice_key.SetInParent()
    for column, value in sorted(zip(*slice_key, strict=True)):  # TFMA's order
        made.slice_key.single_slice_keys.add(column=column, bytes_value=value.encode())
    names = tfma_config.model_names(judging.models)
    for candidate, node in nodes.items():
        _add_figures(made, judging, names[candidate], node, "")
        if CHAMPION in judging.models:
            _add_figures(made, judging, names[candidate], node, "difference")
    if CHAMPION in judging.models:
        _add_figures(made, judging, names[CHAMPION], next(iter(nodes.values())), "champion")
    return made


def _add_figures(made: Any, judging: Judging, model: str, node: Figures, section: str) -> None:
    """Adds the figures of a model or, where the section is that, of its difference from the champion."""
    beside = node.get("tfma", {})
    told = {**(node[section] if section else node), **(beside.get(section, {}) if section else beside)}
    rows = 0 if section == "difference" else node["rows"]
    _add(made, TfmaMetric(EXAMPLE_COUNT, "", ""), model, section, {"value": rows, "low": None, "high": None})
    for metric in TFMA_METRICS_OF[judging.question.task]:
        _add(made, metric, model, section, told[metric.figure])


def _add(made: Any, metric: TfmaMetric, model: str, section: str, figure: Figures) -> None:
    added = made.metric_keys_and_values.add()
    added.key.name, added.key.model_name = metric.name, model
    added.key.example_weighted.SetInParent()
    added.key.is_diff = section == "difference"
    if metric.macro:
        added.key.aggregation_type.macro_average = True
    added.value.double_value.value = float("nan") if figure["value"] is None else figure["value"]
    if figure["low"] is not None:
        added.confidence_interval.lower_bound.double_value.value = figure["low"]
        added.confidence_interval.upper_bound.double_value.value = figure["high"]


def _write_records(path: str, messages: Sequence[Any]) -> None:
    """Messages as a file of TFRecords, wherever it lies."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "records")
        with tf.io.TFRecordWriter(local) as writer:
            for message in messages:
                writer.write(message.SerializeToString(deterministic=True))
        with open(local, "rb") as written, storage.open_output(path) as output:
            output.write(written.read())
