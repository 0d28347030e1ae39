"""The packages that a worker installs: the part of the lock that its roots need, with versions and hashes.

The lock tells which package each one is there for (`# via`), so that the part is found without asking an index.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from beam_jobs import storage
from beam_jobs.errors import nearest
from pipeline.errors import RunError

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=(?P<hash>\w+:[0-9a-f]+)")
_VIA = re.compile(r"^\s+#\s+(?:via\s+)?(?!via$)(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)$")


class LockError(RunError):
    """The lock does not hold what a worker needs."""


@dataclass(frozen=True)
class Pin:
    """One package of the lock.

    Attributes:
      hashes: as pip writes them, such as `sha256:...`.
      needed_by: the packages of the lock that ask for it.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    needed_by: frozenset[str]

    @property
    def requirement(self) -> str:
        """As a line of a requirements file, without its hashes."""
        return f"{self.name}=={self.version}"


def read_lock(path: str) -> dict[str, Pin]:
    """The packages of a lock that `uv pip compile --generate-hashes` wrote, by name.

    Raises:
      LockError: it is missing, or a package has no hash.
    """
    if not storage.exists(path):
        raise LockError(
            f"There is no lock '{path}', so nothing says which packages a worker installs.",
            "Run Braid from its source tree; `make lock` writes the lock.",
        )
    found: dict[str, Pin] = {}
    for block in _blocks(storage.read_text(path).splitlines()):
        pin = _pin(block)
        if not pin.hashes:
            raise LockError(f"'{path}': {pin.requirement} has no hash.", "Write the lock anew with `make lock`.")
        found[pin.name] = pin
    return found


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    """A package's line with those that belong to it."""
    blocks: list[list[str]] = []
    for line in lines:
        if _PIN.match(line):
            blocks.append([line])
        elif blocks and line.startswith(" "):
            blocks[-1].append(line)
    return blocks


def _pin(block: Sequence[str]) -> Pin:
    head = _PIN.match(block[0])
    assert head is not None  # so `_blocks` begins one
    hashes = tuple(found["hash"] for line in block if (found := _HASH.search(line)))
    needed_by = frozenset(normal(found["name"]) for line in block[1:] if (found := _VIA.match(line)))
    return Pin(normal(head["name"]), head["version"], hashes, needed_by)


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(lock: dict[str, Pin], roots: Iterable[str]) -> list[Pin]:
    """The roots and all that they need, by name.

    Raises:
      LockError: a root is not in the lock.
    """
    todo, chosen = [normal(root) for root in roots], dict[str, Pin]()
    needs: dict[str, list[str]] = {}
    for pin in lock.values():
        for needer in pin.needed_by:
            needs.setdefault(needer, []).append(pin.name)
    while todo:
        name = todo.pop()
        if name not in lock:
            raise LockError(
                f"The lock has no '{name}', which workers need.{nearest(name, lock)}",
                "Add it to lock/requirements.in and run `make lock`.",
            )
        if name not in chosen:
            chosen[name] = lock[name]
            todo += needs.get(name, [])
    return [chosen[name] for name in sorted(chosen)]


def requirements(pins: Iterable[Pin]) -> str:
    """A requirements file for `pip install --require-hashes`: one package a line, hashes and all.

    Beam drops lines of such a file by how they begin, so that a package must not stretch over several.
    """
    lines = [" ".join([pin.requirement, *(f"--hash={one}" for one in pin.hashes)]) for pin in pins]
    return "".join(f"{line}\n" for line in lines)
