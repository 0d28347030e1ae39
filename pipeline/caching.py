"""The cache of steps: found by content, checked against storage, and never TFX's, which goes by ids and trusts its records."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration import metadata
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs import storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import FolderDigest, MissingFolderError, folder_digest, folder_size
from beam_jobs.table import written_digests
from pipeline.cache_key import CONTEXT_TYPE, PARTS, CacheKey, identity
from pipeline.lineage.records import plain
from pipeline.property_values import text_of, unindexed

FULLY_READ_BYTES = 64 << 20
"""An output of up to so many bytes is read to check it; of a larger one, files and sizes are compared."""

MODULE_FILE = "module_file"
"""The parameter by which steps of TFX name a file of the user's code."""

Artifacts = Mapping[str, Sequence[Artifact]]
Undone = Callable[[dict[str, list[Artifact]]], str]
"""Says of earlier outputs why what the step did outside of them no longer holds; '' when it does."""


@dataclass(frozen=True)
class Hit:
    """Outputs that can be used again.

    Attributes:
      execution: the one that wrote them.
    """

    execution: int
    outputs: dict[str, list[Artifact]]


def key_of(
    component: str, parameters: Mapping[str, Any], inputs: Artifacts, code: Mapping[str, str], lock_digest: str
) -> CacheKey:
    """The key of a step that is about to run."""
    minor = ".".join(platform.python_version_tuple()[:2])
    return CacheKey(
        component=component,
        parameters={name: _parameter(name, value) for name, value in parameters.items()},
        inputs={name: [_identity(artifact) for artifact in artifacts] for name, artifacts in inputs.items()},
        code=dict(code),
        environment={"lock": lock_digest, "python": minor},
    )


def _parameter(name: str, value: Any) -> str:
    text = str(value)
    is_code = name == MODULE_FILE and text and storage.exists(text)
    return f"{text} {storage.content_digest(text)}" if is_code else text


def _identity(artifact: Artifact) -> str:
    proto = artifact.mlmd_artifact
    properties = plain(proto.properties) | plain(proto.custom_properties)
    return identity(artifact.type_name, properties, f"artifact:{artifact.id}")


def register(handle: metadata.Metadata, key: CacheKey) -> pb.Context:
    """The context of the key, made if there is none."""
    kind = pb.ContextType(name=CONTEXT_TYPE)
    kind_id = handle.store.put_context_type(kind)
    known = handle.store.get_context_by_type_and_name(CONTEXT_TYPE, key.digest)
    if known is not None:
        return known
    context = pb.Context(type_id=kind_id, type=CONTEXT_TYPE, name=key.digest)
    context.custom_properties[PARTS].CopyFrom(unindexed(pb.Value(string_value=key.to_json())))
    try:
        (context.id,) = handle.store.put_contexts([context])
    except mlmd.errors.AlreadyExistsError:  # another workspace that shares the store was quicker
        return handle.store.get_context_by_type_and_name(CONTEXT_TYPE, key.digest)
    return context


def recorded_key(handle: metadata.Metadata, digest: str) -> CacheKey | None:
    """The key of that digest, if a step ever had it."""
    context = handle.store.get_context_by_type_and_name(CONTEXT_TYPE, digest) if digest else None
    text = text_of(context.custom_properties[PARTS]) if context is not None else None
    return CacheKey.from_json(text) if text else None


def lost_outputs(handle: metadata.Metadata, execution: int, undone: Undone | None = None) -> list[str]:
    """Why outputs of an execution cannot be used; none when all are what was recorded."""
    return _lost_of(_outputs(handle, execution), undone)


def find(handle: metadata.Metadata, context: pb.Context, undone: Undone | None = None) -> tuple[Hit | None, list[str]]:
    """The newest outputs made under the key that are all there, and why the very newest cannot be used."""
    why_not: list[str] = []
    executions = handle.store.get_executions_by_context(context.id)
    # Those that came from the cache themselves have no outputs but these.
    made = (execution for execution in executions if execution.last_known_state == pb.Execution.COMPLETE)
    for execution in sorted(made, key=lambda e: e.id, reverse=True):
        outputs = _outputs(handle, execution.id)
        lost = _lost_of(outputs, undone)
        if not lost:
            return Hit(execution.id, outputs), why_not
        why_not = why_not or lost
    return None, why_not


def _lost_of(outputs: dict[str, list[Artifact]], undone: Undone | None) -> list[str]:
    lost = [words for artifacts in outputs.values() for artifact in artifacts if (words := _lost(artifact))]
    if lost or undone is None or not outputs:
        return lost
    return [words for words in (undone(outputs),) if words]


def _outputs(handle: metadata.Metadata, execution: int) -> dict[str, list[Artifact]]:
    events = [e for e in handle.store.get_events_by_execution_ids([execution]) if e.type == pb.Event.OUTPUT]
    protos = {a.id: a for a in handle.store.get_artifacts_by_id([event.artifact_id for event in events])}
    kinds = {kind.id: kind for kind in handle.store.get_artifact_types()}
    found: dict[str, list[Artifact]] = {}
    for event in sorted(events, key=lambda e: [step.index for step in e.path.steps if step.HasField("index")]):
        proto = protos[event.artifact_id]
        made = artifact_utils.deserialize_artifact(kinds[proto.type_id], proto)
        found.setdefault(event.path.steps[0].key, []).append(made)
    return found


def _lost(artifact: Artifact) -> str:
    """Why an artifact cannot be used; '' when it is what was recorded."""
    if artifact.mlmd_artifact.state != pb.Artifact.LIVE:
        return f"'{artifact.uri}' was removed by gc"
    recorded = plain(artifact.mlmd_artifact.custom_properties)
    try:
        if "tree_digest" not in recorded:
            return "" if folder_size(artifact.uri)[0] else f"'{artifact.uri}' is empty"
        if recorded["bytes"] > FULLY_READ_BYTES:
            same = folder_size(artifact.uri) == (recorded["files_count"], recorded["bytes"])
        else:
            same = folder_digest(artifact.uri).digest == recorded["tree_digest"]
    except MissingFolderError:
        # A bucket knows no empty folders.
        return (
            "" if recorded.get("files_count") == 0 and storage.is_remote(artifact.uri) else f"'{artifact.uri}' is gone"
        )
    except DataError as error:
        return f"'{artifact.uri}' cannot be checked: {error}"
    return "" if same else f"'{artifact.uri}' is not what it was"


def describe(outputs: Artifacts, told: execution_result_pb2.ExecutorOutput) -> None:
    """Records on each output what its folder holds: `tree_digest`, `bytes` and `files_count`.

    Call it as the step has ended: of the files of tables it takes the digests that their jobs took while writing.

    Args:
      outputs: as the executor was given them.
      told: what it returned, which TFX publishes in their place.
    """
    protos = [artifact.mlmd_artifact for artifacts in outputs.values() for artifact in artifacts]
    protos += [proto for artifacts in told.output_artifacts.values() for proto in artifacts.artifacts]
    held = {uri: _held(uri) for uri in {proto.uri for proto in protos}}
    for proto in protos:
        found = held[proto.uri]
        proto.custom_properties["tree_digest"].string_value = found.digest
        proto.custom_properties[
            "bytes"
        ].double_value = found.bytes  # a store on PostgreSQL takes no integer beyond 2^31
        proto.custom_properties["files_count"].int_value = found.files


def _held(uri: str) -> FolderDigest:
    try:
        return folder_digest(uri, known=written_digests(uri))
    except MissingFolderError:  # nothing was written
        return FolderDigest(storage.text_digest("[]"), 0, 0)


def holds_files(artifact: Artifact) -> bool:
    """Whether anything was written there."""
    try:
        return folder_size(artifact.uri)[0] > 0
    except DataError:
        return False
