"""Outputs outside of the workspace: where a run puts them, and what its executions record of that.

In the workspace, folders tell by their names whose they are. In a root that others share, and in a bucket, where to list
is slow, an execution names its folders before it writes to them.
"""

import json
import logging
from collections.abc import Iterable
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs import storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import folder_size
from pipeline.errors import RunError
from pipeline.property_values import text_of
from pipeline.workspace import Workspace

ROOT = "root"
"""The property of a run and its executions with the folder of the pipeline's outputs, where it is not in the workspace."""
FOLDERS = "folders"
"""The property of an execution with the folders that it writes to, as JSON, until they are removed."""


def facts(workspace: Workspace, pipeline: str, root: str) -> dict[str, str]:
    """What a run records of the folder that its outputs go to; nothing for the workspace's own."""
    return {ROOT: workspace.pipeline_root(pipeline, root)} if root else {}


def claimed(folders: Iterable[str]) -> str:
    """The folders that an execution is about to write to, for its record.

    Raises:
      RunError: one of them holds files, and so is another's.
    """
    found = sorted(set(folders))
    for folder in found:
        if _holds_files(folder):
            raise RunError(
                f"'{folder}', which this step would write to, holds files already: the metadata store counts from an "
                "earlier state, or a copy of this workspace writes there.",
                "Give this workspace a folder of its own there: delete the file 'ids.json' in it, and run again.",
            )
    return json.dumps(found)


def _holds_files(folder: str) -> bool:
    try:
        return folder_size(folder)[0] > 0
    except DataError:
        return False


def remove_recorded(executions: Iterable[pb.Execution]) -> list[pb.Execution]:
    """Removes the folders that executions have on record, and takes them off it; returns those that are to be stored.

    What cannot be removed now stays on record for the next time.
    """
    changed = []
    for execution in executions:
        folders = _recorded(execution)
        try:
            for folder in folders:
                storage.remove_tree(folder)
        except OSError as error:
            logging.warning("What execution %d has written stays: %s", execution.id, error)
            continue
        if folders:
            del execution.custom_properties[FOLDERS]
            changed.append(execution)
    return changed


def _recorded(execution: pb.Execution) -> list[str]:
    properties: Any = execution.custom_properties
    return [str(folder) for folder in json.loads(text_of(properties[FOLDERS]) or "[]")] if FOLDERS in properties else []
