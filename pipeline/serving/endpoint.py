"""What a model answers over HTTP, in the shapes of TensorFlow Serving's REST API; knows no sockets.

    GET  /v1/models/NAME[/versions/N]            the status of the version
    GET  /v1/models/NAME[/versions/N]/metadata   its signatures: columns and their types
    POST /v1/models/NAME[/versions/N]:predict    {"instances": [{...}]} or {"inputs": {"column": [...]}}
    POST ...:classify, ...:regress               {"examples": [{...}]}
    POST ...:explain                             as :predict; what each feature adds, which TensorFlow Serving has not

Rows are those of the source that the model's pipeline reads; with "signature_name": "prepared" they have the features.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from beam_jobs.column_types import type_name
from beam_jobs.errors import BraidError, nearest
from pipeline.scoring.json_rows import rows_of, table_of
from pipeline.scoring.live import LiveModel, PreparedRows, RawRows

SERVING, PREPARED = "serving_default", "prepared"
_ROUTE = re.compile(r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>[^/:]+))?(?P<rest>/metadata|:\w+)?\Z")
_DTYPES = {"bool": "DT_BOOL", "string": "DT_STRING", "double": "DT_DOUBLE", "float": "DT_FLOAT"}
_LISTS = ("instances", "inputs", "examples")


class RefusedError(BraidError):
    """A request that is not answered.

    Attributes:
      code: of HTTP.
    """

    def __init__(self, code: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code

    def __reduce__(self) -> tuple[type["RefusedError"], tuple[int, str, str]]:  # type: ignore[override]
        return type(self), (self.code, str(self), self.hint)


@dataclass(frozen=True)
class _Sent:
    """The rows of a request, as features."""

    values: list[dict[str, Any]]
    features: pa.RecordBatch
    is_by_column: bool


@dataclass(frozen=True)
class Endpoint:
    """Answers requests about one model."""

    model: LiveModel

    @property
    def name(self) -> str:
        """What the model is called in requests."""
        return self.model.found.name

    @property
    def version(self) -> int:
        """The version that was pushed; of a model that never was, its artifact's id."""
        version = self.model.found.version
        return int(version) if version.isdecimal() else self.model.found.id

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The answer to a request.

        Raises:
          RefusedError: with the code and the words of the answer.
        """
        try:
            return self._answer(method, path, body)
        except RefusedError:
            raise
        except BraidError as error:
            raise RefusedError(400, str(error), error.hint) from error

    def _answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        route = _ROUTE.match(path)
        if route is None:
            raise RefusedError(404, f"There is nothing at '{path}'.", f"Try GET /v1/models/{self.name}.")
        self._check_names(route["name"], route["version"])
        verb = route["rest"] or ""
        if verb.startswith(":"):
            if method != "POST":
                raise RefusedError(405, f"'{path}' takes POST, not {method}.")
            return self._verb(verb[1:])(self._sent(_document(body)))
        if method != "GET":
            raise RefusedError(405, f"'{path}' takes GET, not {method}.", f"Predictions: POST {path}:predict.")
        return self._metadata() if verb else self._status()

    def _check_names(self, name: str, version: str | None) -> None:
        if name != self.name:
            raise RefusedError(404, f"There is no model '{name}' here.{nearest(name, [self.name])}", self._here())
        if version is not None and not (version.isdecimal() and int(version) == self.version):
            raise RefusedError(404, f"Version '{version}' of '{name}' is not served here.", self._here())

    def _here(self) -> str:
        return f"Served here: '{self.name}', version {self.version}."

    def _verb(self, verb: str) -> Callable[[_Sent], dict[str, Any]]:
        known = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
            "explain": self._explain,
        }
        if verb not in known:
            raise RefusedError(404, f"A model cannot '{verb}'.{nearest(verb, known)}", f"It can: {', '.join(known)}.")
        return known[verb]

    def _sent(self, request: Mapping[str, Any]) -> _Sent:
        given = [key for key in _LISTS if key in request]
        if len(given) != 1:
            raise RefusedError(
                400,
                f"The request has {' and '.join(map(repr, given)) or 'neither of its forms'}.",
                'Send either {"instances": [{"column": value}, ...]} or {"inputs": {"column": [value, ...]}}.',
            )
        (key,) = given
        rows = request[key]
        is_by_column = key == "inputs" and isinstance(rows, dict)
        values = rows_of(rows, key) if is_by_column else rows
        if not isinstance(values, list):
            raise RefusedError(400, f"'{key}' is no list of rows.", 'Send {"instances": [{"column": value}, ...]}.')
        takes = self._signature(request.get("signature_name", SERVING))
        if not values:
            return _Sent([], pa.RecordBatch.from_pylist([], self.model.prepared.schema), is_by_column)
        return _Sent(values, takes.features(table_of(values, takes.schema, key)), is_by_column)

    def _signature(self, name: Any) -> RawRows | PreparedRows:
        known = {SERVING: self.model.raw or self.model.prepared, PREPARED: self.model.prepared}
        if name not in known:
            raise RefusedError(400, f"There is no signature {name!r}.", f"Signatures: {', '.join(known)}.")
        return known[name]

    def _predict(self, sent: _Sent) -> dict[str, Any]:
        return {"outputs" if sent.is_by_column else "predictions": self._scores(sent)}

    def _scores(self, sent: _Sent) -> list[Any]:
        return _plain(self.model.predict(sent.features)) if sent.values else []

    def _classify(self, sent: _Sent) -> dict[str, Any]:
        contract = self.model.contract
        if not contract.classes:
            raise RefusedError(400, "This model predicts a number, not a class.", "Ask it to :regress or to :predict.")
        rows = [[1 - score, score] if contract.task == "binary" else score for score in self._known(sent)]
        labels = [_label(one) for one in contract.classes]
        return {"results": [[list(pair) for pair in zip(labels, row, strict=True)] for row in rows]}

    def _known(self, sent: _Sent) -> list[Any]:
        scores = self._scores(sent)
        if any(score is None for score in scores):
            raise RefusedError(400, f"Row {scores.index(None)} gets no prediction: the model gives no finite number.")
        return scores

    def _regress(self, sent: _Sent) -> dict[str, Any]:
        if self.model.contract.classes:
            raise RefusedError(400, "This model predicts a class, not a number.", "Ask it to :classify or to :predict.")
        return {"results": self._scores(sent)}

    def _explain(self, sent: _Sent) -> dict[str, Any]:
        if not sent.values:
            return {"explanations": []}
        names = self.model.contract.names
        predictions, added = self.model.predict(sent.features), self.model.contributions(sent.features)
        if added.ndim == 3:  # those to the likeliest class
            added = added[np.arange(len(added)), predictions.argmax(axis=1)]
        values = sent.features.to_pylist()
        told = zip(_plain(predictions), _plain(added), values, strict=True)
        return {
            "explanations": [
                {
                    "prediction": prediction,
                    "contributions": dict(zip(names, parts[:-1], strict=True)),
                    "bias": parts[-1],
                    "values": {name: json_value(row[name]) for name in names},
                }
                for prediction, parts, row in told
            ]
        }

    def _status(self) -> dict[str, Any]:
        ok = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": str(self.version), "state": "AVAILABLE", "status": ok}]}

    def _metadata(self) -> dict[str, Any]:
        takes = {SERVING: self.model.raw or self.model.prepared, PREPARED: self.model.prepared}
        contract, found = self.model.contract, self.model.found
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {
                "signature_def": {"signature_def": {name: self._signature_def(one) for name, one in takes.items()}},
                "braid": {
                    "columns": {name: _columns(one.schema) for name, one in takes.items()},
                    "needed": {name: one.needed() for name, one in takes.items()},
                    "features": {feature.name: feature.kind for feature in contract.features},
                    "task": contract.task,
                    "label": contract.label,
                    "classes": list(contract.classes),
                    "family": contract.family,
                    "artifact": found.id,
                    "digest": found.digest,
                },
            },
        }

    def _signature_def(self, takes: RawRows | PreparedRows) -> dict[str, Any]:
        contract = self.model.contract
        classes = len(contract.classes) if contract.task == "multiclass" else 0
        return {
            "inputs": {field.name: _tensor(_dtype(field.type)) for field in takes.schema},
            "outputs": {"predictions": _tensor("DT_FLOAT", classes)},
            "method_name": "tensorflow/serving/predict",
        }


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            400, f"The request is not JSON: {error}.", 'Send {"instances": [{"column": value}]}.'
        ) from error
    if not isinstance(found, dict):
        raise RefusedError(400, "The request is no JSON object.", 'Send {"instances": [{"column": value}]}.')
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's; null stands for a missing value")


def _plain(values: Any) -> list[Any]:
    """Numbers for JSON, which has none that are not finite."""
    found: list[Any] = np.asarray(values).tolist()
    return [_finite(one) for one in found]


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value if math.isfinite(value) else None


def json_value(value: Any) -> Any:
    """A value of a table as JSON has it: what is neither number, text nor truth is spelt out."""
    if isinstance(value, float):
        return _finite(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _label(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _columns(schema: pa.Schema) -> dict[str, str]:
    return {field.name: type_name(field.type) for field in schema}


def _dtype(kind: pa.DataType) -> str:
    name = type_name(kind)
    return _DTYPES.get(name) or (f"DT_{name.upper()}" if pa.types.is_integer(kind) else "DT_STRING")


def _tensor(dtype: str, width: int = 0) -> dict[str, Any]:
    sizes = ["-1", *([str(width)] if width else [])]
    dim = [{"size": size, "name": ""} for size in sizes]
    return {"dtype": dtype, "tensor_shape": {"dim": dim, "unknown_rank": False}, "name": ""}
