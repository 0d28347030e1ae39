"""The records of a metadata store as lineage sees them: artifacts, executions and the events between them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.property_values import text_of

_KINDS = {
    pb.Event.INPUT: True,
    pb.Event.DECLARED_INPUT: True,
    pb.Event.OUTPUT: False,
    pb.Event.DECLARED_OUTPUT: False,
}
RESOLVER = "Resolver"
_FACTS = frozenset(
    (
        *("run", "step", "pipeline", "runner", "target", "workspace", "spelling", "executor", "parameter_names"),
        *("code_commit", "code_dirty", "lock_digest", "python", "braid_version"),
        *("seconds", "counters", "io_sources", "io_sinks", "job_id"),
        *("error", "error_type", "error_signature", "traceback"),
        *("cache", "cache_key", "cache_of", "cache_unusable", "code_edited", "forced"),
    )
)
"""What Braid's launcher records on an execution beside its parameters."""


@dataclass(frozen=True)
class Artifact:
    """Something that a step made: a table, a model, a blessing."""

    proto: Any = field(repr=False)

    @property
    def id(self) -> int:
        """MLMD's id."""
        return int(self.proto.id)

    @property
    def type(self) -> str:
        """The name of its type, such as Model."""
        return str(self.proto.type)

    @property
    def uri(self) -> str:
        """The folder or bucket path that holds it."""
        return str(self.proto.uri)

    @property
    def name(self) -> str:
        """The name that TFX gave it; often ''."""
        return str(self.proto.name)

    @property
    def state(self) -> str:
        """LIVE, DELETED, ABANDONED, ... or UNKNOWN."""
        return str(pb.Artifact.State.Name(self.proto.state))

    @property
    def created(self) -> int:
        """Milliseconds since 1970, UTC."""
        return int(self.proto.create_time_since_epoch)

    @cached_property
    def properties(self) -> dict[str, Any]:
        """Declared and custom properties as plain values; JSON texts are read."""
        return plain(self.proto.properties) | plain(self.proto.custom_properties)

    def custom(self, name: str) -> Any:
        """One custom property as a plain value, the others left unread; None where it is not recorded."""
        recorded = self.proto.custom_properties
        return _value(recorded[name]) if name in recorded else None


@dataclass(frozen=True)
class Execution:
    """One attempt at a step.

    Attributes:
      run: the run's name; '' where the store does not tell.
      step: the node's id in its pipeline; its type where the store does not tell.
      pipeline: the pipeline's name.
    """

    proto: Any = field(repr=False)
    run: str
    step: str
    pipeline: str

    @property
    def id(self) -> int:
        """MLMD's id."""
        return int(self.proto.id)

    @property
    def type(self) -> str:
        """The component's class."""
        return str(self.proto.type)

    @property
    def state(self) -> str:
        """COMPLETE, CACHED, FAILED, CANCELED, RUNNING, NEW or UNKNOWN."""
        return str(pb.Execution.State.Name(self.proto.last_known_state))

    @property
    def created(self) -> int:
        """Milliseconds since 1970, UTC."""
        return int(self.proto.create_time_since_epoch)

    @property
    def is_cached(self) -> bool:
        """Whether it made nothing itself: its outputs are those of an earlier execution."""
        return bool(self.proto.last_known_state == pb.Execution.CACHED)

    @property
    def is_resolver(self) -> bool:
        """Whether it only looks up artifacts of earlier runs."""
        return self.type.endswith(RESOLVER)

    @property
    def seconds(self) -> float:
        """How long it took: as recorded, else from its first record to its last."""
        recorded = self.properties.get("seconds")  # a stranger's step may have a parameter of that name
        lasted = (self.proto.last_update_time_since_epoch - self.proto.create_time_since_epoch) / 1000
        return float(recorded if isinstance(recorded, int | float) else lasted)

    @cached_property
    def properties(self) -> dict[str, Any]:
        """Declared and custom properties as plain values; JSON texts are read."""
        return plain(self.proto.properties) | plain(self.proto.custom_properties)

    @cached_property
    def is_braids(self) -> bool:
        """Whether Braid's launcher recorded it: another's step may have a parameter with the name of one of our facts."""
        return "lock_digest" in self.properties or {"run", "step"} <= self.properties.keys()

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What the step was told to do: its properties without what was recorded about it."""
        names = self.properties.get("parameter_names")
        if isinstance(names, str) and self.is_braids:
            return {name: self.properties[name] for name in names.split(",") if name in self.properties}
        facts = _FACTS if self.is_braids else frozenset()
        return {
            name: value
            for name, value in self.properties.items()
            if name not in facts and not name.startswith(("counter:", "__"))
        }


class Event(NamedTuple):
    """An artifact went into an execution, or came out of it, under the name `key`."""

    artifact: int
    execution: int
    is_input: bool
    key: str


def events(protos: Iterable[Any], is_input: bool | None = None) -> list[Event]:
    """The flow of data that MLMD's events tell of, in one direction or both, each once.

    None where a resolver looked something up, or a step only announced it. MLMD may have one event for what a step
    declared and one for what it did, and has one for several keys.
    """
    kinds = _KINDS if is_input is None else {kind: into for kind, into in _KINDS.items() if into == is_input}
    flow = [by_key(proto, kinds[proto.type]) for proto in protos if proto.type in kinds]
    return list(dict.fromkeys(event for found in flow for event in found))


def by_key(proto: Any, is_input: bool) -> list[Event]:
    """One event for each key that the artifact has: a step may take it as two of its inputs."""
    keys = [step.key for step in proto.path.steps if step.HasField("key")] or [""]
    return [Event(proto.artifact_id, proto.execution_id, is_input, key) for key in keys]


def plain(properties: Any) -> dict[str, Any]:
    """MLMD's property values as Python's; a text that is JSON is read as such."""
    return {key: _value(value) for key, value in properties.items()}


def _value(value: pb.Value) -> Any:
    text = text_of(value)
    if text is not None:
        return _read(text)
    kind = value.WhichOneof("value")
    if kind == "struct_value":
        found = json_format.MessageToDict(value.struct_value)
        return found.get("__value__", found)
    if kind == "proto_value":
        return _unpacked(value.proto_value)
    return getattr(value, kind) if kind else None


def _unpacked(packed: Any) -> Any:
    try:
        return json_format.MessageToDict(packed)
    except TypeError:  # a message of a program that is not loaded here
        return {"@type": packed.type_url}


def _read(text: str) -> Any:
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):  # it only looks like JSON
            return text
    return text
