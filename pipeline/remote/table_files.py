"""The files that a remote job read and wrote: the service does not hand on what its workers tell of them, manifests do."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tfx.orchestration.portable import data_types
from tfx.types.artifact import Artifact

from beam_jobs import storage
from beam_jobs.folder_digest import MissingFolderError, files_in
from beam_jobs.table import MANIFEST, Table

_NAMED = 100
"""Beam names up to so many files of a job; of more, their folder."""


def fill_in(properties: Any, info: data_types.ExecutionInfo) -> None:
    """Sets `io_sources` and `io_sinks` on an execution that ran a job, where the runner has told nothing.

    Args:
      properties: of the execution, as protos by name; changed.
      info: the execution's inputs and outputs.
    """
    found = {
        "io_sources": [*_source_files(info.exec_properties), *_files(info.input_dict.values())],
        "io_sinks": list(_files(info.output_dict.values(), every=True)),
    }
    for key, files in found.items():
        if key in properties and properties[key].string_value == "[]":
            properties[key].string_value = json.dumps(sorted(set(files)))


def _source_files(parameters: Any) -> list[str]:
    """Those of a source, from what its step was told of them."""
    return _named([str(file["path"]) for file in json.loads(parameters.get("files") or "[]")])


def _files(artifacts: Any, every: bool = False) -> Iterator[str]:
    for one in (artifact for several in artifacts for artifact in several):
        yield from _named(_files_of(one, every))


def _files_of(artifact: Artifact, every: bool) -> Sequence[str]:
    uri = artifact.uri.rstrip("/")
    if not storage.exists(f"{uri}/{MANIFEST}"):
        return _all_in(uri) if every else []  # of other inputs the step itself knows what it reads
    table = Table.load(uri)
    return [table.path(part) for part in table.parts]


def _all_in(uri: str) -> Sequence[str]:
    try:
        return [path for _, path in files_in(uri)]
    except MissingFolderError:  # a bucket has no empty folders
        return []


def _named(files: Sequence[str]) -> list[str]:
    if len(files) <= _NAMED:
        return list(files)
    return sorted({f"{path.rpartition('/')[0]}/*" for path in files})
