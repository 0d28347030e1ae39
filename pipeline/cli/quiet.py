"""Settings of the process that must be made before TensorFlow loads, and silence for its logs."""

import logging
import os
import sys
import warnings


def prepare(verbose: bool = False) -> None:
    """Call first in a command that imports TFX."""
    # tensorflow-transform's Keras layer needs Keras 2, which TensorFlow takes only when told before it loads.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # absl parses sys.argv inside TFX's Beam executors; our own options are none of its business.
    sys.argv = sys.argv[:1]
    if verbose:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
