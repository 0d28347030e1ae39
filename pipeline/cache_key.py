"""The cache key of a step: all that its outputs depend on, by content; and how two keys differ. Loads no TFX."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beam_jobs import storage

CONTEXT_TYPE = "braid_cache"
"""The MLMD context that holds all executions with one key; its name is the key's digest."""
PARTS = "key"
"""The context's property that holds the key."""

_NO_CONTENT = frozenset(
    {
        # what a folder holds, which its digest stands for
        *("tree_digest", "content_digest", "bytes", "files_count", "digest"),
        # where things lie, and MLMD's numbers of them
        *("files", "schema_path", "pushed_destination", "withdrawn_from", "published", "input_fingerprint"),
        *(
            "model",
            "model_id",
            "current_model",
            "current_model_id",
            "current_model_digest",
            "baseline_model",
            "baseline_model_id",
        ),
        # how its making went
        *("resumed_epochs", "ledger", "seconds", "peak_memory", "memory", "inferred", "reason", "blessing_message"),
        # TFX's bookkeeping
        *("tfx_version", "is_external", "name", "state", "pipeline_name", "producer_component"),
    }
)
"""Properties of artifacts that may differ where the content is the same, and that no step's outputs depend on."""


@dataclass(frozen=True)
class CacheKey:
    """What a step's outputs depend on.

    Attributes:
      component: the component's class.
      parameters: its execution parameters as text.
      inputs: for each input, the identities of its artifacts in order; see `identity`.
      code: digests of the definitions of this project that its executor reaches.
      environment: the lock's digest and Python's minor version.
    """

    component: str
    parameters: Mapping[str, str]
    inputs: Mapping[str, Sequence[str]]
    code: Mapping[str, str]
    environment: Mapping[str, str]

    def to_json(self) -> str:
        """The same text for the same key."""
        return json.dumps(vars(self), sort_keys=True, default=list)

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> "CacheKey":
        """Reads a key back."""
        parts = json.loads(text) if isinstance(text, str) else text
        return cls(**parts)

    @property
    def digest(self) -> str:
        """BLAKE2b-128 of the key, in hexadecimal."""
        return storage.text_digest(self.to_json())


@dataclass(frozen=True)
class Difference:
    """One part of a key that changed.

    Attributes:
      part: 'component', 'parameter', 'input', 'code' or 'environment'.
      name: which parameter, input, definition or fact.
      before: None for what was not there.
      after: None for what is no longer there.
    """

    part: str
    name: str
    before: str | None
    after: str | None


def identity(kind: str, properties: Mapping[str, Any], fallback: str) -> str:
    """What an artifact is by its content, whatever its id and path.

    Of a table the content is that of its data files: its manifest tells paths. Steps also read what is recorded of an
    artifact, such as its splits and its columns' types, so these count as well. What has no digest on record, being of
    another pipeline's, is known by `fallback`.
    """
    of_table = properties.get("content_digest") if "table" in properties else None
    digest = of_table or properties.get("tree_digest") or fallback
    told = recorded_content(properties)
    described = storage.text_digest(json.dumps(told, sort_keys=True, default=str))[:12] if told else ""
    return " ".join(str(word) for word in (kind, properties.get("table", ""), digest, described) if word)


def recorded_content(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Those properties of an artifact that belong to its content."""
    return {name: value for name, value in properties.items() if name not in _NO_CONTENT}


def differences(before: CacheKey, after: CacheKey) -> list[Difference]:
    """What differs, inputs first, as they are what most often does."""
    found = list(_changed("input", before.inputs, after.inputs))
    found += _changed("parameter", before.parameters, after.parameters)
    found += _changed("code", before.code, after.code)
    found += _changed("environment", before.environment, after.environment)
    found += _changed("component", {"class": before.component}, {"class": after.component})
    return found


def _changed(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Difference]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Difference(part, name, _text(old), _text(new))


def _text(value: str | Sequence[str] | None) -> str | None:
    return value if value is None or isinstance(value, str) else ", ".join(value)
