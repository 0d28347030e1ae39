"""The configuration reference, written from the types in `pipeline.config`: `python -m pipeline.reference`."""

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline import config

INTRODUCTION = """\
# Configuration reference

Written from the code by `python -m pipeline.reference`; a test keeps it true.

A pipeline is one YAML file. `braid run CONFIG` takes more layers: `--overlay FILE`, whose mappings are merged over
CONFIG key by key, and `--set key.sub=value`, which wins over both. `braid config CONFIG` prints every value with the
file and line that it comes from. Unknown keys are errors. Relative paths count from the configuration file.
"""

SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": config.PipelineConfig,
    "sources.NAME": config.Source,
    "prepare.NAME": config.PrepareStep,
    "examples": config.Examples,
    "examples.split, by: time": config.TimeSplit,
    "examples.split, by: hash": config.HashSplit,
    "examples.split, by: column": config.ColumnSplit,
    "validate": config.Validation,
    "select": config.Selection,
    "transform": config.Transformation,
    "train, family: xgboost": config.XgboostTraining,
    "train, family: keras": config.KerasTraining,
    "train.tune": config.Tuning,
    "evaluate": config.Evaluation,
    "evaluate.thresholds.METRIC": config.Bound,
    "evaluate.champion": config.Champion,
    "evaluate.fairness": config.Fairness,
    "explain": config.Explanation,
    "push": config.Push,
}


def reference() -> str:
    """The whole page, Markdown."""
    return INTRODUCTION + "".join(line for title, model in SECTIONS.items() for line in _section(title, model))


def _section(title: str, model: type[BaseModel]) -> Iterator[str]:
    doc = " ".join((model.__doc__ or "").split())
    yield f"\n## {title}\n\n{doc}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
    for name, field in model.model_fields.items():
        yield f"| `{field.alias or name}` | {_type(field.annotation)} | {_default(field)} | {field.description or ''} |\n"


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is list and _models(arguments[-1]):
        return "mapping, or list of mappings"
    if origin is typing.Literal:
        return " or ".join(f"`{argument or chr(39) * 2}`" for argument in arguments)
    if origin in (list, dict):
        return f"{'list of' if origin is list else 'mapping to'} {_type(arguments[-1])}"
    if arguments:
        return " or ".join(dict.fromkeys(_type(argument) for argument in arguments))
    return "mapping" if _models(annotation) else _plain_type(annotation)


def _plain_type(annotation: Any) -> str:
    names = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "true or false",
        "NoneType": "null",
        "Any": "any value",
    }
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)


def _models(annotation: Any) -> bool:
    """Whether it stands for sections."""
    arguments = typing.get_args(annotation)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return is_model or any(_models(argument) for argument in arguments)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):
        return ""
    if isinstance(value, BaseModel):
        shown = {
            key: inner
            for key, inner in value.model_dump(by_alias=True, exclude_defaults=True).items()
            if inner is not None
        }
        return f"`{shown}`" if shown else ""
    return f"`{value!r}`" if value not in ("", [], {}, None) else ""


if __name__ == "__main__":
    print(reference(), end="")
