"""All that can be known about a pipeline without running it: schemas, checked queries, the order of the steps."""

import dataclasses
import datetime
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from beam_jobs import sources, splits, sql
from beam_jobs.errors import BraidError, listed, nearest
from beam_jobs.sources import SourceConfig, SourceContent
from beam_jobs.sql import CheckedQuery
from pipeline import user_code
from pipeline.config import ColumnSplit, HashSplit, KerasTraining, PipelineConfig, PrepareStep, Source, TimeSplit
from pipeline.errors import ConfigError
from pipeline.loading import Loaded
from pipeline.user_code import UserCode


@dataclass(frozen=True)
class PlannedSource:
    """A source with its column types frozen, and what its files hold now."""

    config: SourceConfig
    schema: pa.Schema
    content: SourceContent


@dataclass(frozen=True)
class PlannedStep:
    """A prepare step whose query has passed every static check."""

    name: str
    step: PrepareStep
    query: CheckedQuery
    split: dict[str, Any] | None

    @property
    def config(self) -> dict[str, Any]:
        """The step as its component's parameter."""
        return _parameter(self.name, self.step, self.split)


@dataclass(frozen=True)
class Plan:
    """A pipeline, ready to be composed.

    Attributes:
      code: the user's own functions, by the step that calls them.
    """

    loaded: Loaded
    sources: dict[str, PlannedSource]
    steps: dict[str, PlannedStep]
    code: dict[str, UserCode]

    @property
    def examples(self) -> PlannedStep:
        """The step that writes the examples."""
        return next(step for step in self.steps.values() if step.split is not None)

    @property
    def schema_file(self) -> str:
        """Where the user keeps the schema."""
        named = self.loaded.config.validate_.schema_file
        stem = os.path.splitext(os.path.basename(self.loaded.file))[0]
        return os.path.join(self.loaded.folder, named or f"{stem}.schema.pbtxt")


def plan(loaded: Loaded, memo: str | None = None) -> Plan:
    """Samples the sources for their schemas and checks every query.

    Args:
      loaded: the configuration.
      memo: a file that remembers digests of unchanged source files.

    Raises:
      BraidError: a source, a query or a column name is wrong; the message names the place.
    """
    planned = {name: _source(loaded, name, source, memo) for name, source in loaded.config.sources.items()}
    schemas = {name: source.schema for name, source in planned.items()}
    steps: dict[str, PlannedStep] = {}
    for name, step in _prepare_steps(loaded).items():
        split = _split(loaded) if name == _examples_step(loaded) else None
        steps[name] = _checked(loaded, name, step, schemas, split)
        schemas[name] = steps[name].query.output
    _check_examples(loaded, steps)
    _check_columns(loaded, steps[_examples_step(loaded)])
    return Plan(loaded, planned, steps, _user_code(loaded))


def _user_code(loaded: Loaded) -> dict[str, UserCode]:
    config = loaded.config
    keras = {place: trainer for place, trainer in enumerate(config.train) if isinstance(trainer, KerasTraining)}
    if not keras:
        return {}
    found = {"transform": user_code.find(loaded, ("transform",), config.transform.module, config.transform.function)}
    is_list = isinstance(loaded.settings.values["train"], list)
    for place, trainer in keras.items():
        section = ("train", place) if is_list else ("train",)
        found[trainer.train_step] = user_code.find(loaded, section, trainer.module, trainer.function)
    return found


def _source(loaded: Loaded, name: str, source: Source, memo: str | None) -> PlannedSource:
    try:
        config = _source_config(loaded, name, source)
        schema = sources.infer_schema(config)
        content = sources.source_content(config, memo)
    except BraidError as error:
        raise _at(loaded, ("sources", name), f"source '{name}'", error) from error
    return PlannedSource(config, schema, content)


def _source_config(loaded: Loaded, name: str, source: Source) -> SourceConfig:
    config = SourceConfig(
        name=name,
        path=loaded.path_of(name),
        format=source.format,
        types=dict(source.types),
        delimiter=source.delimiter,
        columns=tuple(source.columns) if source.columns else None,
        max_reject_fraction=source.max_reject_fraction,
    )
    if source.null_values is None:
        return config
    return dataclasses.replace(config, null_values=tuple(source.null_values))


def _at(loaded: Loaded, path: tuple[str, ...], what: str, error: BraidError) -> BraidError:
    """The same kind of error, told with the place in the configuration."""
    told = str(error).removeprefix(f"{what[:1].upper()}{what[1:]}: ")
    return type(error)(f"{loaded.settings.origin(path)}: {what}: {told}", error.hint)


def _examples_step(loaded: Loaded) -> str:
    table = loaded.config.examples.table
    return table if table in loaded.config.prepare else "examples"


def step_config(loaded: Loaded, name: str) -> dict[str, Any]:
    """A prepare step as its component's parameter, from the configuration alone: no source is looked at.

    Raises:
      ConfigError: there is no such step.
    """
    steps = _prepare_steps(loaded)
    if name not in steps:
        raise ConfigError(
            f"{loaded.file}: there is no prepare step '{name}'.{nearest(name, steps)}", f"Its steps: {listed(steps)}."
        )
    return _parameter(name, steps[name], _split(loaded) if name == _examples_step(loaded) else None)


def _parameter(name: str, step: PrepareStep, split: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "step": name,
        "stream": step.stream,
        "sql": step.sql,
        "partition_by": step.partition_by,
        "fan_out": step.fan_out,
        "split": split,
    }


def _prepare_steps(loaded: Loaded) -> dict[str, PrepareStep]:
    config = loaded.config
    if config.examples.table in config.prepare:
        return dict(config.prepare)
    whole = PrepareStep(stream=config.examples.table, sql=f'SELECT * FROM "{config.examples.table}"')
    return {**config.prepare, "examples": whole}


def _checked(
    loaded: Loaded, name: str, step: PrepareStep, schemas: dict[str, pa.Schema], split: dict[str, Any] | None
) -> PlannedStep:
    try:
        query = sql.check_query(name, step.sql, step.stream, schemas, step.partition_by)
    except BraidError as error:
        raise _at(loaded, ("prepare", name, "sql"), f"step '{name}'", error) from error
    examples = _examples_step(loaded)
    if examples in query.tables and name != examples:
        raise ConfigError(
            f"{loaded.settings.origin(('prepare', name))}: step '{name}' reads '{examples}', the table of the examples, which is split as it is written.",
            f"Add a prepare step between them, and let `examples.table` name that: {{stream: {examples}, sql: 'SELECT * FROM {examples}'}}.",
        )
    return PlannedStep(name, step, query, split)


def _split(loaded: Loaded) -> dict[str, Any]:
    split = loaded.config.examples.split
    data = split.model_dump()
    if isinstance(split, TimeSplit):
        for key in ("eval_from", "test_from"):
            moment = data[key]
            data[key] = moment.isoformat() if isinstance(moment, datetime.date) else str(moment)
    return data


def _check_examples(loaded: Loaded, steps: dict[str, PlannedStep]) -> None:
    """Columns that the configuration names must be columns of the examples."""
    config, output = loaded.config, steps[_examples_step(loaded)].query.output
    split = config.examples.split
    match split:
        case TimeSplit() | ColumnSplit():
            by: Iterable[str] = [split.column]
        case HashSplit():
            by = split.columns
    named: list[tuple[tuple[str, ...], Iterable[str]]] = [
        (("examples", "label"), [config.examples.label]),
        (("examples", "split"), by),
        (("select", "exclude"), config.select.exclude),
        (("select", "always"), config.select.always),
        (("select", "allow_leaks"), config.select.allow_leaks),
        (("evaluate", "slices"), config.evaluate.slices),
        (("evaluate", "crosses"), [column for cross in config.evaluate.crosses for column in cross]),
        (("evaluate", "slice_thresholds"), _sliced(config, config.evaluate.slice_thresholds)),
        (("evaluate", "fairness"), _sliced(config, [rule.column for rule in config.evaluate.fairness])),
    ]
    for path, columns in named:
        for column in columns:
            if column not in output.names:
                raise ConfigError(
                    f"{loaded.settings.origin(path)}: '{'.'.join(path)}' names '{column}', but the examples have no such column.{nearest(column, output.names)}",
                    f"Columns of the examples: {listed(output.names, 40)}.",
                )


def _sliced(config: PipelineConfig, rules: Iterable[str]) -> list[str]:
    """The columns of rules on slices, which name one or, with commas, several that are crossed."""
    names = [[rule] if rule in config.evaluate.slices else rule.split(",") for rule in rules]
    return [name.strip() for columns in names for name in columns]


def _check_columns(loaded: Loaded, step: PlannedStep) -> None:
    config, output = loaded.config, step.query.output
    if config.examples.label in config.select.exclude:
        raise ConfigError(
            f"{loaded.settings.origin(('select', 'exclude'))}: the label '{config.examples.label}' is excluded.",
            "Take it out of `select.exclude`; the label is never a feature.",
        )
    if not set(output.names) - {config.examples.label, *config.select.exclude}:
        raise ConfigError("No column of the examples is left to learn from.", "Exclude fewer columns, or derive more.")
    try:
        splits.check_split(splits.from_json(step.split or {}), output)
    except BraidError as error:
        raise _at(loaded, ("examples", "split"), "the split", error) from error
