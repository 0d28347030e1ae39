"""Whether the wheels of all pins fit the image of the workers: its Python, its C library, its processor.

Nothing is asked of an index. The lock says for which platform it was resolved, so that there are wheels for that; and the
packages that are installed here say which wheels they came from, which are the very files that workers take where this
machine is like theirs.
"""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator

from packaging import tags

from beam_jobs.errors import listed
from pipeline.deploy.worker_pins import Pin
from pipeline.preflight.finding import Finding

PYTHON = (3, 11)
GLIBC = (2, 36)
IMAGE = "Beam's image for Python 3.11 (Debian 12, glibc 2.36, x86-64)"
_MACHINE = "x86_64"
_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_LINES = 5
_PLATFORM = re.compile(r"--python-platform[ =](?P<platform>\S+)")
_PLATFORM_GLIBC = re.compile(r"^(?P<machine>\w+?)-manylinux_?(?P<major>\d+)_(?P<minor>\d+)$")


def worker_tags() -> frozenset[tags.Tag]:
    """The tags of wheels that can be installed on a worker."""
    platforms = [f"manylinux_2_{minor}_{_MACHINE}" for minor in range(GLIBC[1], 4, -1)]
    platforms += [f"{name}_{_MACHINE}" for name in _LEGACY]
    return frozenset(
        [*tags.cpython_tags(PYTHON, platforms=platforms), *tags.compatible_tags(PYTHON, "cp311", platforms)]
    )


def check(pins: Iterable[Pin], lock: str) -> Iterator[Finding]:
    """What does not fit.

    Args:
      pins: the packages that workers install.
      lock: the path of the file that they are from.
    """
    yield from _resolved_for(lock)
    if (sys.platform, platform.machine()) != ("linux", _MACHINE):
        here = f"{sys.platform} on {platform.machine()}"
        yield Finding(lock, f"This machine is {here}: which wheels workers take cannot be seen here.", "", "note")
        return
    fitting = worker_tags()
    for pin in pins:
        yield from _of_pin(pin, fitting, lock)


def _resolved_for(lock: str) -> Iterator[Finding]:
    """The lock's own words on the platform that it was resolved for."""
    with open(lock, encoding="utf-8") as stream:
        head = "".join(line for line, _ in zip(stream, range(_LINES), strict=False))
    told = _PLATFORM.search(head)
    known = _PLATFORM_GLIBC.match(told["platform"]) if told else None
    hint = "Write the lock anew with `make lock`."
    if not told:
        yield Finding(lock, "The lock does not say which platform it was resolved for.", hint, "warning")
    elif not known:
        yield Finding(lock, f"The lock was resolved for '{told['platform']}', and workers run {IMAGE}.", hint)
    elif known["machine"] != _MACHINE or (int(known["major"]), int(known["minor"])) > GLIBC:
        yield Finding(lock, f"The lock was resolved for '{told['platform']}', which {IMAGE} is not.", hint)


def _of_pin(pin: Pin, fitting: frozenset[tags.Tag], lock: str) -> Iterator[Finding]:
    try:
        distribution = importlib.metadata.distribution(pin.name)
    except importlib.metadata.PackageNotFoundError:
        return  # told by the check of the lock
    found = wheel_tags(distribution)
    if not found or found & fitting or _built_here(found):
        return
    names = listed(sorted(map(str, found)), 3)
    yield Finding(
        f"{lock}: {pin.requirement}",
        f"The wheel of '{pin.name}' is for {names}, which does not fit {IMAGE}: {_why(found)}.",
        f"Pin a version of '{pin.name}' that has a wheel for manylinux_2_{GLIBC[1]} or older in lock/requirements.in, and run `make lock`; "
        f"it is described in '{os.path.join(_place(distribution), 'WHEEL')}'.",
    )


def wheel_tags(distribution: importlib.metadata.Distribution) -> frozenset[tags.Tag]:
    """The tags of the wheel that an installed package came from; none where that is not recorded."""
    lines = (distribution.read_text("WHEEL") or "").splitlines()
    told = [line.partition(":")[2].strip() for line in lines if line.startswith("Tag:")]
    return frozenset(tag for text in told for tag in tags.parse_tag(text))


def _built_here(found: frozenset[tags.Tag]) -> bool:
    """A package that comes as sources alone was built by this machine's pip, and is by that of each worker."""
    return all(tag.platform == f"linux_{_MACHINE}" for tag in found)


def _why(found: frozenset[tags.Tag]) -> str:
    machines = {tag.platform for tag in found}
    newer = [name for name in machines if (match := re.match(r"manylinux_2_(\d+)_", name)) and int(match[1]) > GLIBC[1]]
    if newer:
        return f"it needs glibc 2.{min(int(name.split('_')[2]) for name in newer)}"
    if not any(name == "any" or name.endswith(_MACHINE) for name in machines):
        return f"it is for {listed(sorted(machines), 2)}"
    pythons = sorted({tag.interpreter for tag in found})
    return f"it is for Python {listed(pythons, 3)}"


def _place(distribution: importlib.metadata.Distribution) -> str:
    return str(getattr(distribution, "_path", distribution.metadata["Name"]))
