"""`up` and `down` against a closure computed from what the generator built, by another method: a fixpoint over bit sets."""

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_factory import NOWHERE, RECORDED, World, Written, random_world, server_store, sqlite_store, write

from pipeline.lineage import ancestry, archive, belonging, walk
from pipeline.lineage.archive import Archive

Edge = tuple[int, int]
EventKey = tuple[int, int, bool, str]
READ, WROTE = ("INPUT", "DECLARED_INPUT"), ("OUTPUT", "DECLARED_OUTPUT")


class Truth:
    """What the world's links say, without a store: artifacts are nodes 0..n-1, executions n.."""

    def __init__(self, world: World) -> None:
        self.world, self.n = world, len(world.artifacts)
        self.flow = {(li.artifact, li.execution, li.kind in READ, key) for li in world.links for key in li.keys
                     if li.kind in READ + WROTE}  # fmt: skip
        writers = {(artifact, execution) for artifact, execution, is_input, _ in self.flow if not is_input}
        made = {artifact for artifact, execution in writers if not self._from_cache(execution)}
        self.makers = {(a, e) for a, e in writers if not (a in made and self._from_cache(e))}
        readers = {(a, e) for a, e, is_input, _ in self.flow if is_input}
        size = self.n + len(world.executions)
        self.above = _fixpoint(
            size, [*((a, self.n + e) for a, e in self.makers), *((self.n + e, a) for a, e in readers)]
        )
        self.below = _fixpoint(size, [*((a, self.n + e) for a, e in readers), *((self.n + e, a) for a, e in writers)])

    def _from_cache(self, execution: int) -> bool:
        return self.world.executions[execution].state == "CACHED"

    def up(self, start: Iterable[int]) -> tuple[set[int], set[int], set[EventKey]]:
        artifacts, executions = self._reached(self.above, start)
        flow = {f for f in self.flow if (f[1] in executions if f[2] else f[0] in artifacts and f[:2] in self.makers)}
        return artifacts, executions, flow

    def down(self, start: Iterable[int]) -> tuple[set[int], set[int], set[EventKey]]:
        artifacts, executions = self._reached(self.below, start)
        return artifacts, executions, {f for f in self.flow if (f[0] in artifacts if f[2] else f[1] in executions)}

    def _reached(self, rows: list[int], start: Iterable[int]) -> tuple[set[int], set[int]]:
        reached = 0
        for artifact in start:
            reached |= rows[artifact]
        nodes = {node for node in range(len(rows)) if reached >> node & 1}
        return {node for node in nodes if node < self.n}, {node - self.n for node in nodes if node >= self.n}


def _fixpoint(size: int, edges: list[Edge]) -> list[int]:
    """For each node the bit set of all that it reaches: edges are applied, from old to new and back, until all is stable."""
    rows, before = [1 << node for node in range(size)], list[int]()
    older, newer = (sorted(edges, key=lambda edge: (sign * max(edge), -edge[0])) for sign in (1, -1))
    while rows != before:
        before = list(rows)
        for source, target in [*older, *newer]:
            rows[source] |= rows[target]
    return rows


def _agree(world: World, written: Written, asked: Archive, starts: Iterable[set[int]]) -> None:
    truth = Truth(world)
    artifact, execution = written.artifacts.__getitem__, written.executions.__getitem__
    for start in starts:
        for closure, expected in (
            (walk.upstream(asked, {*map(artifact, start)}), truth.up(start)),
            (walk.downstream(asked, {*map(artifact, start)}), truth.down(start)),
        ):
            artifacts, executions, flow = expected
            assert closure.artifacts == {*map(artifact, artifacts)}
            assert closure.executions == {*map(execution, executions)}
            found = [(event.artifact, event.execution, event.is_input, event.key) for event in closure.events]
            assert sorted(found) == sorted((artifact(a), execution(e), is_input, key) for a, e, is_input, key in flow)


def _labels_agree(world: World, written: Written, asked: Archive) -> None:
    expected = [
        ("", one.type, "") if one.told == NOWHERE else (one.run, one.step, one.pipeline) for one in world.executions
    ]
    found = asked.executions(written.executions)
    assert [(one.run, one.step, one.pipeline) for one in found] == expected
    assert [(one.type, one.state) for one in found] == [(one.type, one.state) for one in world.executions]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(draw=st.randoms(use_true_random=False), size=st.integers(1, 30), portion=st.sampled_from((1, 2, 7, 10_000)))
def test_up_and_down_equal_the_closure_of_what_was_built(
    tmp_path_factory: pytest.TempPathFactory, draw: random.Random, size: int, portion: int
) -> None:
    world = random_world(draw, size)
    store = sqlite_store(tmp_path_factory.mktemp("walk") / "store.sqlite")
    written = write(world, store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "_MOST_IDS", portion)
        patch.setattr(archive, "_MOST_RECORDS", portion)
        patch.setattr(belonging, "_MOST_LOOKED_UP", draw.choice((0, 3, 100)))
        every = range(len(world.artifacts))
        several = [set(draw.sample(every, draw.randrange(len(every) + 1))) for _ in range(3)]
        _agree(world, written, Archive(store), [set(), *({one} for one in every), *several])
        _labels_agree(world, written, Archive(store))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql_server", "mysql_server"])
def test_twenty_pipelines_in_one_store(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = sqlite_store(tmp_path / "store.sqlite") if kind == "sqlite" else server_store(request.getfixturevalue(kind))
    for seed in (1, 2):  # the second behind the first: other ids, and shared runs and steps
        draw = random.Random(seed)
        world = random_world(draw, 600, pipelines=20)
        written = write(world, store)
        every = range(len(world.artifacts))
        _agree(world, written, Archive(store), [set(draw.sample(every, draw.choice((1, 1, 1, 9)))) for _ in range(60)])
        _labels_agree(world, written, Archive(store))


def _chain(steps: int) -> World:
    """Each step reads the last one's table and a source of its own, and writes a table and statistics."""
    world = World()
    table = world.artifact("Examples")
    for number in range(steps):
        source, made, side = (world.artifact(kind) for kind in ("SourceTable", "Examples", "ExampleStatistics"))
        world.execute(
            "step", {"table": [table], "source": [source]}, {"table": [made], "side": [side]}, run=f"run-{number}"
        )
        table = made
    return world


def test_a_chain_of_two_thousand_steps(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = _chain(2_000)
    store = sqlite_store(tmp_path_factory.mktemp("chain") / "store.sqlite")
    written = write(world, store)
    asked = Archive(store)
    first, last = written.artifacts[0], written.artifacts[-2]
    above = walk.upstream(asked, [last])
    assert above.executions == set(written.executions)
    assert above.artifacts == set(written.artifacts) - set(written.artifacts[3::3])
    below = walk.downstream(asked, [first])
    assert below.executions == set(written.executions)
    assert below.artifacts == set(written.artifacts) - set(written.artifacts[1::3])
    _agree(world, written, asked, [{len(world.artifacts) // 2}, {len(world.artifacts) - 1}, {1}])


def test_the_makers_inputs_count_not_those_of_who_took_it_from_the_cache(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = World()
    old, new, model = world.artifact(), world.artifact(), world.artifact("Model")
    maker = world.execute("train", {"examples": [old]}, {"model": [model]}, run="first")
    cached = world.execute("train", {"examples": [new]}, {"model": [model]}, run="second", state="CACHED")
    store = sqlite_store(tmp_path_factory.mktemp("cached") / "store.sqlite")
    written = write(world, store)
    closure = walk.upstream(Archive(store), [written.artifacts[model]])
    assert closure.executions == {written.executions[maker]}
    assert closure.artifacts == {written.artifacts[old], written.artifacts[model]}
    below = walk.downstream(Archive(store), [written.artifacts[new]])
    assert below.executions == {written.executions[cached]} and written.artifacts[model] in below.artifacts


def test_the_generator_makes_what_a_store_may_hold() -> None:
    """Else the agreement above would mean little."""
    world = random_world(random.Random(1), 500, pipelines=20)
    assert {one.state for one in world.executions} == {"COMPLETE", "CACHED", "FAILED", "CANCELED", "RUNNING", "NEW"}
    assert {link.kind for link in world.links} == {*READ, *WROTE, "INTERNAL_INPUT", "INTERNAL_OUTPUT", "PENDING_OUTPUT"}
    assert {one.told for one in world.executions} == {RECORDED, "contexts", NOWHERE}
    assert any(len(link.keys) > 1 for link in world.links)
    truth = Truth(world)
    makers = [artifact for artifact, _ in truth.makers]
    assert len(makers) > len(set(makers)) and set(makers) < set(range(truth.n))
    assert len({one.pipeline for one in world.executions}) == 20
    assert any(world.executions[execution].state == "CACHED" for _, execution in truth.makers)
    circles = (
        execution
        for execution in range(len(world.executions))
        for read in world.linked(execution, "INPUT")
        if any(truth.below[wrote] >> read & 1 for wrote in world.linked(execution, "OUTPUT"))
    )
    assert next(circles, None) is not None, "content that comes back from the cache can close a circle"


def test_lineage_holds_the_records_of_its_closure(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = random_world(random.Random(5), 60)
    store = sqlite_store(tmp_path_factory.mktemp("ancestry") / "store.sqlite")
    written = write(world, store)
    truth, asked = Truth(world), Archive(store)
    for number, id_ in enumerate(written.artifacts):
        for lineage, (artifacts, executions, flow) in (
            (ancestry.up(asked, str(id_)), truth.up([number])),
            (ancestry.down(asked, f"artifact:{id_}"), truth.down([number])),
        ):
            assert lineage.start == (id_,)
            assert set(lineage.artifacts) == {written.artifacts[one] for one in artifacts}
            assert set(lineage.executions) == {written.executions[one] for one in executions}
            assert len(lineage.events) == len(flow)
            assert all(
                lineage.artifacts[one].uri == world.artifacts[written.artifacts.index(one)].uri
                for one in lineage.artifacts
            )
