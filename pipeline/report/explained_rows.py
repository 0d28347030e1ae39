"""Explained rows for the page: as many as it may hold, their values as text, their contributions rounded."""

import datetime
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import storage
from beam_jobs.table import ROW
from components.explanations import CONTRIBUTION, EXPLANATIONS, VALUE, Summary

MOST_CELLS = 150_000
"""Contributions on one page: rows times classes times features; about seven bytes each."""
MOST_FEATURES = 40
_LONGEST = 80
_DIGITS = 5


def read(uri: str, summary: Summary) -> dict[str, Any]:
    """Reads what the page shows row by row.

    Returns:
      `features`, the first of the summary's; `others`, how many more there are; `classes` as text; and, a list of rows
      each: `id`, `label`, `error` (how far the prediction is from the label), `values` by feature, `predictions` and
      `bias` by class, `contributions` by class and feature, last those of the other features together.
    """
    names = [feature.name for feature in summary.features]
    shown, every = names[:MOST_FEATURES], max(1, len(summary.classes))
    with storage.open_input(f"{uri.rstrip('/')}/{EXPLANATIONS}") as stream:
        table: pa.Table = pq.ParquetFile(stream).read()
    rows = table.num_rows // every
    most = max(1, MOST_CELLS // (every * (len(shown) + 1)))
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64)) if rows else np.empty(0, np.int64)
    places = (chosen[:, None] * every + np.arange(every)).reshape(-1)
    table = table.take(pa.array(places))
    first = table.take(pa.array(np.arange(0, table.num_rows, every)))
    contributions = np.stack(
        [_column(table, CONTRIBUTION + name) for name in shown]
        + [sum((_column(table, CONTRIBUTION + name) for name in names[MOST_FEATURES:]), np.zeros(len(places)))],
        axis=1,
    ).reshape(len(chosen), every, len(shown) + 1)
    predictions = _column(table, "prediction").reshape(-1, every)
    labels = first["label"].to_pylist()
    return {
        "features": shown,
        "others": len(names) - len(shown),
        "classes": [str(value) for value in summary.classes],
        "id": [str(id_) for id_ in first[ROW].to_pylist()],
        "label": [_text(label) for label in labels],
        "error": [_error(label, found, summary) for label, found in zip(labels, predictions, strict=True)],
        "values": _by_row([[_text(value) for value in first[VALUE + name].to_pylist()] for name in shown], len(chosen)),
        "predictions": _rounded(predictions),
        "bias": _rounded(_column(table, "bias").reshape(-1, every)),
        "contributions": _rounded(contributions),
        "of_rows": rows,
    }


def _column(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = table[name].to_numpy().astype(np.float64)
    return values


def _by_row(columns: list[list[Any]], rows: int) -> list[list[Any]]:
    return [[column[row] for column in columns] for row in range(rows)]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> str | None:
    if _missing(value):
        return None
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _error(label: Any, predictions: npt.NDArray[np.float64], summary: Summary) -> float | None:
    """For classes the probability that was given to the others; for a number the distance; None without a label."""
    if _missing(label):
        return None
    if summary.task == "regression":
        return _short(abs(float(label) - float(predictions[0])))
    if summary.task == "binary":
        return _short(1 - float(predictions[0]) if label == summary.classes[0] else float(predictions[0]))
    if label not in summary.classes:
        return None
    return _short(1 - float(predictions[summary.classes.index(label)]))


def _rounded(values: npt.NDArray[np.float64]) -> Any:
    shape = values.shape
    flat = np.array([_short(value) for value in values.reshape(-1).tolist()], dtype=np.float64)
    return flat.reshape(shape).tolist()


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
