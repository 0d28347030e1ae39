"""From settings to a checked configuration: every mistake is told with its file, line, nearest key and what is allowed."""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from beam_jobs import storage
from beam_jobs.errors import listed, nearest
from pipeline import settings
from pipeline.config import FAMILIES, NAME, STEP_NAMES, PipelineConfig
from pipeline.errors import ConfigError

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list, such as [a, b]",
    "dict": "a group of `key: value` settings",
    "model": "a group of `key: value` settings",
}
_TAGS = {**dict.fromkeys(("time", "hash", "column"), "by"), **dict.fromkeys(FAMILIES, "family")}
"""What pydantic adds to the location of a mistake in one of several kinds of sections, and the key that tells them apart."""
_BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "more than",
    "less_than_equal": "at most",
    "less_than": "less than",
}
_NOUNS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a group of settings",
    object: "a date",
}


@dataclass(frozen=True)
class Loaded:
    """A configuration, what it was made of, and where its relative paths count from.

    Attributes:
      file: the base file.
      overlays: files laid over it.
      assignments: `key=value` laid over these.
    """

    config: PipelineConfig
    file: str
    folder: str
    settings: settings.Settings
    overlays: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()

    def path_of(self, name: str) -> str:
        """The path of a source, resolved."""
        return storage.resolve(self.config.sources[name].path, self.folder)


def load(file: str, overlays: Sequence[str] = (), assignments: Sequence[str] = ()) -> Loaded:
    """Reads and checks a configuration as far as it can be without looking at data.

    Raises:
      ConfigError: the first mistakes, up to five, each with file and line.
    """
    merged = settings.load(file, overlays, assignments)
    try:
        config = PipelineConfig.model_validate(merged.values)
    except ValidationError as error:
        raise worded(error, merged) from error
    _check_trainers(config, merged)
    _check_names(config, merged)
    return Loaded(config, file, merged.folder, merged, tuple(overlays), tuple(assignments))


def worded(
    error: ValidationError,
    merged: settings.Settings,
    model: type[BaseModel] = PipelineConfig,
    hint: str = "docs/configuration.md lists every key.",
) -> ConfigError:
    """The first mistakes, up to five, each with file and line."""
    details = sorted(error.errors(), key=lambda detail: detail["type"] == "missing")  # a misspelt key is missing, too
    problems = [_problem(detail, merged, model) for detail in details]
    more = f"\n({len(problems) - 5} more)" if len(problems) > 5 else ""
    return ConfigError("\n".join(problems[:5]) + more, hint)


def _problem(detail: ErrorDetails, merged: settings.Settings, top: type[BaseModel]) -> str:
    path, known = _walk(detail["loc"], top)
    path = _as_written(path, merged.values)
    where = merged.origin(path)
    dotted = ".".join(str(key) for key in path)
    match detail["type"]:
        case "extra_forbidden":
            inside = f"in '{dotted.rpartition('.')[0]}'" if "." in dotted else "at the top level"
            key = str(path[-1])
            return f"{where}: unknown key '{key}' {inside}.{nearest(key, known)} Allowed: {listed(known, 20)}."
        case "missing":
            return f"{where}: the key '{dotted}' is missing."
        case "union_tag_not_found" | "union_tag_invalid":
            return f"{where}: {_wrong_kind(detail, dotted)}"
        case "string_pattern_mismatch" if detail["ctx"]["pattern"] == NAME.pattern:
            return f"{where}: '{dotted}' is no valid name: {detail['input']!r}. Letters, digits and _ are, not beginning with a digit ({NAME.pattern})."
    return f"{where}: '{dotted}' {_wanted(detail)}; found {_found(detail['input'])}."


def _wrong_kind(detail: ErrorDetails, dotted: str) -> str:
    """A section of which there are several kinds, told apart by one key, is none of them."""
    key, kinds = ("family", FAMILIES) if dotted.startswith("train") else ("by", ("time", "hash", "column"))
    if not isinstance(detail["input"], dict):
        return f"'{dotted}' must be {_KINDS['dict']}; found {_found(detail['input'])}."
    if detail["type"] == "union_tag_not_found":
        return f"'{dotted}' needs the key `{key}`: {listed(kinds)}."
    tag = str(detail["ctx"]["tag"])
    return f"'{dotted}.{key}' is '{tag}'.{nearest(tag, kinds)} It must be one of: {listed(kinds)}."


def _wanted(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind.partition("_")[0] in _KINDS and kind.endswith(("_type", "_parsing", "_from_float")):
        return f"must be {_KINDS[kind.partition('_')[0]]}"
    if kind == "string_pattern_mismatch":
        return f"must look like {context['pattern']}"
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind]} {next(iter(context.values()))}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"is wrong: {message[:1].lower()}{message[1:]}"


def _found(value: Any) -> str:
    if value is None:
        return "nothing: give it a value, or leave the key out"
    noun = next(noun for kind, noun in _NOUNS.items() if isinstance(value, kind))
    return noun if isinstance(value, dict | list) else f"{value!r} ({noun})"


def _walk(loc: tuple[str | int, ...], top: type[BaseModel]) -> tuple[settings.Path, list[str]]:
    """Drops what pydantic adds to a location (union tags), and lists the keys known beside its last key."""
    path: list[str | int] = []
    model: Any = top
    known: list[str] = []
    for key in loc:
        options = _models(model)
        fields = {field.alias or name: field for option in options for name, field in option.model_fields.items()}
        if fields and key in _TAGS and path[-1:] != [key] and key not in fields:
            tag = _TAGS[str(key)]
            model = next(m for m in options if str(key) in str(m.model_fields[tag].annotation))
            continue
        if key == "[key]":
            continue
        path.append(key)
        known = sorted(fields)
        model = fields[str(key)].annotation if str(key) in fields else _item_type(model)
    return tuple(path), known


def _as_written(path: settings.Path, values: Any) -> settings.Path:
    """The path without the place in a list where one item stands for the list."""
    written: list[str | int] = []
    for key in path:
        if isinstance(key, int) and not isinstance(values, list):
            continue
        written.append(key)
        found = isinstance(values, list) and isinstance(key, int) and key < len(values)
        values = values[key] if found else values.get(key) if isinstance(values, dict) else None
    return tuple(written)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (dict, list):
        return []
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]


def _item_type(annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    return arguments[-1] if arguments else None


def _check_trainers(config: PipelineConfig, merged: settings.Settings) -> None:
    """Several trainers need names that tell them apart."""
    seen: set[str] = set()
    for place, trainer in enumerate(config.train):
        where = merged.origin(("train", place))
        if len(config.train) > 1 and not trainer.name:
            raise ConfigError(
                f"{where}: this trainer has no name, and there are {len(config.train)}.",
                "Give each a `name`, such as `{name: boosted, family: xgboost}`.",
            )
        if trainer.name in seen:
            raise ConfigError(
                f"{where}: another trainer has the name '{trainer.name}', too.", "Give each a name of its own."
            )
        seen.add(trainer.name)


def _check_names(config: PipelineConfig, merged: settings.Settings) -> None:
    taken = {*STEP_NAMES, "examples", *(step for one in config.train for step in (one.train_step, one.tune_step))}
    for group, names in (("sources", config.sources), ("prepare", config.prepare)):
        for name in names:
            if name in taken:
                raise ConfigError(
                    f"{merged.origin((group, name))}: '{name}' cannot name a table: a step of every pipeline has that name.",
                    "Rename it.",
                )
    for name in config.prepare:
        if name in config.sources:
            raise ConfigError(
                f"{merged.origin(('prepare', name))}: '{name}' is already the name of a source.",
                "Give the prepare step another name.",
            )
    tables = [*config.sources, *config.prepare]
    for name, step in config.prepare.items():
        earlier = tables[: tables.index(name)]
        if step.stream not in earlier:
            later = " It stands further down; move it up." if step.stream in tables else nearest(step.stream, earlier)
            raise ConfigError(
                f"{merged.origin(('prepare', name, 'stream'))}: step '{name}' streams '{step.stream}', which is no table at that point.{later}",
                f"Tables there: {listed(earlier)}.",
            )
    if config.examples.table not in tables:
        raise ConfigError(
            f"{merged.origin(('examples', 'table'))}: there is no table '{config.examples.table}'.{nearest(config.examples.table, tables)}",
            f"Tables: {listed(tables)}.",
        )
