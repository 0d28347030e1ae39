"""Settings of the process that must be made before TensorFlow loads, and silence for its logs."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


def prepare(verbose: bool = False) -> None:
    """Call first in a command that imports TFX."""
    # tensorflow-transform's Keras layer needs Keras 2, which TensorFlow takes only when told before it loads.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # XGBoost's idle threads would spin on cores that others need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # absl parses sys.argv inside TFX's Beam executors; our own options are none of its business.
    sys.argv = sys.argv[:1]
    if verbose:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)


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
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
