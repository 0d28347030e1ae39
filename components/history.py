"""Artifacts of earlier runs that new ones are compared with.

Never the new ones themselves, so that a repeated run resolves the same and runs nothing again; and only those whose files
are there: in a shared store others record artifacts of their own disks.
"""

import json
from collections.abc import Iterable
from typing import Any

from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs import storage
from components import blessing
from components.withdrawn_models import withdrawn_digests


class ChampionStrategy(ResolverStrategy):
    """Resolves the last blessed model that is another than the candidate, or than every candidate where there are several.

    TFX's LatestBlessedModelStrategy would, on a repeated run, resolve the candidate itself, judge it
    against itself and so run again a step whose inputs have not changed. Models are told apart by content: one that was
    trained again, because its files were lost, is no other. One that was rolled back is no champion until it is put back.
    """

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Keeps of `model` and `blessing` at most the champion's; `candidate` passes through."""
        candidates = input_dict["candidate"]
        blessings = [artifact for artifact in input_dict["blessing"] if blessing.is_blessed(artifact)]
        others = [model for model in input_dict["model"] if not any(_same(model, one) for one in candidates)]
        withdrawn = withdrawn_digests(store)
        others = [model for model in others if blessing.digest_of(model) not in withdrawn]
        blessed = [model for model in others if any(blessing.speaks_of(one, model) for one in blessings)]
        champion = _newest_in_reach(blessed)
        verdicts = [one for one in blessings if champion and blessing.speaks_of(one, champion)]
        return {
            "model": [champion] if champion else [],
            "blessing": [max(verdicts, key=lambda one: one.id)] if verdicts else [],
            "candidate": candidates,
        }


class PreviousStrategy(ResolverStrategy):
    """Resolves the newest statistics made before the candidate's."""

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Keeps of `statistics` at most one; `candidate` passes through."""
        candidates = input_dict["candidate"]
        newest = max((candidate.id for candidate in candidates), default=0)
        before = [found for found in input_dict["statistics"] if found.id < newest]
        previous = _newest_in_reach(before)
        return {"statistics": [previous] if previous else [], "candidate": candidates}


class RecordedStrategy(ResolverStrategy):
    """Resolves artifacts by their ids, whichever pipeline made them: the model to score with, for one.

    Args:
      ids: JSON, an artifact's id by key.
    """

    def __init__(self, ids: str) -> None:
        self._ids: dict[str, int] = json.loads(ids)

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """The one artifact of each key."""
        found = {artifact.id: artifact for artifact in store.get_artifacts_by_id(self._ids.values())}
        kinds = {kind.id: kind for kind in store.get_artifact_types()}
        return {
            key: [artifact_utils.deserialize_artifact(kinds[found[id_].type_id], found[id_])]
            for key, id_ in self._ids.items()
        }


def _same(one: Artifact, other: Artifact) -> bool:
    return one.id == other.id or blessing.digest_of(one) == blessing.digest_of(other) != ""


def _newest_in_reach(artifacts: Iterable[Artifact]) -> Artifact | None:
    for artifact in sorted(artifacts, key=lambda found: found.id, reverse=True):
        if storage.is_remote(artifact.uri) or storage.exists(artifact.uri):
            return artifact
    return None
