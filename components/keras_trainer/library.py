"""TensorFlow with the Keras that tensorflow-transform's layer is made for, its devices and its random numbers."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from components.errors import StepError

LEGACY = "TF_USE_LEGACY_KERAS"


def load_tensorflow() -> Any:
    """TensorFlow, with Keras 2.

    Raises:
      StepError: TensorFlow was loaded with Keras 3, or Keras 2 is not installed.
    """
    os.environ.setdefault(LEGACY, "1")
    import tensorflow as tf

    try:
        found = str(tf.keras.Model.__module__)
    except ImportError as missing:
        raise StepError(f"Keras 2 is not installed: {missing}.", "pip install tf_keras") from missing
    if not found.startswith("tf_keras."):
        raise StepError(
            "TensorFlow was loaded with Keras 3 in this process; tensorflow-transform works with Keras 2 alone.",
            f"Set {LEGACY}=1 in the environment, before anything imports tensorflow.",
        )
    return tf


def choose_device(asked: str) -> str:
    """TensorFlow's name of the device to train on: the first GPU where there is one and 'cpu' was not asked for.

    Raises:
      StepError: CUDA was asked for and there is no device.
    """
    tf = load_tensorflow()
    found = tf.config.list_physical_devices("GPU")
    if asked == "cuda" and not found:
        raise StepError(
            "KerasTrainer: device is 'cuda', and TensorFlow finds no CUDA device.", "Set device: auto or cpu."
        )
    if not found or asked == "cpu":
        return "/CPU:0"
    for device in found:
        try:
            # Else TensorFlow takes all of its memory, and XGBoost none.
            tf.config.experimental.set_memory_growth(device, True)
        except RuntimeError:  # the device is in use, with whatever was set before
            break
    return "/GPU:0"


def on(device: str) -> Any:
    """Around what is to be done on a device, given by TensorFlow's name of it."""
    return load_tensorflow().device(device)


def set_threads(threads: int) -> int:
    """Limits TensorFlow's threads where it has not started them yet; returns how many there are."""
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # started by an earlier step of this process; there they stay as they are
        pass
    return int(tf.config.threading.get_intra_op_parallelism_threads()) or os.cpu_count() or 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Around the building of a model: weights start, and layers draw, by the seed alone.

    Python's and NumPy's own generators, which Keras seeds too, are as before afterwards.
    """
    tf = load_tensorflow()
    before = random.getstate(), np.random.get_state()
    had_generators = tf.keras.backend.experimental.is_tf_random_generator_enabled()
    # Layers that draw, such as Dropout, then hold generators whose state can be set, see `reseed`.
    tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        if not had_generators:
            tf.keras.backend.experimental.disable_tf_random_generator()


def reseed(model: Any, seed: int, epoch: int) -> None:
    """Sets what the model's layers draw in one epoch, whatever they have drawn before."""
    generators = [getattr(layer, "_random_generator", None) for layer in model.submodules]
    states = [state for generator in generators if (state := getattr(generator, "_generator", None)) is not None]
    for place, state in enumerate(states):
        state.reset_from_seed(int(np.random.SeedSequence([seed, epoch, place]).generate_state(1)[0]))
