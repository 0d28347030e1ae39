"""Whether workers have the Python and the Beam that jobs are pickled with here."""

import re
import sys
from collections.abc import Iterator, Mapping

from pipeline.deploy.worker_pins import Pin
from pipeline.preflight.finding import Finding
from pipeline.targets.target import Dataflow

BEAM = "apache-beam"
_IMAGE_PYTHON = re.compile(r"python[-_]?(?P<version>3[._]?\d{1,2})", re.IGNORECASE)
_BEAM_IMAGE = re.compile(r"(^|/)beam_python[\d.]+_sdk:(?P<version>\d+\.\d+\.\d+)$")
_LOCK_PYTHON = re.compile(r"--python-version[ =](?P<version>3\.\d+)")
_LINES = 5


def check(
    service: Dataflow, lock: str, pins: Mapping[str, Pin], ours: tuple[int, int] | None = None
) -> Iterator[Finding]:
    """What differs.

    Args:
      service: the target.
      lock: the path of the lock.
      pins: what it pins, by name.
      ours: major and minor number of Python; this interpreter's unless given.
    """
    here = "{}.{}".format(*(ours or sys.version_info[:2]))
    with open(lock, encoding="utf-8") as stream:
        head = "".join(line for line, _ in zip(stream, range(_LINES), strict=False))
    locked = _LOCK_PYTHON.search(head)
    if locked and locked["version"] != here:
        yield Finding(
            lock,
            f"The lock was resolved for Python {locked['version']}, and this is Python {here}.",
            "Install Braid with the lock's Python, or write the lock anew with `make lock`.",
        )
    images = {"image": service.image, "options.sdk_container_image": service.options.get("sdk_container_image")}
    for step, keys in service.steps.items():
        images[f"steps.{step}.options.sdk_container_image"] = keys.options.get("sdk_container_image")
    for key, image in images.items():
        if image:
            yield from _of_image(key, str(image), here, pins)


def _of_image(key: str, image: str, here: str, pins: Mapping[str, Pin]) -> Iterator[Finding]:
    python, beam = _IMAGE_PYTHON.search(image), _BEAM_IMAGE.search(image)
    if python is None:
        yield Finding(
            key, f"Which Python the image '{image}' has cannot be seen from here; it must be {here}.", "", "note"
        )
        return
    found = _dotted(python["version"])
    if found != here:
        yield Finding(
            key,
            f"The image '{image}' has Python {found}, and jobs are pickled with Python {here} here: workers could not load them.",
            f"Name an image with Python {here}; `braid deploy image` makes one.",
        )
    if beam and BEAM in pins and beam["version"] != pins[BEAM].version:
        yield Finding(
            key,
            f"The image '{image}' has Beam {beam['version']}, and the lock pins {pins[BEAM].requirement}.",
            "Name Beam's image of the same version.",
        )


def _dotted(text: str) -> str:
    digits = text.replace(".", "").replace("_", "")
    return f"{digits[0]}.{digits[1:]}"
