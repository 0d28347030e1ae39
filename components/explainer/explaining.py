"""Explains a model's predictions for a sample of rows: what each feature adds to the margin."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.table import ROW, Table
from beam_jobs.whole_files import write_rows
from components import encoding
from components.errors import StepError
from components.explainer.sampling import sample
from components.explanations import CONTRIBUTION, EXPLANATIONS, VALUE, Effect, FeatureEffect, Summary
from components.model_contract import ClassValue, Feature, ModelContract
from components.scoring import Scorer, load_scorer

MOST_CELLS = 5_000_000
"""Contributions of one artifact: rows times classes times features."""
BATCH_ROWS = 1_000
_DIGITS = 9
"""Significant digits of a summary's figures; fewer than a float's, so that the machine does not show."""


@dataclass(frozen=True)
class ExplanationConfig:
    """What is explained.

    Attributes:
      rows: the most rows.
      split: the split that they are drawn from.
      seed: another seed draws other rows.
      threads: the model's library's; 0 for every core. The result is the same.
    """

    rows: int = 1_000
    split: str = "test"
    seed: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Explained:
    """A sample of rows with their explanations.

    Attributes:
      predictions: shape (rows, outputs), an output being a class or a regression's value.
      contributions: shape (rows, outputs, features + 1); the last is the bias.
    """

    rows: pa.Table
    predictions: npt.NDArray[np.float32]
    contributions: npt.NDArray[np.float32]


def explain(table: Table, model_uri: str, config: ExplanationConfig, output_uri: str) -> Summary:
    """Writes the explanations of a model's predictions, see `components.explanations`.

    Args:
      table: the examples.
      model_uri: the model's folder.
      output_uri: the artifact's folder.

    Raises:
      StepError: the model is not Braid's, or the examples are not what it reads.
    """
    if config.rows < 1:
        raise StepError(f"Explainer: rows must be at least 1, not {config.rows}.")
    scorer = load_scorer(model_uri, config.threads or os.cpu_count() or 1)
    contract = scorer.contract
    most, notes = _most_rows(contract, config.rows)
    labelled = contract.label in table.schema.names
    drawn = sample(table, config.split, contract.columns if labelled else contract.names, most, config.seed)
    of_rows = table.splits.get(config.split, 0)
    if not of_rows:
        notes.append(f"The split '{config.split}' has no rows: nothing is explained.")
    explained = _explained(scorer, drawn, notes)
    write_rows(f"{output_uri.rstrip('/')}/{EXPLANATIONS}", _as_table(explained, contract).to_reader())
    summary = Summary(
        task=contract.task,
        family=contract.family,
        label=contract.label,
        split=config.split,
        rows=explained.rows.num_rows,
        of_rows=of_rows,
        classes=_outputs(contract),
        bias=tuple(_figure(bias) for bias in _means(explained.contributions[:, :, -1])),
        features=_ranked(explained, contract),
        notes=tuple(notes),
    )
    summary.save(output_uri)
    return summary


def _outputs(contract: ModelContract) -> tuple[ClassValue, ...]:
    """The classes that are explained: all, of two the positive one, of a regression none."""
    return contract.classes[1:] if contract.task == "binary" else contract.classes


def _most_rows(contract: ModelContract, asked: int) -> tuple[int, list[str]]:
    a_row = len(contract.features) * max(1, len(_outputs(contract)))
    most = max(1, MOST_CELLS // max(1, a_row))
    if asked <= most:
        return asked, []
    return most, [f"{most:,} rows are explained, not {asked:,}: each has {a_row:,} contributions."]


def _explained(scorer: Scorer, rows: pa.Table, notes: list[str]) -> Explained:
    """Scores and explains the rows; none, and a note, where the model cannot be explained."""
    contract = scorer.contract
    outputs = max(1, len(_outputs(contract)))
    predictions = np.empty((rows.num_rows, outputs), np.float32)
    contributions = np.empty((rows.num_rows, outputs, len(contract.features) + 1), np.float32)
    passed = 0
    for batch in rows.select(contract.names).combine_chunks().to_batches(BATCH_ROWS):
        place = slice(passed, passed + batch.num_rows)
        predictions[place] = scorer.predict(batch).reshape(batch.num_rows, outputs)
        try:
            contributions[place] = scorer.contributions(batch).reshape(batch.num_rows, outputs, -1)
        except StepError as error:
            # It could read the rows a moment ago: it is the model, not the data; and a model may serve unexplained.
            notes.append(f"Nothing is explained. {error} {error.hint}")
            return Explained(rows.slice(0, 0), predictions[:0], contributions[:0])
        passed += batch.num_rows
    return Explained(rows, predictions, contributions)


def _as_table(explained: Explained, contract: ModelContract) -> pa.Table:
    """A row for each row and output, in that order."""
    rows, outputs = explained.predictions.shape
    repeated = explained.rows.take(pa.array(np.repeat(np.arange(rows), outputs)))
    label = (
        repeated[contract.label] if contract.label in repeated.column_names else pa.nulls(len(repeated), pa.float32())
    )
    flat = explained.contributions.reshape(rows * outputs, explained.contributions.shape[2])
    columns = {
        ROW: repeated[ROW],
        "class": _class_column(contract, rows, label.type),
        "label": label,
        "prediction": pa.array(explained.predictions.reshape(-1)),
        "bias": pa.array(flat[:, -1]),
    }
    for place, name in enumerate(contract.names):
        columns[VALUE + name] = repeated[name]
        columns[CONTRIBUTION + name] = pa.array(flat[:, place])
    return pa.table(columns).combine_chunks()


def _class_column(contract: ModelContract, rows: int, label_type: pa.DataType) -> pa.Array:
    classes = _outputs(contract)
    if not classes:
        return pa.nulls(rows, label_type)
    return pa.array(list(classes) * rows, pa.array(classes).type)


def _ranked(explained: Explained, contract: ModelContract) -> tuple[FeatureEffect, ...]:
    effects = [_feature_effect(explained, contract, place, feature) for place, feature in enumerate(contract.features)]
    return tuple(sorted(effects, key=lambda effect: (-effect.mean_absolute, effect.name)))


def _feature_effect(explained: Explained, contract: ModelContract, place: int, feature: Feature) -> FeatureEffect:
    contributions = explained.contributions[:, :, place].astype(np.float64)
    values = None if feature.kind == "category" else encoding.encode(explained.rows[feature.name], feature)
    sizes, means = _means(np.abs(contributions)), _means(contributions)
    classes = _outputs(contract) or (None,)
    effects = tuple(
        Effect(value, _figure(size), _figure(mean), _correlation(values, contributions[:, output]))
        for output, (value, size, mean) in enumerate(zip(classes, sizes, means, strict=True))
    )
    return FeatureEffect(feature.name, feature.kind, _figure(sum(sizes) / len(sizes)), effects)


def _means(values: npt.NDArray[Any]) -> list[float]:
    """The mean of each column; 0 without rows."""
    return [float(mean) for mean in values.mean(axis=0, dtype=np.float64)] if len(values) else [0.0] * values.shape[1]


def _correlation(values: encoding.Floats | None, contributions: npt.NDArray[np.float64]) -> float | None:
    """Pearson's, over the rows that have a value; None where either is the same everywhere."""
    if values is None:
        return None
    known = np.isfinite(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0 or np.ptp(contributions[known]) == 0:
        return None
    return _figure(float(np.corrcoef(values[known].astype(np.float64), contributions[known])[0, 1]))


def _figure(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
