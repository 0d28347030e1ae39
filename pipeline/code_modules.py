"""The modules of the project as files, and what a name in one of them stands for, through imports and re-exports."""

import functools
import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from beam_jobs import storage
from pipeline.code_scopes import Chain, Target, Use
from pipeline.code_symbols import MODULE_LEVEL, Definition, ModuleSymbols, read_module

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGES = ("beam_jobs", "components", "pipeline")

# A file is read again unless it was left alone for so long that a change would show in its time of change.
_SETTLED_NS = 100_000_000
_INSTALLED = ("site-packages", "dist-packages")
# What Python itself gives a module; nothing of the module's own code is behind it.
_SILENT = {"__name__", "__file__", "__doc__", "__package__", "__spec__", "__loader__", "__class__", "__builtins__"}
_read: dict[tuple[str, str], tuple[tuple[int, ...], ModuleSymbols]] = {}


class Found(NamedTuple):
    """What a name stands for.

    Attributes:
      module: of the project; or, with `outside`, the full name of something that is not.
      name: a definition of the module; '' for the module itself, used as a value.
      rest: the attributes that follow.
    """

    module: str
    name: str = ""
    rest: Chain = ()
    outside: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def project_roots(folder: str = "") -> dict[str, str]:
    """The packages whose code is followed: Braid's own, and the modules and packages that lie in `folder`."""
    roots = {}
    for entry in sorted(os.listdir(folder)) if folder and os.path.isdir(folder) else ():
        name, path = entry.removesuffix(".py"), os.path.join(folder, entry)
        if name.isidentifier() and (entry != name or os.path.isfile(os.path.join(path, "__init__.py"))):
            roots[name] = path
    return roots | {package: os.path.join(PROJECT, package) for package in PACKAGES}


class Project:
    """The modules under some roots, as they are now; files are read when they are asked for."""

    def __init__(self, roots: Mapping[str, str]) -> None:
        self._roots = dict(roots)
        self._modules: dict[str, ModuleSymbols | None] = {}

    def module(self, name: str) -> ModuleSymbols | None:
        """The module of this name; None when it is not of the project.

        Raises:
          CodeError: its file cannot be read or parsed.
        """
        if name not in self._modules:
            file = self._file(name)
            self._modules[name] = None if file is None else _symbols(name, file)
        return self._modules[name]

    def covers(self, name: str) -> bool:
        """Whether a module of this name would be the project's own."""
        return self._root(name.partition(".")[0]) is not None

    def installed(self, top: str) -> bool:
        """Whether Python itself or an installed package has this top-level name."""
        if top in self._roots or top in sys.stdlib_module_names:
            return True
        try:
            return bool(top) and importlib.util.find_spec(top) is not None
        except (ImportError, ValueError):
            return False

    def _root(self, top: str) -> str | None:
        return self._roots.get(top) or (_uninstalled(top, tuple(sys.path)) if top else None)

    def _file(self, name: str) -> str | None:
        """The file of a module; for a folder without `__init__.py`, the folder."""
        top, *rest = name.split(".")
        root = self._root(top)
        if root is None:
            return None
        path = os.path.join(root, *rest)
        for file in (os.path.join(path, "__init__.py"), path if path.endswith(".py") else f"{path}.py", path):
            if os.path.isfile(file) or (file == path and os.path.isdir(file)):
                return file
        return None

    def below(self, beginning: str) -> list[str]:
        """The names of all modules whose names begin so."""
        top = beginning.partition(".")[0]
        root = self._root(top) if "." in beginning else None
        roots = {top: root} if root else self._roots
        return sorted(name for top, root in roots.items() for name in _walk(top, root) if name.startswith(beginning))

    def data_files(self, symbols: ModuleSymbols) -> dict[str, str]:
        """Digests of the files that are no code, of every package; and of those right beside a module on its own."""
        found: dict[str, str] = {}
        for top, root in self._roots.items():
            if os.path.isdir(root):
                found |= {f"{top}/{inner}": path for inner, path in _data(root, recursive=True)}
        if self._roots.get(symbols.name, "").endswith(".py"):
            found |= dict(_data(os.path.dirname(symbols.file), recursive=False))
        return {name: storage.content_digest(path) for name, path in sorted(found.items())}

    # What names stand for

    def resolve(self, module: str, use: Use) -> set[Found]:
        """What a use in a module stands for; nothing for a built-in name, and for one that is never bound."""
        if use.target is not None:
            return self._of_target(use.target, use.chain, set())
        if not use.chain:
            return set()
        symbols = self.module(module)
        assert symbols is not None
        return self._bound(symbols, use.chain, set()) or self._starred(symbols, use.chain, set())

    def binds(self, module: str, name: str) -> bool:
        """Whether it can be told that a module of the project has this name."""
        return any(found.name or found.module != module for found in self.member(module, (name,)))

    def _of_target(self, target: Target, chain: Chain, seen: set[tuple[str, str]]) -> set[Found]:
        return self.member(target.module, (target.name, *chain) if target.name else chain, seen)

    def member(self, module: str, chain: Chain, seen: set[tuple[str, str]] | None = None) -> set[Found]:
        """What `module.a.b` stands for, with the chain `a.b`.

        A name that the module is not seen to have may be anything in it, so the module itself is what was found.
        """
        seen = set() if seen is None else seen
        symbols = self.module(module)
        if symbols is None:
            return {Found(".".join((module, *chain)), outside=True)}
        if not chain:
            return {Found(module)}
        if (module, chain[0]) in seen:
            return set()
        seen.add((module, chain[0]))
        found = self._bound(symbols, chain, seen) or self._starred(symbols, chain, seen)
        if self.module(f"{module}.{chain[0]}") is not None:
            found |= self.member(f"{module}.{chain[0]}", chain[1:], seen)
        found = found or self._lazy(symbols, chain, seen)
        return found or {Found(f"{module}.{chain[0]}", outside=True) if chain[0] in _SILENT else Found(module)}

    def _bound(self, symbols: ModuleSymbols, chain: Chain, seen: set[tuple[str, str]]) -> set[Found]:
        head, rest = chain[0], chain[1:]
        found = {Found(symbols.name, head, rest)} if head in symbols.definitions else set()
        if head in symbols.in_statements:
            found.add(Found(symbols.name, MODULE_LEVEL, rest))
        for target in symbols.imports.get(head, ()):
            found |= self._of_target(target, rest, seen)
        return found

    def _starred(self, symbols: ModuleSymbols, chain: Chain, seen: set[tuple[str, str]]) -> set[Found]:
        found: set[Found] = set()
        for star in symbols.stars:
            inner = self.module(star)
            if inner is None:
                found.add(Found(f"{star}.*", outside=True))
            elif (star, chain[0]) not in seen:
                seen.add((star, chain[0]))
                found |= self._bound(inner, chain, seen) or self._starred(inner, chain, seen)
                if self.module(f"{star}.{chain[0]}") is not None:
                    found |= self.member(f"{star}.{chain[0]}", chain[1:], seen)
        return found

    def _lazy(self, symbols: ModuleSymbols, chain: Chain, seen: set[tuple[str, str]]) -> set[Found]:
        """A name that the module's `__getattr__` gives."""
        getter = symbols.definitions.get("__getattr__")
        if getter is None:
            return set()
        found = {Found(symbols.name, "__getattr__", chain)}
        for table in getter.names.tables:
            entries = symbols.tables.get(table, {})
            for key in [chain[0]] if chain[0] in entries else entries:
                module, name = entries[key].module, entries[key].name or key
                found |= self.member(module, (name, *chain[1:]) if key == chain[0] else (), seen)
        return found

    def table_targets(self, symbols: ModuleSymbols, definition: Definition) -> list[str] | None:
        """The modules that a definition looks up in tables; None when a table's values cannot be read."""
        tables = [symbols.tables.get(table) for table in definition.names.tables]
        if None in tables:
            return None
        return [target.module for table in tables if table for target in table.values()]


def _symbols(name: str, file: str) -> ModuleSymbols:
    if os.path.isdir(file):
        return ModuleSymbols(name, file)
    before = os.stat(file)
    mark = (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino)
    known = _read.get((name, file))
    if known is not None and known[0] == mark:
        return known[1]
    now = time.time_ns()
    symbols = read_module(name, file, os.path.basename(file) == "__init__.py")
    if now - max(before.st_mtime_ns, before.st_ctime_ns) > _SETTLED_NS:
        _read[name, file] = (mark, symbols)
    return symbols


@functools.lru_cache(maxsize=1024)
def _uninstalled(top: str, _: tuple[str, ...]) -> str | None:
    """Where a package lies that is neither Python's nor installed from the lock; such code is the project's, too."""
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    place = folders[0] if folders else spec.origin or ""
    if any(part in _INSTALLED for part in place.split(os.sep)) or not (folders or place.endswith(".py")):
        return None
    return place


def _walk(top: str, root: str) -> Iterator[str]:
    if os.path.isfile(root):
        yield top
        return
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name.isidentifier() and name != "__pycache__"]
        package = ".".join([top, *os.path.relpath(folder, root).split(os.sep)]).removesuffix("..")
        names = [file.removesuffix(".py") for file in files if file.endswith(".py")]
        yield from (package if name == "__init__" else f"{package}.{name}" for name in names)


def _data(root: str, recursive: bool) -> Iterator[tuple[str, str]]:
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name != "__pycache__" and not name.startswith(".")] if recursive else []
        for file in files:
            if not file.endswith((".py", ".pyc", ".pyi")) and not file.startswith("."):
                path = os.path.join(folder, file)
                yield os.path.relpath(path, root).replace(os.sep, "/"), path
