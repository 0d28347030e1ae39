"""Metadata stores for tests: what is built is kept in plain Python, and written through ML Metadata's own client.

A `World` numbers its artifacts and executions from 0; `write` puts it into a store and tells their ids there.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.stores import open_store

if TYPE_CHECKING:
    from servers import StoreServer

TYPES = ("SourceTable", "Examples", "Schema", "ExampleStatistics", "Model", "ModelBlessing", "PushedModel")
RECORDED, CONTEXTS, NOWHERE = "recorded", "contexts", "nowhere"
_AT_ONCE = 1_000  # rows of one call, which the client sends as one transaction


@dataclass(frozen=True)
class Thing:
    """An artifact."""

    type: str
    uri: str
    name: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """An execution.

    Attributes:
      told: how the store tells its run, step and pipeline: `RECORDED` as properties beside TFX's contexts, as Braid does;
        by `CONTEXTS` alone, as TFX does; `NOWHERE`.
    """

    pipeline: str
    run: str
    step: str
    type: str
    state: str
    told: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """An event: `kind` is MLMD's name for its type; one event has a key for each input or output that the artifact is."""

    artifact: int
    execution: int
    kind: str
    keys: tuple[str, ...]


@dataclass
class World:
    """What has been built so far."""

    artifacts: list[Thing] = field(default_factory=list)
    executions: list[Attempt] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def artifact(self, kind: str = "Examples", uri: str | None = None, name: str = "", **properties: Any) -> int:
        """Adds an artifact that nothing made."""
        number = len(self.artifacts)
        self.artifacts.append(Thing(kind, f"/store/{kind}/{number}" if uri is None else uri, name, properties))
        return number

    def execute(
        self,
        step: str,
        inputs: Mapping[str, Sequence[int]] | None = None,
        outputs: Mapping[str, Sequence[int]] | None = None,
        *,
        run: str = "run-1",
        pipeline: str = "flights",
        state: str = "COMPLETE",
        kind: str = "",
        told: str = RECORDED,
        events: tuple[str, str] = ("INPUT", "OUTPUT"),
        properties: Mapping[str, Any] | None = None,
    ) -> int:
        """Adds an execution that read and wrote artifacts, by key."""
        number = len(self.executions)
        self.executions.append(Attempt(pipeline, run, step, kind or f"component.{step}", state, told, properties or {}))
        for kind_of_event, by_key in zip(events, (inputs or {}, outputs or {}), strict=True):
            keys: dict[int, list[str]] = {}
            for key, artifacts in by_key.items():
                for artifact in dict.fromkeys(artifacts):
                    keys.setdefault(artifact, []).append(key)
            self.links += [Link(artifact, number, kind_of_event, tuple(found)) for artifact, found in keys.items()]
        return number

    def linked(self, execution: int, kind: str) -> list[int]:
        """The artifacts that an execution is linked to by events of this kind."""
        return [link.artifact for link in self.links if link.execution == execution and link.kind == kind]


@dataclass(frozen=True)
class Written:
    """Ids in the store, by number in the world."""

    artifacts: list[int]
    executions: list[int]


def sqlite_store(path: Path) -> mlmd.MetadataStore:
    """Opens a store in a file, made where it is not there."""
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return mlmd.MetadataStore(config)


def server_store(server: "StoreServer") -> mlmd.MetadataStore:
    """Opens the store in a server's database for lineage, made where it is not there."""
    return open_store(server.address("lineage"), read_only=False)


def write(world: World, store: mlmd.MetadataStore) -> Written:
    """Writes the world behind what the store holds already."""
    artifact_types = {
        kind: store.put_artifact_type(pb.ArtifactType(name=kind)) for kind in {thing.type for thing in world.artifacts}
    }
    execution_types = {
        kind: store.put_execution_type(pb.ExecutionType(name=kind)) for kind in {one.type for one in world.executions}
    }
    artifacts = _ids(store.put_artifacts, [_artifact(thing, artifact_types) for thing in world.artifacts])
    executions = _ids(store.put_executions, [_execution(one, execution_types) for one in world.executions])
    written = Written(artifacts, executions)
    events = [_event(link, written) for link in world.links]
    for start in range(0, len(events), _AT_ONCE):
        store.put_events(events[start : start + _AT_ONCE])
    _associate(store, world, written)
    return written


def _ids(put: Any, records: list[Any]) -> list[int]:
    return [id_ for start in range(0, len(records), _AT_ONCE) for id_ in put(records[start : start + _AT_ONCE])]


def _artifact(thing: Thing, types: Mapping[str, int]) -> Any:
    proto = pb.Artifact(type_id=types[thing.type], uri=thing.uri, state=pb.Artifact.LIVE)
    if thing.name:
        proto.name = thing.name
    _set(proto.custom_properties, thing.properties)
    return proto


def _execution(one: Attempt, types: Mapping[str, int]) -> Any:
    proto = pb.Execution(type_id=types[one.type], last_known_state=pb.Execution.State.Value(one.state))
    _set(proto.custom_properties, one.properties)
    if one.told == RECORDED:
        _set(proto.custom_properties, {"run": one.run, "step": one.step, "pipeline": one.pipeline})
    return proto


def _set(properties: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, str):
            properties[key].string_value = value
        elif isinstance(value, float):
            properties[key].double_value = value
        else:
            properties[key].int_value = value


def _event(link: Link, written: Written) -> Any:
    event = pb.Event(
        artifact_id=written.artifacts[link.artifact],
        execution_id=written.executions[link.execution],
        type=pb.Event.Type.Value(link.kind),
    )
    for index, key in enumerate(link.keys):
        event.path.steps.add().key = key
        event.path.steps.add().index = index
    return event


def _associate(store: mlmd.MetadataStore, world: World, written: Written) -> None:
    """Makes the contexts as TFX makes them: the pipeline, the run, and the node under `<pipeline>.<node>`."""
    members: dict[tuple[str, str], list[int]] = {}
    for one, id_ in zip(world.executions, written.executions, strict=True):
        if one.told != NOWHERE:
            pipeline = f"{one.pipeline}-pipeline"
            for context in (("pipeline", pipeline), ("pipeline_run", one.run), ("node", f"{pipeline}.{one.step}")):
                members.setdefault(context, []).append(id_)
    ids = {context: id_ for kind in {kind for kind, _ in members} for context, id_ in _contexts(store, kind, members)}
    pairs = [pb.Association(context_id=ids[one], execution_id=id_) for one, found in members.items() for id_ in found]
    for start in range(0, len(pairs), _AT_ONCE):
        store.put_attributions_and_associations([], pairs[start : start + _AT_ONCE])


def _contexts(
    store: mlmd.MetadataStore, kind: str, wanted: Iterable[tuple[str, str]]
) -> list[tuple[tuple[str, str], int]]:
    """The ids of the contexts of a type, made where they are not there."""
    type_id = store.put_context_type(pb.ContextType(name=kind))
    there = {context.name: context.id for context in store.get_contexts_by_type(kind)}
    new = [name for of_kind, name in wanted if of_kind == kind and name not in there]
    made = _ids(store.put_contexts, [pb.Context(type_id=type_id, name=name) for name in new])
    return [((kind, name), id_) for name, id_ in (there | dict(zip(new, made, strict=True))).items()]


def put_run(store: mlmd.MetadataStore, run: str) -> None:
    """Adds a run that ended before its first step."""
    _contexts(store, "pipeline_run", [("pipeline_run", run)])


def random_world(draw: random.Random, executions: int, pipelines: int = 3) -> World:
    """Pipelines that ran many times: from the cache, failing, tried again, sharing what they read."""
    world = World()
    while len(world.executions) < executions:
        _grow(world, draw, f"pipeline-{draw.randrange(pipelines)}")
    return world


def _grow(world: World, draw: random.Random, pipeline: str) -> None:
    kind = draw.choice(
        ("fresh", "fresh", "fresh", "cached", "cached", "failed", "retried", "resolver", "imported", "lone")
    )
    place = {
        "pipeline": pipeline,
        "run": f"{draw.choice(('', 'night/', 'shared/'))}{draw.choice((pipeline, 'any'))}-{draw.randrange(3)}",
        "told": draw.choice((RECORDED, CONTEXTS, CONTEXTS, NOWHERE)),
    }
    step = draw.choice(("ingest", "prepare", "train.fast", "train", "push"))
    if kind == "lone":
        world.artifact(draw.choice(TYPES))
    elif kind == "cached":
        _from_cache(world, draw, place)
    elif kind == "resolver":
        seen, found = {"all": _some(world, draw)}, {"model": _some(world, draw)}
        events = ("INTERNAL_INPUT", "INTERNAL_OUTPUT")
        world.execute("champion", seen, found, kind="tfx.Resolver", events=events, **place)
    elif kind == "imported":  # TFX's Importer writes an artifact that is there already
        world.execute("import", {}, {"result": _some(world, draw) or [world.artifact("Schema")]}, **place)
    elif kind == "failed":
        _fail(world, draw, step, place)
    else:
        if kind == "retried":
            _fail(world, draw, step, place)
        _run(world, draw, step, place)


def _run(world: World, draw: random.Random, step: str, place: dict[str, str]) -> None:
    inputs = _inputs(world, draw)
    outputs = {
        key: [world.artifact(draw.choice(TYPES)) for _ in range(draw.randrange(1, 3))]
        for key in draw.sample(("examples", "model", "schema"), draw.randrange(4))
    }
    events = draw.choice((("INPUT", "OUTPUT"), ("INPUT", "OUTPUT"), ("DECLARED_INPUT", "DECLARED_OUTPUT")))
    number = world.execute(step, inputs, outputs, events=events, **place)
    if events[0] == "INPUT" and draw.random() < 0.3:  # declared first, then done: two events of one pair
        done = [link for link in world.links if link.execution == number]
        world.links += [Link(link.artifact, number, f"DECLARED_{link.kind}", link.keys) for link in done]


def _fail(world: World, draw: random.Random, step: str, place: dict[str, str]) -> None:
    """An attempt that did not end well; what it only announced, or what it left half done, may be on record."""
    inputs = _inputs(world, draw)
    left = {"model": [world.artifact("Model")]} if draw.random() < 0.5 else {}
    events = ("INPUT", draw.choice(("PENDING_OUTPUT", "OUTPUT")))
    state = draw.choice(("FAILED", "CANCELED", "RUNNING", "NEW"))
    world.execute(step, inputs, left, state=state, events=events, **place)


def _from_cache(world: World, draw: random.Random, place: dict[str, str]) -> None:
    """The outputs of an earlier execution again: for the same inputs, or for others with the same content.

    Now and then nothing but executions from the cache is on record of an artifact.
    """
    if draw.random() < 0.2:
        world.execute("ingest", _inputs(world, draw), {"table": [world.artifact()]}, state="CACHED", **place)
        return
    if not world.executions:
        return
    earlier = draw.randrange(len(world.executions))
    same = {"examples": world.linked(earlier, "INPUT")}
    inputs = same if draw.random() < 0.5 else _inputs(world, draw)
    wrote = {"model": world.linked(earlier, "OUTPUT")}
    world.execute(world.executions[earlier].step, inputs, wrote, state="CACHED", **place)


def _inputs(world: World, draw: random.Random) -> dict[str, list[int]]:
    """Artifacts of any age, sometimes one of them under two keys."""
    some = _some(world, draw)
    return {"examples": some, "baseline": some[:1]} if draw.random() < 0.3 else {"examples": some}


def _some(world: World, draw: random.Random) -> list[int]:
    count = min(len(world.artifacts), draw.randrange(4))
    return draw.sample(range(len(world.artifacts)), count)
