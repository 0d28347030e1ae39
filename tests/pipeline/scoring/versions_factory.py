"""A store and folders as runs leave them that train models and push them, one version after the other."""

import json
from pathlib import Path
from typing import Any

from beam_jobs.folder_digest import folder_digest
from components.pusher.pushing import push
from components.serving_folder import point
from pipeline.lineage.archive import Archive
from tests.pipeline.lineage.store_factory import World, sqlite_store, write

CONTRACT = {"task": "binary", "label": "late", "classes": [0, 1], "features": [], "family": "xgboost"}


class Pushing:
    """Models of the pipeline 'flights' in `train/N`, pushed to `serving`; ids are those in the store."""

    def __init__(self, folder: Path, contract: dict[str, Any] | None = CONTRACT) -> None:
        self.folder, self.contract = folder, contract
        self.world = World()
        self.models: list[int] = []
        self.pushes: list[int] = []
        self._written = 0

    @property
    def store_file(self) -> Path:
        return self.folder / "store.sqlite"

    def train(self, pipeline: str, run: str, content: str = "model") -> int:
        """A model that no step pushes, as an artifact of the world."""
        number = len(self.world.artifacts) + 1
        uri = self.folder / "train" / str(len([one for one in self.world.artifacts if one.type == "Model"]) + 1)
        (uri / "sub").mkdir(parents=True)
        (uri / "model.ubj").write_text(content)
        (uri / "sub/weights").write_text(f"{content}'s weights")
        if self.contract is not None:
            (uri / "contract.json").write_text(json.dumps(self.contract))
        model = self.world.artifact("Model", str(uri), tree_digest=folder_digest(str(uri)).digest)
        table = self.world.artifact("Examples", f"{self.folder}/examples/{number}")
        self.world.execute("prepare", {}, {"examples": [table]}, run=run, pipeline=pipeline)
        self.world.execute("train", {"examples": [table]}, {"model": [model]}, run=run, pipeline=pipeline)
        return model

    def push(self, content: str, run: str, others: tuple[str, ...] = (), model: int | None = None) -> int:
        """Trains a model and pushes it; `others` are candidates that were not chosen. Returns its id."""
        losers = [self.train("flights", run, other) for other in others]
        place = self.train("flights", run, content) if model is None else model - 1
        thing = self.world.artifacts[place]
        made = push(thing.uri, str(self.folder / "serving"))
        blessing = self.world.artifact("ModelBlessing", current_model_id=place + 1, blessed=1)
        record = self.world.artifact(
            "PushedModel",
            str(self.folder / "push" / run),
            pushed=int(made.serving),
            pushed_destination=made.path,
            pushed_version=made.version,
            pushed_digest=made.digest,
            model_digest=thing.properties["tree_digest"],
        )
        self.world.execute("evaluate", {"model": [*losers, place]}, {"blessing": [blessing]}, run=run)
        self.world.execute("push", {"model": [*losers, place]}, {"pushed_model": [record]}, run=run)
        self.models.append(place + 1)
        self.pushes.append(record + 1)
        return place + 1

    def point(self, version: str) -> None:
        point(self.folder / "serving", version)

    def archive(self) -> Archive:
        """All of it, recorded in a store of its own; ids are numbers in the world plus one."""
        self._written += 1
        path = self.store_file if self._written == 1 else self.folder / f"store-{self._written}.sqlite"
        archive = Archive(sqlite_store(path))
        written = write(self.world, archive.store)
        assert written.artifacts == list(range(1, len(written.artifacts) + 1))
        return archive
