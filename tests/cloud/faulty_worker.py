"""A worker that misbehaves once, chosen by its environment: it dies at the end of a bundle, or hangs as it writes.

Beam's own harness runs, in the workers' environment; only one process of a fleet has the fault.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.runners.worker import bundle_processor, sdk_worker_main
from graph_runner import FAULT, FAULT_FOLDER, STOPPED, WOKEN

KILLED, ZOMBIE = "killed", "zombie"
STEP = "WORKER_FAULT_STEP"
"""Part of the name of the step that the fault strikes."""
PENDING = "/_pending/"

_folder = Path(os.environ[FAULT_FOLDER])
_process_bundle = bundle_processor.BundleProcessor.process_bundle
_create = FileSystems.create


def _chosen() -> bool:
    """Whether this process is the one; true for one process, once."""
    try:
        os.close(os.open(_folder / "chosen", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _runs_the_step(processor: Any) -> bool:
    names = (one.unique_name for one in processor.process_bundle_descriptor.transforms.values())
    return any(os.environ[STEP] in name for name in names)


def killed(processor: Any, *arguments: Any) -> Any:
    """The bundle's work is done and its files are written when the process dies: nobody hears of it."""
    result = _process_bundle(processor, *arguments)
    if _runs_the_step(processor) and _chosen():
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def hanging(path: str, *arguments: Any, **named: Any) -> Any:
    """The process stops as it opens its output; the service takes it for gone, and some time later it goes on."""
    if PENDING in path and _chosen():
        (_folder / f"{STOPPED}{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return _create(path, *arguments, **named)


def finishing(processor: Any, *arguments: Any) -> Any:
    """Tells when a zombie has finished its bundle."""
    try:
        return _process_bundle(processor, *arguments)
    finally:
        if (_folder / f"{STOPPED}{os.getpid()}").exists():
            (_folder / f"{WOKEN}{os.getpid()}").touch()


if os.environ[FAULT] == KILLED:
    bundle_processor.BundleProcessor.process_bundle = killed
else:
    bundle_processor.BundleProcessor.process_bundle = finishing
    FileSystems.create = staticmethod(hanging)

sdk_worker_main.main(sys.argv)
