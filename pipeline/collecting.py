"""Deletes what nothing needs any more, and pins runs: all that lineage writes to ML Metadata and to disk.

The order is safe at every moment: what is to go is first marked in the store, where nobody will take it from the cache
any more, then deleted, then marked as gone. A later gc finishes what one that was cut off has begun.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from beam_jobs import storage
from pipeline import stores
from pipeline.lineage import naming, retention
from pipeline.lineage.archive import PIPELINE, PIPELINE_SUFFIX, Archive
from pipeline.lineage.keeping import PINNED, Policy
from pipeline.lineage.retention import Plan, Removal
from pipeline.property_values import text_of
from pipeline.roots import ROOT
from pipeline.workspace import Workspace

_AT_ONCE = 1_000  # artifacts of one call, which the client sends as one transaction


@dataclass(frozen=True)
class Collected:
    """What a gc came to.

    Attributes:
      plan: what was to be deleted.
      deleted: what is gone now.
      failed: what could not be deleted, each with the reason; it stays marked, and the next gc tries again.
    """

    plan: Plan
    deleted: tuple[Removal, ...]
    failed: tuple[tuple[Removal, str], ...]


def roots(archive: Archive, workspace: Workspace) -> dict[str, str]:
    """The folders that the workspace's pipelines have written outputs to, each with its pipeline.

    Those outside of the workspace are on record with the executions, and bear its id: others' are passed over.
    """
    names = [c.name.removesuffix(PIPELINE_SUFFIX) for c in archive.store.get_contexts_by_type(PIPELINE)]
    inside = {workspace.pipeline_root(name): name for name in names}
    found = {folder: name for folder, name in inside.items() if os.path.isdir(folder)}
    outside = {_root_and_pipeline(execution) for execution in archive.store.get_executions()}
    return found | {root: name for root, name in outside if root and workspace.owns_root(root, name)}


def _root_and_pipeline(execution: pb.Execution) -> tuple[str, str]:
    properties: Any = execution.custom_properties
    root, name = (text_of(properties[key]) or "" if key in properties else "" for key in (ROOT, "pipeline"))
    return root, name


def collect(workspace: Workspace, policy: Policy, advance: Callable[[Removal], None] = lambda _: None) -> Collected:
    """Deletes what nothing needs.

    No pipeline of the workspace runs meanwhile: their locks are held from before it is planned what to delete.

    Args:
      workspace: whose outputs they are; nothing outside of its folders is deleted, be they in a bucket.
      policy: what is kept although it does not serve.
      advance: called with each folder before it is deleted.

    Raises:
      RunError: a pipeline is running, or the store cannot be written to.
    """
    archive = Archive(stores.open_store(workspace.store))
    with _all_locked(workspace, set(roots(archive, workspace).values())):
        archive = Archive(stores.open_store(workspace.store, read_only=False))
        plan = retention.plan(archive, roots(archive, workspace), policy)
        _mark(archive.store, [id_ for one in plan.removals for id_ in one.artifacts], pb.Artifact.MARKED_FOR_DELETION)
        deleted, failed = [], []
        for removal in plan.removals:
            advance(removal)
            problem = _delete(removal.path)
            if problem:
                failed.append((removal, problem))
                continue
            _mark(archive.store, removal.artifacts, pb.Artifact.DELETED)
            deleted.append(removal)
    return Collected(plan, tuple(deleted), tuple(failed))


@contextmanager
def _all_locked(workspace: Workspace, pipelines: Collection[str]) -> Iterator[None]:
    with ExitStack() as locks:
        for name in sorted(pipelines):
            locks.enter_context(workspace.exclusive(name))
        yield


def _mark(store: mlmd.MetadataStore, artifacts: Sequence[int], state: Any) -> None:
    for start in range(0, len(artifacts), _AT_ONCE):
        found = store.get_artifacts_by_id(artifacts[start : start + _AT_ONCE])
        marked = [pb.Artifact(id=one.id, type_id=one.type_id, state=state) for one in found]
        store.put_artifacts(marked, field_mask_paths=["state"])


def _delete(path: str) -> str:
    """Deletes a folder or a file; returns why it could not be, or ''."""
    try:
        if storage.is_remote(path):
            storage.remove_tree(path)
        elif os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.remove(path)
    except OSError as error:
        return f"'{error.filename or path}': {error.strerror or error}"
    return ""


def pin(workspace: Workspace, run: str, pinned: bool = True) -> str:
    """Pins a run, so that gc keeps it, or lets it go again; returns its full name.

    Raises:
      LineageError: there is no such run.
      RunError: the store cannot be written to.
    """
    store = stores.open_store(workspace.store, read_only=False)
    archive = Archive(store)
    name = naming.find_run(archive, run)[0]
    context = archive.run(name)
    marked = pb.Context(id=context.id, type_id=context.type_id, name=context.name)
    if pinned:
        marked.custom_properties[PINNED].int_value = 1
    # Only this property, so that nothing is lost that a run records at the same time; without a value it is removed.
    store.put_contexts([marked], field_mask_paths=[f"custom_properties.{PINNED}"])
    return str(name)
