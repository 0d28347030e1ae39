"""What OpenLineage calls things: datasets, jobs and runs by name or id, facets by the schema that they follow."""

import functools
import importlib.metadata
import os
import uuid
from typing import Any

from pipeline.lineage.records import Artifact, Execution

NAMESPACE = "braid"
"""Of jobs, unless told otherwise."""
SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = {
    "columnLineage": ("1-2-0", "ColumnLineageDatasetFacet"),
    "dataQualityAssertions": ("1-1-0", "DataQualityAssertionsDatasetFacet"),
    "dataQualityMetrics": ("1-0-3", "DataQualityMetricsInputDatasetFacet"),
    "datasetType": ("1-0-1", "DatasetTypeDatasetFacet"),
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
    "executionParameters": ("1-0-0", "ExecutionParametersRunFacet"),
    "inputStatistics": ("1-0-0", "InputStatisticsInputDatasetFacet"),
    "jobType": ("2-0-4", "JobTypeJobFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
    "parent": ("1-2-0", "ParentRunFacet"),
    "processing_engine": ("1-1-1", "ProcessingEngineRunFacet"),
    "schema": ("1-2-0", "SchemaDatasetFacet"),
    "sourceCodeLocation": ("1-1-0", "SourceCodeLocationJobFacet"),
    "sql": ("1-1-0", "SQLJobFacet"),
    "symlinks": ("1-0-1", "SymlinksDatasetFacet"),
    "tags": ("1-0-0", "TagsRunFacet"),
    "version": ("1-0-1", "DatasetVersionDatasetFacet"),
}
"""The version and the name of each facet's schema, by the facet's key."""
_IDS = uuid.uuid5(uuid.NAMESPACE_OID, "braid lineage")

Facets = dict[str, dict[str, Any]]
Dataset = dict[str, Any]


@functools.cache
def version() -> str:
    """Braid's own."""
    return importlib.metadata.version("braid")


def producer() -> str:
    """The URI of who made an event."""
    return f"urn:braid:{version()}"


def facets(**contents: dict[str, Any] | None) -> Facets:
    """Facets by key, each with its producer and its schema; one without content is left out."""
    return {
        key: {
            "_producer": producer(),
            "_schemaURL": f"https://openlineage.io/spec/facets/{FACETS[key][0]}/{FACETS[key][1]}.json#/$defs/{FACETS[key][1]}",
            **content,
        }
        for key, content in contents.items()
        if content
    }


def dataset_name(uri: str) -> tuple[str, str]:
    """The namespace and the name of a dataset: `file` and a path, or a bucket and the key in it."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return "file", os.path.normpath(uri) if uri else "/"
    host, _, key = rest.partition("/")
    key = key.rstrip("/")
    if scheme == "file":
        return f"file://{host}" if host else "file", f"/{key}"
    return f"{scheme}://{host}", key or "/"


def dataset(uri: str, **parts: Facets) -> Dataset:
    """A dataset with what facets it has, by kind: `facets`, `inputFacets`, `outputFacets`."""
    namespace, name = dataset_name(uri)
    return {"namespace": namespace, "name": name, **{kind: found for kind, found in parts.items() if found}}


def uri_of(artifact: Artifact) -> str:
    """Where an artifact is; a made-up place for one of which the store does not say it."""
    return artifact.uri or f"{NAMESPACE}://artifact/{artifact.id}"


def job(execution: Execution, namespace: str) -> tuple[str, str]:
    """The namespace and the name of a step's job: the same in every run of the pipeline."""
    return namespace, ".".join(filter(None, (execution.pipeline, execution.step)))


def run_id(execution: Execution) -> str:
    """The id of an execution, made from what identifies it: the same whenever, and from wherever, its store is read."""
    told = (execution.pipeline, execution.run, execution.step, str(execution.id), str(execution.created))
    return str(uuid.uuid5(_IDS, "\n".join(("execution", *told))))


def parent_id(execution: Execution) -> str:
    """The id of the pipeline's run that an execution belongs to."""
    return str(uuid.uuid5(_IDS, "\n".join(("run", execution.pipeline, execution.run))))
