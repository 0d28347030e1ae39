"""Whether the lock, what it was made from, and what is installed here agree."""

import importlib.metadata
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from beam_jobs.errors import nearest
from pipeline.deploy.worker_pins import Pin
from pipeline.preflight.finding import Finding

WANTED, OVERRIDES, LOCK = "requirements.in", "overrides.txt", "requirements.txt"
_AGAIN = "Run `make lock`, then install what it pins: pip install --no-deps --require-hashes -r lock/requirements.txt."
_NEEDS_HASH = re.compile(r"\s+--hash=\S+")


def check(folder: str, lock: Mapping[str, Pin], pins: Iterable[Pin]) -> Iterator[Finding]:
    """What does not agree.

    Args:
      folder: that of the lock.
      lock: what it pins, by name.
      pins: those of it that workers install.
    """
    overrides = dict(_requirements(os.path.join(folder, OVERRIDES)))
    replaced = {canonicalize_name(one.name): one for one in overrides.values() if isinstance(one, Requirement)}
    for where, wanted in _requirements(os.path.join(folder, WANTED)):
        if isinstance(wanted, str):
            yield Finding(where, f"'{wanted}' is no requirement.", "Write it as `name>=1,<2`.")
        else:
            name = canonicalize_name(wanted.name)
            yield from _held(where, replaced.get(name, wanted), lock)
    for place, override in overrides.items():
        # One for a package that nothing needs any more is no mistake.
        if isinstance(override, Requirement) and canonicalize_name(override.name) in lock:
            yield from _held(place, override, lock)
    yield from _installed(pins, os.path.join(folder, LOCK))


def _requirements(path: str) -> Iterator[tuple[str, Requirement | str]]:
    """The requirements of a file with the place of each; as text what is none."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            text = _NEEDS_HASH.sub("", line.partition("#")[0]).strip()
            if not text or text.startswith("-"):
                continue
            try:
                yield f"{path}:{number}", Requirement(text)
            except InvalidRequirement:
                yield f"{path}:{number}", text


def _held(where: str, wanted: Requirement, lock: Mapping[str, Pin]) -> Iterator[Finding]:
    if wanted.marker and not wanted.marker.evaluate():
        return
    name = canonicalize_name(wanted.name)
    if name not in lock:
        yield Finding(where, f"The lock is stale: it has no '{wanted.name}'.{nearest(name, lock)}", _AGAIN)
    elif not wanted.specifier.contains(lock[name].version, prereleases=True):
        yield Finding(
            where, f"The lock is stale: it pins {lock[name].requirement}, and '{wanted}' is asked for.", _AGAIN
        )


def _installed(pins: Iterable[Pin], lock: str) -> Iterator[Finding]:
    """Workers must unpickle what was pickled here: both need the same versions."""
    for pin in pins:
        try:
            found = importlib.metadata.version(pin.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(
                f"{lock}: {pin.requirement}", f"Workers install '{pin.name}', and it is not installed here.", _AGAIN
            )
            continue
        if Version(found) != Version(pin.version):
            yield Finding(
                f"{lock}: {pin.requirement}", f"'{pin.name}' is {found} here and {pin.version} on workers.", _AGAIN
            )
