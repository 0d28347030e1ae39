"""Checkpoints of a training, one an epoch, from which a later execution goes on when one was killed."""

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_jobs import storage
from beam_jobs.folder_digest import MissingFolderError, files_in
from components import local_folders

_PROGRESS, _BEST, _STATE = "progress.json", "best.npz", "state"


@dataclass(frozen=True)
class Progress:
    """How far a training is, at the end of an epoch.

    Attributes:
      scores: the metric on `eval` after each epoch.
      losses: the loss on `train` of each epoch.
      best: the epoch, from 0, of the best score; -1 before the first.
      steps: of the optimizer.
      memory: how the rows are held, which their order depends on.
    """

    scores: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    best: int = -1
    steps: int = 0
    memory: str = ""

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.scores)

    @property
    def since_best(self) -> int:
        """Epochs in which the score did not improve."""
        return self.epochs - 1 - self.best

    @classmethod
    def load(cls, folder: str) -> "Progress":
        """Of the checkpoint in the folder."""
        told = json.loads(storage.read_text(f"{folder}/{_PROGRESS}"))
        return cls(**{**told, "scores": tuple(told["scores"]), "losses": tuple(told["losses"])})


class Checkpoints:
    """Those in a folder, of which only the latest is kept; none at all where the folder is ''."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def latest(self) -> str:
        """The folder of the latest one that is whole; '' where there is none."""
        try:
            found = files_in(self.folder) if self.folder else []
        except MissingFolderError:
            found = []
        # The progress is written last.
        names = [relative.partition("/")[0] for relative, _ in found if relative.endswith(f"/{_PROGRESS}")]
        return f"{self.folder}/{max(names)}" if names else ""

    @property
    def memory(self) -> str:
        """How the training that left the latest one held its rows; '' where there is none."""
        latest = self.latest()
        return Progress.load(latest).memory if latest else ""

    def save(self, model: Any, progress: Progress, best_weights: list[Any]) -> None:
        """Writes one of the model with its optimizer, then deletes the one before.

        Args:
          best_weights: those of the best epoch so far.
        """
        import tensorflow as tf

        if not self.folder:
            return
        before, folder = self.latest(), f"{self.folder}/epoch-{progress.epochs:06d}"
        with storage.writing(folder):
            with local_folders.writing(folder) as local:
                tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(os.path.join(local, _STATE))
                np.savez(os.path.join(local, _BEST), *best_weights)
            storage.write_text(f"{folder}/{_PROGRESS}", json.dumps(dataclasses.asdict(progress)))
        if before and before != folder:
            storage.remove_tree(before)

    def restore(self, model: Any) -> tuple[Progress, list[Any]] | None:
        """Puts the model, which has all of its variables, and its optimizer where the latest checkpoint was taken.

        Returns:
          The progress and the best weights then; None where there is no checkpoint.
        """
        import tensorflow as tf

        latest = self.latest()
        if not latest:
            return None
        with local_folders.reading(latest) as local:
            with np.load(os.path.join(local, _BEST), allow_pickle=False) as kept:
                best = [kept[f"arr_{number}"] for number in range(len(kept.files))]
            found = tf.train.Checkpoint(model=model, optimizer=model.optimizer).read(os.path.join(local, _STATE))
            found.assert_existing_objects_matched()
        return Progress.load(latest), best

    def clear(self) -> None:
        """Deletes all of them."""
        if self.folder:
            storage.remove_tree(self.folder)
