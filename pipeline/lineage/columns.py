"""The source columns behind a model's features, and the models that use a source column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beam_jobs.errors import BraidError, listed, nearest
from beam_jobs.sql_lineage import Column, ColumnOrigin, Origins, Trace, column_origins, trace
from components.importances import FeatureImportance, Importances
from pipeline.lineage import naming, serving
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.records import Artifact
from pipeline.lineage.tables import (
    SOURCE_TABLE,
    Preparation,
    examples_of,
    inputs_of,
    maker,
    name_of,
    open_table,
    preparations,
)

LABEL, FEATURE, ROWS = "label", "feature", "rows"


@dataclass(frozen=True)
class FeatureOrigin:
    """A column of the examples, and what it is computed from.

    Attributes:
      importance: what the selection found it worth; None for the label.
      trace: step by step down to the sources' columns.
    """

    name: str
    importance: FeatureImportance | None
    trace: Trace

    @property
    def is_kept(self) -> bool:
        """Whether the model uses it."""
        return self.importance is None or self.importance.kept

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        found = self.importance
        return {
            "name": self.name,
            "role": FEATURE if found else LABEL,
            "rank": found.rank if found else None,
            "gain": found.gain if found else None,
            "permutation": found.permutation_mean if found else None,
            "kept": self.is_kept,
            "sources": [".".join(column) for column in self.trace.leaves],
            "steps": [{"column": f"{n.table}.{n.column}", "expression": n.expression} for n in _computed(self.trace)],
        }


@dataclass(frozen=True)
class ModelColumns:
    """What a model's columns come from.

    Attributes:
      features: the most important first, the label last.
      filters: the sources' columns that decide which rows become examples.
    """

    model: Artifact
    examples: Artifact
    features: tuple[FeatureOrigin, ...]
    filters: tuple[Column, ...]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "model": self.model.id,
            "examples": self.examples.id,
            "columns": [feature.to_dict() for feature in self.features],
            "filters": [".".join(column) for column in self.filters],
        }


@dataclass(frozen=True)
class ColumnUse:
    """A model that uses a source column.

    Attributes:
      features: the kept features computed from it.
      is_label: whether the label is computed from it.
      filters: whether it decides which rows become examples.
    """

    model: Artifact
    run: str
    step: str
    serves_from: str
    features: tuple[str, ...]
    is_label: bool
    filters: bool

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "model": self.model.id,
            "uri": self.model.uri,
            "run": self.run,
            "step": self.step,
            "serves_from": self.serves_from,
            "features": list(self.features),
            "is_label": self.is_label,
            "filters": self.filters,
        }


@dataclass(frozen=True)
class ColumnUses:
    """The models that use a column.

    Attributes:
      uses: newest model first.
      untold: models of which that cannot be told, by id, with the reason.
    """

    uses: tuple[ColumnUse, ...]
    untold: Mapping[int, str]


def columns_of(archive: Archive, name: str) -> ModelColumns:
    """For each column of a model's examples, its importance and the source columns it is computed from.

    Raises:
      LineageError: there is no such model, it is not Braid's, or what would tell is gone.
    """
    return _columns_of(archive, naming.find_model(archive, name), {})


def uses_of(archive: Archive, column: str) -> ColumnUses:
    """The models, newest first, that use a source's column, such as `flights.dep_time`.

    Raises:
      LineageError: no source has that column.
    """
    table, _, name = column.partition(".")
    _check_known(archive, table, name)
    now, known = serving.serving(archive), dict[int, Origins]()
    found, untold = list[ColumnUse](), dict[int, str]()
    for model in sorted(archive.artifacts_of_type("Model"), key=lambda model: model.id, reverse=True):
        try:
            use = _use(archive, _columns_of(archive, model, known), (table, name), now.get(model.id, ""))
        except LineageError as error:
            untold[model.id] = str(error)
            continue
        if use.features or use.is_label or use.filters:
            found.append(use)
    return ColumnUses(tuple(found), untold)


def _use(archive: Archive, columns: ModelColumns, column: Column, serves_from: str) -> ColumnUse:
    trained_by = maker(archive, columns.model)
    using = [feature for feature in columns.features if feature.is_kept and column in feature.trace.leaves]
    return ColumnUse(
        model=columns.model,
        run=trained_by.run if trained_by else "",
        step=trained_by.step if trained_by else "",
        serves_from=serves_from,
        features=tuple(feature.name for feature in using if feature.importance),
        is_label=any(feature.importance is None for feature in using),
        filters=column in columns.filters,
    )


def _columns_of(archive: Archive, model: Artifact, known: dict[int, Origins]) -> ModelColumns:
    """`known` remembers the origins of the columns of examples, which many models may share."""
    examples, importances = examples_of(archive, model), _importances(archive, model)
    if examples.id not in known:
        known[examples.id] = {step.name: _origins(step) for step in preparations(archive, examples)}
    origins, table = known[examples.id], name_of(examples)
    features = [FeatureOrigin(f.name, f, trace(f.name, table, origins)) for f in importances.features]
    label = FeatureOrigin(importances.label, None, trace(importances.label, table, origins))
    filters = {leaf for step in origins.values() for column in _filters(step) for leaf in _leaves(column, origins)}
    return ModelColumns(model, examples, (*features, label), tuple(sorted(filters)))


def _origins(step: Preparation) -> dict[str, ColumnOrigin]:
    schemas = {name: open_table(artifact).schema for name, artifact in step.inputs.items()}
    return column_origins(step.config["sql"], schemas)


def _filters(origins: Mapping[str, ColumnOrigin]) -> Sequence[Column]:
    return next((origin.filters for origin in origins.values()), ())


def _leaves(column: Column, origins: Origins) -> Sequence[Column]:
    return trace(column[1], column[0], origins).leaves


def _importances(archive: Archive, model: Artifact) -> Importances:
    trained_by = maker(archive, model)
    found = inputs_of(archive, trained_by).get("importances", []) if trained_by else []
    if not found:
        raise LineageError(
            f"Model {model.id} was trained without a selection of features that Braid made.",
            "`braid lineage up` tells what the store knows of it.",
        )
    try:
        return Importances.load(found[0].uri)
    except BraidError as error:
        raise LineageError(str(error), error.hint) from error


def _check_known(archive: Archive, table: str, column: str) -> None:
    versions = [artifact for artifact in archive.artifacts_of_type(SOURCE_TABLE) if name_of(artifact)]
    names = sorted({name_of(artifact) for artifact in versions})
    if table not in names:
        raise LineageError(
            f"No run has read a source '{table}'.{nearest(table, names)}",
            f"Name a column as SOURCE.COLUMN. Sources: {listed(names) or 'none'}.",
        )
    columns = sorted({n for a in versions if name_of(a) == table for n in open_table(a).schema.names})
    if column not in columns:
        raise LineageError(
            f"Source '{table}' never had a column '{column}'.{nearest(column, columns)}",
            f"Its columns: {listed(columns, 40)}.",
        )


def _computed(found: Trace) -> Iterator[Trace]:
    return (node for node in found.nodes if node.expression)
