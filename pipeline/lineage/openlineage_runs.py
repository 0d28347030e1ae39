"""The run and job facets of OpenLineage events: parent, code, engine, parameters, query, error."""

import json
import re
from typing import Any

from beam_jobs import storage
from pipeline.lineage.facts import code_of, failure_of
from pipeline.lineage.openlineage_names import Facets, facets, parent_id, version
from pipeline.lineage.records import Execution

_COMMIT = re.compile(r"[0-9a-f]{40}")
Content = dict[str, Any]


def run_facets(execution: Execution, namespace: str, braid_version: str, final: bool) -> Facets:
    """Those of the run; some are known only when it has ended."""
    return facets(
        parent=_parent(execution, namespace),
        processing_engine=_engine(execution, braid_version),
        executionParameters=_parameters(execution),
        tags=_tags(execution, final),
        errorMessage=_error(execution) if final else None,
    )


def job_facets(execution: Execution) -> Facets:
    """Those of the job, as it was in this run."""
    return facets(
        jobType={"processingType": "BATCH", "integration": "BRAID", "jobType": "TASK"},
        sourceCodeLocation=_code(execution),
        sql=_sql(execution),
    )


def _parent(execution: Execution, namespace: str) -> Content | None:
    if not execution.run:
        return None
    run = {"runId": parent_id(execution)}
    job = {"namespace": namespace, "name": execution.pipeline or execution.run}
    return {"run": run, "job": job, "root": {"run": run, "job": job}}


def _engine(execution: Execution, braid_version: str) -> Content | None:
    """Braid as it was then; nothing for pipelines of others, and where the version was not recorded."""
    runner = execution.properties.get("runner")
    if not braid_version:
        return None
    name = f"Braid, with Beam's {runner}" if runner else "Braid"
    return {"name": name, "version": braid_version, "openlineageAdapterVersion": version()}


def _parameters(execution: Execution) -> Content | None:
    found = [{"key": key, "value": _text(value)} for key, value in sorted(execution.parameters.items())]
    return {"parameters": found} if found else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _tags(execution: Execution, final: bool) -> Content:
    """What OpenLineage has no facet for: the ids on this side, and whether anything ran at all."""
    told = {"execution": str(execution.id), "run": execution.run}
    told |= {"cached": "true"} if final and execution.is_cached else {}
    return {"tags": [{"key": key, "value": value, "source": "BRAID"} for key, value in told.items() if value]}


def _error(execution: Execution) -> Content | None:
    failure = failure_of(execution)
    if failure is None:
        return None
    trace = _trace(failure.traceback)
    told = {"message": failure.message, "programmingLanguage": "PYTHON"}
    return told | {"stackTrace": trace} if trace else told


def _trace(path: str) -> str:
    """What the file of a traceback holds; '' where it was cleared away since."""
    try:
        return storage.read_text(path) if path else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _code(execution: Execution) -> Content | None:
    """The commit by its Software Heritage identifier, which is a URI wherever the repository may be."""
    code = code_of(execution)
    if code is None or not _COMMIT.fullmatch(code.commit):
        return None
    dirty = "-dirty" if code.dirty else ""
    return {"type": "git", "url": f"swh:1:rev:{code.commit}", "version": f"{code.commit}{dirty}"}


def _sql(execution: Execution) -> Content | None:
    config = execution.properties.get("config")
    sql = config.get("sql") if isinstance(config, dict) else None
    return {"query": sql, "dialect": "duckdb"} if isinstance(sql, str) else None
