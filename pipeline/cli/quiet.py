"""Settings of the process that must be made before TensorFlow loads, and silence for its logs."""

import contextlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator

_BEAM_READERS = ("read_grpc_client_inputs", "read_state")


@contextlib.contextmanager
def silence(verbose: bool = False) -> Iterator[None]:
    """Around all of a command that imports TFX, its imports included; what it changes comes back, but for the environment."""
    # tensorflow-transform's Keras layer needs Keras 2, which TensorFlow takes only when told before it loads.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # XGBoost's idle threads would spin on cores that other work needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments, threshold = sys.argv, logging.root.manager.disable
    # absl parses sys.argv inside TFX's Beam executors; our own options are none of its business.
    sys.argv = sys.argv[:1]
    try:
        if verbose:
            yield
            return
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        os.environ.setdefault("GLOG_minloglevel", "2")  # ML Metadata tells of every connection that it makes
        logging.disable(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.argv = arguments
        logging.disable(threshold)


@contextlib.contextmanager
def worker_tracebacks_held(verbose: bool = False) -> Iterator[None]:
    """Beam's workers print the traceback of every failed bundle; the run itself raises the error and words it.

    Their reader threads print one when they are still connecting as a job ends.
    """
    if verbose:
        yield
        return
    from apache_beam.runners.worker import sdk_worker

    shown = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if failed.thread is None or failed.thread.name not in _BEAM_READERS:
            shown(failed)

    sdk_worker.print = lambda *_, **__: None  # a name of that module, before the built-in one
    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = shown
        vars(sdk_worker).pop("print", None)


@contextlib.contextmanager
def native_logs(verbose: bool = False) -> Iterator[None]:
    """Holds back what C++ libraries print to stderr while they load; shows it after all when loading fails."""
    if verbose:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def without_stock_components() -> Iterator[None]:
    """Around the import of TFX's launcher: keeps it from importing every stock component, and what those import.

    It wants two names of the stock Evaluator and makes do without them, as it must in TFX's SDK-only distribution;
    a second of each start is saved. Stock components can be imported afterwards as ever.
    """
    name = "tfx.components"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's own mark for "not to be imported"
    try:
        yield
    finally:
        del sys.modules[name]
