"""Goes back to an earlier version: the link is swapped in one step, and ML Metadata told who did it and why.

The order is such that a rollback that is cut off is either done or has not happened: the record first, under way; then what
keeps the withdrawn model from being pushed again, which is void while it serves; then the link; then the record, complete.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs.errors import listed
from components import serving_folder
from components.serving_folder import Root, Withdrawal
from components.withdrawn_models import MODEL_DIGEST, PUT_BACK, PUT_BACK_DIGEST, ROLLBACK, WITHDRAWN
from pipeline import property_values, stores
from pipeline.errors import RunError
from pipeline.lineage.archive import PIPELINE, PIPELINE_SUFFIX, Archive
from pipeline.lineage.records import Artifact, plain
from pipeline.scoring.model_content import check_content
from pipeline.scoring.models import locate, of_version, version_of
from pipeline.serving.versions import Version, history, in_reach, pipelines, versions
from pipeline.workspace import Workspace

_UNDER_WAY = (pb.Execution.RUNNING, pb.Execution.NEW)


@dataclass(frozen=True)
class RolledBack:
    """What a rollback came to.

    Attributes:
      withdrawn: the version that served before; None where none did.
      serves: the version that does now.
      execution: its record in ML Metadata.
    """

    pipeline: str
    folder: str
    withdrawn: Version | None
    serves: Version
    execution: int


@dataclass(frozen=True)
class _Swap:
    own: list[Version]
    withdrawn: Version | None
    target: Version

    @property
    def root(self) -> Root:
        return serving_folder.root_of(self.target.folder)


def roll_back(workspace: Workspace, model: str, to: str, why: str, by: str) -> RolledBack:
    """Makes an earlier version the one that serves, and withdraws the one that did.

    Args:
      workspace: its lock on the pipeline is held meanwhile.
      model: the pipeline, or whatever else names the model that serves.
      to: the version to go to; '' for the one that served before.
      why: for the record.
      by: who does it.

    Raises:
      RunError: there is no such model or version, it is not what was recorded, or the pipeline is running.
      BraidError: the folder cannot be written to.
    """
    if not why.strip():
        raise RunError("A rollback needs a reason.", "Say why with --why TEXT: it is put on record.")
    name = _pipeline(Archive(stores.open_store(workspace.store)), model)
    with workspace.exclusive(name):
        store = stores.open_store(workspace.store, read_only=False)
        archive = Archive(store)
        _settle(store, name)
        swap = _planned(archive, name, model, to)
        check_content(of_version(swap.target))
        with _recorded(store, name, swap, why, by) as execution:
            _swap(swap, why, by)
    return RolledBack(name, str(swap.root), swap.withdrawn, swap.target, execution)


def _pipeline(archive: Archive, model: str) -> str:
    """The pipeline that is meant, although no version may serve, or the one that does be gone."""
    return model if model in pipelines(versions(archive)) else locate(archive, model).name


def _planned(archive: Archive, name: str, model: str, to: str) -> _Swap:
    own = in_reach(versions(archive, name))
    if not own:
        raise RunError(
            f"Pipeline '{name}' has not pushed a model yet, so there is nothing to go back to.",
            "`braid models` lists what was pushed.",
        )
    now = serving_folder.named(serving_folder.folder_at(own[-1].folder))
    withdrawn = next((one for one in own if one.name == now), None)
    if model != name:
        _check_serves(archive, model, name, now)
    target = version_of(own, name, to) if to else _before(archive, name, own, now)
    if target.name == now and target.is_there:
        raise RunError(f"Version {now} of '{name}' serves already.", "`braid models` tells which one serves.")
    return _Swap(own, withdrawn if withdrawn != target else None, target)


def _check_serves(archive: Archive, model: str, name: str, now: str) -> None:
    found = locate(archive, model)
    if found.version != now:
        raise RunError(
            f"'{model}' is {found.title}, which does not serve: {f'{name}@{now}' if now else 'no version'} does.",
            f"Name the pipeline: `braid rollback {name}`; with --to VERSION the one to go to.",
        )


def _before(archive: Archive, name: str, own: Sequence[Version], now: str) -> Version:
    """The version that served before this one and was not withdrawn."""
    by_path = {one.path: one for one in own}
    served = [by_path[one.path] for one in reversed(history(archive, own)) if one.path in by_path]
    for one in served:
        if one.name != now and one.withdrawal is None:
            return one
    others = [one.name for one in own if one.name != now]
    raise RunError(
        f"No other version of '{name}' has served before and was not withdrawn.",
        f"Name one with --to: {listed(others)}." if others else "A new run trains another model.",
    )


def _swap(swap: _Swap, why: str, by: str) -> None:
    root = swap.root
    try:
        told = serving_folder.withdrawals(root)
        if swap.withdrawn is not None:
            told[swap.withdrawn.name] = Withdrawal(_digest(swap.withdrawn), why, by, time.time())
        told.pop(swap.target.name, None)
        serving_folder.note_withdrawals(root, told)
        serving_folder.point(root, swap.target.name)
    except OSError as error:
        raise RunError(
            f"'{root}' cannot be written to: {error.strerror or error}; version "
            f"{swap.withdrawn.name if swap.withdrawn else ''} serves as before.",
            "Check that the folder can be written to and that the disk has room.",
        ) from error


def _digest(version: Version) -> str:
    """The digest by which the Pusher knows the model."""
    recorded = str(version.pushes[-1].custom("pushed_digest") or "")
    return recorded or (serving_folder.digest_of(version.path) if version.is_there else "")


@contextmanager
def _recorded(store: mlmd.MetadataStore, name: str, swap: _Swap, why: str, by: str) -> Iterator[int]:
    """Around the swap: an execution that is under way, then complete, or failed where it raises."""
    execution = _execution(store, name, swap, why, by)
    context = store.get_context_by_type_and_name(PIPELINE, f"{name}{PIPELINE_SUFFIX}")
    read = [(swap.target.pushes[-1], PUT_BACK)]
    read += [(swap.withdrawn.pushes[-1], WITHDRAWN)] if swap.withdrawn is not None else []
    pairs = [_read(artifact, key) for artifact, key in read]
    (execution.id, _, _) = store.put_execution(execution, pairs, [context] if context else [])
    try:
        yield execution.id
    except BaseException as error:
        # Where the link has been swapped, an interrupt came too late.
        is_done = serving_folder.named(swap.root) == swap.target.name
        _end(store, execution.id, is_done, str(error) or type(error).__name__)
        raise
    _end(store, execution.id, True)


def _execution(store: mlmd.MetadataStore, name: str, swap: _Swap, why: str, by: str) -> pb.Execution:
    kind = store.put_execution_type(pb.ExecutionType(name=ROLLBACK))
    execution = pb.Execution(type_id=kind, type=ROLLBACK, last_known_state=pb.Execution.RUNNING)
    facts: dict[str, str | int] = {
        "pipeline": name,
        "why": why,
        "by": by,
        "folder": str(swap.root),
        "withdrawn_version": swap.withdrawn.name if swap.withdrawn else "",
        "put_back_version": swap.target.name,
        MODEL_DIGEST: _model_digest(swap.withdrawn),
        PUT_BACK_DIGEST: _model_digest(swap.target),
    }
    for key, fact in facts.items():
        execution.custom_properties[key].CopyFrom(property_values.value(fact))
    return execution


def _model_digest(version: Version | None) -> str:
    model = version.model if version else None
    return str(model.custom("tree_digest") or "") if model else ""


def _read(artifact: Artifact, key: str) -> tuple[pb.Artifact, pb.Event]:
    event = pb.Event(type=pb.Event.INPUT, artifact_id=artifact.id)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return artifact.proto, event


def _end(store: mlmd.MetadataStore, execution: int, is_done: bool, error: str = "") -> None:
    (record,) = store.get_executions_by_id([execution])
    record.last_known_state = pb.Execution.COMPLETE if is_done else pb.Execution.FAILED
    if not is_done:
        record.custom_properties["error"].CopyFrom(property_values.value(error))
    store.put_executions([record])


def _settle(store: mlmd.MetadataStore, name: str) -> None:
    """Ends the records of rollbacks of the pipeline that were killed: the link tells whether they were done."""
    for record in store.get_executions_by_type(ROLLBACK):
        told = plain(record.custom_properties)
        if record.last_known_state in _UNDER_WAY and told.get("pipeline") == name:
            now = serving_folder.named(serving_folder.root_of(str(told.get("folder"))))
            _end(store, record.id, now == told.get("put_back_version"), "It was cut off.")
