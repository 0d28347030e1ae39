"""Column lineage of OpenLineage events: what each column of a table that a step wrote was computed from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beam_jobs.errors import SqlError
from beam_jobs.sql_lineage import Column, ColumnOrigin, column_origins
from pipeline.lineage.openlineage_datasets import Schemas
from pipeline.lineage.openlineage_names import Dataset, dataset_name, uri_of
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.tables import name_of

_IDENTITY = {"type": "DIRECT", "subtype": "IDENTITY", "description": "", "masking": False}
Content = dict[str, Any]


def of_query(execution: Execution, inputs: Iterable[Artifact], schemas: Schemas) -> Content | None:
    """The content of a column lineage facet for a step that ran a query; nothing where it cannot be followed."""
    config = execution.properties.get("config")
    sql = config.get("sql") if isinstance(config, Mapping) else None
    tables = {name_of(table): table for table in inputs if name_of(table)}
    known = {name: schema for name, table in tables.items() if (schema := schemas.of(table)) is not None}
    if not isinstance(sql, str) or not known:
        return None
    try:
        origins = column_origins(sql, known)
    except SqlError:
        return None
    return _content(origins, {name: dataset_name(uri_of(table)) for name, table in tables.items()})


def _content(origins: Mapping[str, ColumnOrigin], places: Mapping[str, tuple[str, str]]) -> Content:
    filters = next((origin.filters for origin in origins.values()), ())
    return {
        "fields": {
            name: {"inputFields": [_field(column, places, _transformation(origin)) for column in origin.sources]}
            for name, origin in origins.items()
        },
        "dataset": [_field(column, places, {"type": "INDIRECT", "subtype": "FILTER"}) for column in filters],
    }


def _transformation(origin: ColumnOrigin) -> Content:
    if len(origin.sources) == 1 and origin.expression.replace('"', "") == ".".join(origin.sources[0]):
        return _IDENTITY
    return {"type": "DIRECT", "subtype": "TRANSFORMATION", "description": origin.expression, "masking": False}


def _field(column: Column, places: Mapping[str, tuple[str, str]], transformation: Content) -> Content:
    namespace, name = places[column[0]]
    return {"namespace": namespace, "name": name, "field": column[1], "transformations": [transformation]}


def of_files(table: Artifact, files: Sequence[Dataset], schemas: Schemas) -> Content | None:
    """The content for a table that was read from files: each column is the files' column of its name."""
    schema = schemas.of(table)
    if schema is None or not files:
        return None
    return {
        "fields": {
            column: {
                "inputFields": [
                    {"namespace": f["namespace"], "name": f["name"], "field": column, "transformations": [_IDENTITY]}
                    for f in files
                ]
            }
            for column in schema.names
        }
    }
