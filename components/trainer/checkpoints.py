"""Checkpoints of a training: the booster so far and its metrics, in one file that is there whole or not at all."""

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from beam_jobs import storage
from components.trainer.boosting import Start

CHECKPOINT = "booster.checkpoint"
SECONDS_BETWEEN = 2.0
SHARE_OF_TIME = 0.02


class Checkpoints:
    """Written every few seconds, and so seldom that they cost no more than a fiftieth of the time.

    Args:
      folder: where; '' for no checkpoints.
      signature: what a training that goes on from them must have in common with this one.
    """

    def __init__(self, folder: str, signature: str) -> None:
        self.path = f"{folder}/{CHECKPOINT}" if folder else ""
        self.signature = signature
        self._next = time.monotonic() + SECONDS_BETWEEN

    def load(self) -> Start | None:
        """What a training that was cut off has left, if it was this one."""
        if not self.path or not storage.exists(self.path):
            return None
        with storage.open_input(self.path) as stream:
            header, _, model = stream.read().partition(b"\n")
        try:
            told = json.loads(header)
        except ValueError:
            return None
        if not isinstance(told, dict) or told.get("signature") != self.signature or told.get("bytes") != len(model):
            return None
        return Start(model, tuple(told["history"]))

    def after_round(self, booster: Any, history: Sequence[float]) -> None:
        """Writes one when it is time."""
        began = time.monotonic()
        if self.path and began >= self._next:
            self.save(booster, history)
            ended = time.monotonic()
            self._next = ended + max(SECONDS_BETWEEN, (ended - began) / SHARE_OF_TIME)

    def save(self, booster: Any, history: Sequence[float]) -> None:
        """Writes one in place of the last."""
        model = bytes(booster.save_raw("ubj"))
        header = json.dumps({"signature": self.signature, "bytes": len(model), "history": list(history)})
        temporary = self.path if storage.is_remote(self.path) else f"{self.path}.tmp"
        with storage.writing(self.path):
            with storage.open_output(temporary) as stream:
                stream.write(header.encode() + b"\n" + model)
            if temporary != self.path:
                os.replace(temporary, self.path)
