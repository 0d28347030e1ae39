"""The epochs of a training: each from a seed of its own, judged on `eval`, checkpointed; the best weights win."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beam_jobs import progress as listeners
from beam_jobs.errors import listed
from components.errors import DivergedError
from components.keras_trainer import library
from components.keras_trainer.checkpoints import Checkpoints, Progress
from components.keras_trainer.dataset import TransformedSplit
from components.keras_trainer.models import margins
from components.model_contract import ModelContract, Task
from components.pruning import PrunedError

METRICS: dict[Task, str] = {"binary": "logloss", "multiclass": "mlogloss", "regression": "rmse"}
"""What is measured on `eval`; less is better. Proper scores, by the names that XGBoost gives them."""
Report = Callable[[int, float], bool]
_SECONDS_A_NOTE = 2.0


@dataclass(frozen=True)
class FittingSettings:
    """How a model is trained.

    Attributes:
      epochs: the most.
      patience: ends after so many epochs in which the metric did not improve; 0 for never.
      device: TensorFlow's name of it.
      logs: a folder for TensorBoard; '' for none.
    """

    epochs: int
    patience: int
    batch_rows: int
    seed: int
    device: str
    logs: str = ""


@dataclass
class Fitting:
    """A model in training; `run` runs it.

    Attributes:
      report: is told the epoch, from 0, and its score; True means that the training is not worth going on.
    """

    model: Any
    contract: ModelContract
    train: TransformedSplit
    eval: TransformedSplit
    settings: FittingSettings
    checkpoints: Checkpoints
    report: Report | None = None
    resumed: int = 0

    @property
    def metric(self) -> str:
        """What is measured on `eval`."""
        return METRICS[self.contract.task]

    def run(self, memory: str) -> Progress:
        """Trains until the end or the early stop, and leaves the model with the weights of its best epoch.

          Returns:
            What came of the epochs, those of an earlier execution included.

          Raises:
            DivergedError: the loss is not a number any more.
        BraidError: the training rows cannot be read.
            PrunedError: `report` said so.
        """
        import tensorflow as tf

        restored = self.checkpoints.restore(self.model)
        done, best_weights = restored or (Progress(memory=memory), self.model.get_weights())
        self.resumed, started = done.epochs, time.monotonic()
        self._margins = tf.function(
            lambda inputs: margins(self.model, inputs, self.contract), reduce_retracing=True, autograph=False
        )
        with _Logs(self.settings.logs, self.metric) as logs, tf.device(self.settings.device):
            for epoch, (loss, score) in enumerate(zip(done.losses, done.scores, strict=True)):
                logs.add(epoch, loss, score)
            if done.epochs:
                listeners.note(f"goes on after epoch {done.epochs}, from the checkpoint of an earlier execution")
            while done.epochs < self.settings.epochs and not self._stops(done):
                loss = self._fit(done.epochs)
                score = self._score(done.epochs)
                is_best = done.best < 0 or score < done.scores[done.best]
                best_weights = self.model.get_weights() if is_best else best_weights
                done = replace(
                    done,
                    scores=(*done.scores, score),
                    losses=(*done.losses, loss),
                    best=done.epochs if is_best else done.best,
                    steps=int(self.model.optimizer.iterations),
                )
                self.checkpoints.save(self.model, done, best_weights)
                logs.add(done.epochs - 1, loss, score)
                self._note(done, time.monotonic() - started)
                self._ask(done)
        self.model.set_weights(best_weights)
        return done

    def _stops(self, done: Progress) -> bool:
        return bool(self.settings.patience) and done.best >= 0 and done.since_best >= self.settings.patience

    def _fit(self, epoch: int) -> float:
        """Runs one epoch; returns its mean loss."""
        import tensorflow as tf

        library.reseed(self.model, self.settings.seed, epoch)
        rows = self.train.dataset(self.settings.batch_rows, [self.settings.seed, epoch])
        watch = _watch(self, epoch)
        # Said, as Keras would else count a step more at the end of the rows.
        steps = math.ceil(self.train.counts.labelled / self.settings.batch_rows)
        try:
            history = self.model.fit(rows, steps_per_epoch=steps, verbose=0, callbacks=[watch])
        except tf.errors.OpError:
            if self.train.failure is not None:
                raise self.train.failure from None
            raise
        loss = float(history.history["loss"][-1])
        self.check(loss, epoch)
        return loss

    def check(self, loss: float, epoch: int) -> None:
        """Raises a DivergedError where the loss is not a number."""
        if math.isfinite(loss):
            return
        odd = {**self.eval.not_finite, **self.train.not_finite}
        if odd:
            columns = listed(f"'{name}' ({rows:,} rows)" for name, rows in sorted(odd.items()))
            hint = f"These outputs of the transform are not finite: {columns}. Let preprocessing_fn replace what is missing."
        else:
            hint = "Lower 'learning_rate' in 'parameters', or scale what preprocessing_fn gives: tft.scale_to_z_score."
        raise DivergedError(f"The training loss became {loss} in epoch {epoch + 1}; no model was written.", hint)

    def _score(self, epoch: int) -> float:
        """The metric on `eval`, exact: the sum over its rows in double precision."""
        total, count = 0.0, 0
        for rows in self.eval.in_order():
            margin = self._margins(rows.inputs).numpy().astype(np.float64)
            total += float(losses(margin, rows.labels, self.contract.task).sum())
            count += len(rows)
        score = math.sqrt(total / count) if self.contract.task == "regression" else total / count
        self.check(score, epoch)
        return score

    def _note(self, done: Progress, seconds: float) -> None:
        left = seconds / (done.epochs - self.resumed) * (self.settings.epochs - done.epochs)
        listeners.note(
            f"epoch {done.epochs} of at most {self.settings.epochs}, loss {done.losses[-1]:.4f}, "
            f"eval {self.metric} {done.scores[-1]:.4f} (best {done.scores[done.best]:.4f}), "
            f"at most {left:.0f} s left"
        )

    def _ask(self, done: Progress) -> None:
        if self.report is not None and self.report(done.epochs - 1, done.scores[-1]):
            raise PrunedError(f"The training was given up after epoch {done.epochs}.")


def losses(margin: Any, labels: Any, task: Task) -> Any:
    """Each row's log loss or, for a regression, squared error."""
    if task == "regression":
        return (margin - labels) ** 2
    if task == "binary":
        return np.logaddexp(0.0, margin) - labels * margin
    highest = margin.max(axis=1)
    total = highest + np.log(np.exp(margin - highest[:, None]).sum(axis=1))
    return total - margin[np.arange(len(margin)), labels.astype(np.int64)]


def _watch(fitting: Fitting, epoch: int) -> Any:
    """Keras's callback that tells the listeners how far the epoch is, and ends it at a loss that is not a number."""
    import tensorflow as tf

    class Watch(tf.keras.callbacks.Callback):
        """Looks at the loss every few seconds, as asking for it halts a GPU."""

        _supports_tf_logs = True

        def __init__(self) -> None:
            super().__init__()
            self.looked = time.monotonic()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            """Called by Keras after each step."""
            if time.monotonic() - self.looked < _SECONDS_A_NOTE or not logs:
                return
            self.looked, loss = time.monotonic(), float(logs["loss"])
            fitting.check(loss, epoch)
            of = f" of at most {fitting.settings.epochs}"
            listeners.note(f"epoch {epoch + 1}{of}, step {batch + 1:,}, loss {loss:.4f}")

    return Watch()


class _Logs:
    """TensorBoard's event files of the loss and the metric, an epoch a step."""

    def __init__(self, folder: str, metric: str) -> None:
        import tensorflow as tf

        self._summary, self._metric = tf.summary, metric
        self._writer = tf.summary.create_file_writer(folder) if folder else None

    def __enter__(self) -> "_Logs":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, epoch: int, loss: float, score: float) -> None:
        """Adds an epoch."""
        if self._writer is not None:
            with self._writer.as_default():
                self._summary.scalar("train/loss", loss, step=epoch)
                self._summary.scalar(f"eval/{self._metric}", score, step=epoch)
            self._writer.flush()
