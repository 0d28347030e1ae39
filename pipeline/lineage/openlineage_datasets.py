"""The datasets of OpenLineage events: artifacts and source files, with schema, version and statistics."""

import itertools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.lineage.errors import LineageError
from pipeline.lineage.facts import Source, number_of
from pipeline.lineage.openlineage_names import Dataset, Facets, dataset, dataset_name, facets, uri_of
from pipeline.lineage.records import Artifact
from pipeline.lineage.tables import open_table
from pipeline.lineage.wording import is_final

MOST_FILES = 100
"""Files of one source that are datasets of their own; of more, the folder that holds them all is."""
_DIGESTS = ("content_digest", "tree_digest")


class Schemas:
    """The columns of tables, each read once from its manifest."""

    def __init__(self) -> None:
        self._known: dict[int, pa.Schema | None] = {}

    def of(self, artifact: Artifact) -> pa.Schema | None:
        """The columns; nothing for what is no table of Braid's, or is gone."""
        if "schema_digest" not in artifact.properties:
            return None
        if artifact.id not in self._known:
            try:
                self._known[artifact.id] = open_table(artifact).schema
            except (LineageError, OSError, ValueError, KeyError, TypeError, pa.ArrowException):
                self._known[artifact.id] = None  # removed or damaged since: the event tells what is on record
        return self._known[artifact.id]


def described(artifact: Artifact, schemas: Schemas) -> Facets:
    """What holds for an artifact whoever reads or writes it."""
    digest = next((str(artifact.properties[key]) for key in _DIGESTS if artifact.properties.get(key)), "")
    kind = "MODEL" if is_final(artifact) else "TABLE" if number_of(artifact, "rows") is not None else "FILE"
    return facets(
        schema=schema_content(schemas.of(artifact)),
        version={"datasetVersion": digest} if digest else None,
        datasetType={"datasetType": kind, "subType": artifact.type} if artifact.type else {"datasetType": kind},
        symlinks=_pushed(artifact),
    )


def schema_content(schema: pa.Schema | None) -> dict[str, Any] | None:
    """The content of a schema facet."""
    if schema is None:
        return None
    columns = [
        {"name": field.name, "type": str(field.type), "ordinal_position": place}
        for place, field in enumerate(schema, 1)
    ]
    return {"fields": columns}


def _pushed(artifact: Artifact) -> dict[str, Any] | None:
    """Where a pushed model serves, beside the place of its record."""
    destination = artifact.properties.get("pushed_destination")
    if artifact.properties.get("pushed") != 1 or not destination:
        return None
    namespace, name = dataset_name(str(destination))
    return {"identifiers": [{"namespace": namespace, "name": name, "type": "LOCATION"}]}


def of_input(artifact: Artifact, schemas: Schemas, **quality: dict[str, Any] | None) -> Dataset:
    """An artifact as an execution read it, with what that found out about it."""
    counts = _counts(artifact)
    return dataset(
        uri_of(artifact),
        facets=described(artifact, schemas),
        inputFacets=facets(inputStatistics=counts or None, **quality),
    )


def of_output(artifact: Artifact, schemas: Schemas, lineage: dict[str, Any] | None) -> Dataset:
    """An artifact as an execution wrote it."""
    return dataset(
        uri_of(artifact),
        facets=described(artifact, schemas) | facets(columnLineage=lineage),
        outputFacets=facets(outputStatistics=_counts(artifact) or None),
    )


def _counts(artifact: Artifact) -> dict[str, int]:
    keys = (("rowCount", "rows"), ("size", "bytes"), ("fileCount", "files_count"))
    return {name: count for name, key in keys if (count := number_of(artifact, key)) is not None}


def of_sources(
    sources: Sequence[Source], table: Artifact, schemas: Schemas, **quality: dict[str, Any] | None
) -> list[Dataset]:
    """The files that a table was read from; too many of them as the one folder that holds them."""
    schema = schema_content(schemas.of(table))
    if len(sources) > MOST_FILES:
        folder = dataset(
            _folder([source.path for source in sources]),
            facets=facets(schema=schema, datasetType={"datasetType": "FILE", "subType": "FOLDER"}),
            inputFacets=facets(inputStatistics=_total(sources), **quality),
        )
        return [folder]
    return [
        dataset(
            source.path,
            facets=facets(
                schema=schema,
                version={"datasetVersion": source.digest} if source.digest else None,
                datasetType={"datasetType": "FILE"},
            ),
            inputFacets=facets(inputStatistics=_total([source]), **quality),
        )
        for source in sources
    ]


def _folder(paths: Sequence[str]) -> str:
    """The folder that holds them all; unlike `os.path.commonpath` it leaves `gs://` as it is."""
    folders = [path.split("/")[:-1] for path in paths]
    common = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))
    return "/".join(names[0] for names in common) or "/"


def _total(sources: Sequence[Source]) -> dict[str, int]:
    sizes = [source.size for source in sources if source.size is not None]
    return {"fileCount": len(sources)} | ({"size": sum(sizes)} if len(sizes) == len(sources) else {})
