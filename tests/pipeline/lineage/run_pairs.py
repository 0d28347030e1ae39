"""Two runs of a step each, in a store of their own, for tests of what differs between them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb
from store_factory import RECORDED, World, sqlite_store, write

from pipeline.lineage.archive import RUN, Archive
from pipeline.lineage.differences import Difference, diff

RUNS = ("run-1", "run-2")


@dataclass
class RunPair:
    """A world of two runs, and what the runs themselves record."""

    folder: Path
    told: str = RECORDED
    world: World = field(default_factory=World)
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def place(self, run: str, step: str) -> Path:
        """The folder of a step's output, which is made."""
        folder = self.folder / run / step
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def step(
        self,
        step: str,
        kind: str,
        *outputs: Mapping[str, Any],
        files: Mapping[str, str | bytes] | tuple[Mapping[str, str | bytes], ...] = (),
        **options: Any,
    ) -> None:
        """Adds a step to both runs; `outputs` are the properties of its output in the first and in the second."""
        for number, (run, properties) in enumerate(zip(RUNS, outputs, strict=True)):
            folder = self.place(run, step)
            for name, content in (files[number] if files else {}).items():  # type: ignore[index]
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            artifact = self.world.artifact(kind, str(folder), **{k: as_property(v) for k, v in properties.items()})
            self.world.execute(step, {}, {"out": [artifact]}, run=run, told=self.told, **options)

    def run_facts(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """What the runs record of themselves."""
        self.facts = dict(zip(RUNS, (before, after), strict=True))

    def archive(self) -> Archive:
        """The store, written."""
        store = sqlite_store(self.folder / "store.sqlite")
        write(self.world, store)
        for run, facts in self.facts.items():
            context = store.get_context_by_type_and_name(RUN, run)
            for name, value in facts.items():
                context.custom_properties[name].CopyFrom(as_value(as_property(value)))
            store.put_contexts([context])
        return Archive(store)

    def diff(self, bound: float = 0.01) -> Difference:
        """From the first run to the second."""
        return diff(self.archive(), *RUNS, bound)


def as_property(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def as_value(value: Any) -> pb.Value:
    if isinstance(value, str):
        return pb.Value(string_value=value)
    return pb.Value(double_value=value) if isinstance(value, float) else pb.Value(int_value=value)


def told(difference: Difference, kind: str) -> list[tuple[str, Any, Any]]:
    """Where, before and after of each change of a kind."""
    return [(change.where, change.before, change.after) for change in difference.changes if change.kind == kind]
