"""The code that a step really uses: its digest, and how two such digests differ.

From an entry point, the executor's class, every name is followed to the top-level definitions it stands for, through
imports and re-exports, across the modules of the project. Only the source is read; nothing of it is imported. Comments,
docstrings and layout do not count; a definition that is not reached does not count.

What counts, beyond what the names say:

- A class counts whole, with its bases. So a method called on an object of unknown class needs no following: whoever
  made the object named its class.
- A module that is used as a value (handed on, or asked for a computed name) counts whole. A module whose name is
  computed may be any that the constant beginning of the name leaves open.
- What a module does as it is imported, beyond defining names, counts for whoever imports it (`code_effects`).
- An import's meaning is part of the definition that uses it: the same words, imported from elsewhere, are other code.
- Code that reads files beside itself has all files of the packages counted; code that reads docstrings has these counted.

Installed packages are not followed: the lock's digest stands for them. Compiled modules, code in data, and classes that a
library finds by name without this code naming them are not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from beam_jobs.errors import listed, nearest
from pipeline.code_effects import acting, classes, sequence, subclass_acts
from pipeline.code_modules import Found, Project, project_roots
from pipeline.code_scopes import DOCSTRINGS, FILES, OWN_MODULE, SUBCLASSES, Target, Use
from pipeline.code_symbols import MODULE_LEVEL, CodeError, Definition, ModuleSymbols, digest_of

SHORT = 12  # hexadecimal digits of a definition's digest


@dataclass(frozen=True)
class CodeClosure:
    """The code reached from an entry point.

    Attributes:
      definitions: short digests by full name, such as `beam_jobs.kernel.run_chunk`; `<module>` stands for what a module
        does as it is imported, a path for a file that code may read.
      digest: of all of it.
      files: the modules that the entry point imports or may import, by path.
    """

    entry: str
    definitions: Mapping[str, str]
    digest: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class CodeChange:
    """How the definitions of two closures differ; false when they do not."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    edited: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.edited)


def code_closure(entry: str, roots: Mapping[str, str] | None = None) -> CodeClosure:
    """The code that an entry point uses, as the files are now.

    Args:
      entry: a class or function, as `package.module.Name` or `package.module:Name`. One of an installed package has no
        code of the project.
      roots: the folders (or single files) of the project's packages by name; `project_roots()` unless given. A package
        that is imported from neither Python nor an installed package is followed all the same.

    Raises:
      CodeError: the entry point is not there, or a file cannot be read or parsed.
    """
    project = Project(project_roots() if roots is None else roots)
    module, name = _entry(entry, project)
    walk = _Walk(project)
    if module:
        walk.start(module, name)
    full = walk.digests()
    digest = digest_of([entry.replace(":", "."), *(text for item in sorted(full.items()) for text in item)])
    files = tuple(sorted({one.file for one in walk.loaded.values() if one.file.endswith(".py")}))
    return CodeClosure(entry, {key: full[key][:SHORT] for key in sorted(full)}, digest, files)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> CodeChange:
    """How two records of `CodeClosure.definitions` differ."""
    return CodeChange(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        edited=tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
    )


def _entry(entry: str, project: Project) -> tuple[str, str]:
    """The module and the name of an entry point; '' for one of an installed package."""
    colon = ":" in entry
    module, _, name = entry.partition(":") if colon else entry.rpartition(".")
    top = module.partition(".")[0]
    if project.covers(top) and project.module(module) is not None:
        name = name.partition(".")[0]
        if name and project.binds(module, name):
            return module, name
        symbols = project.module(module)
        known = sorted(symbols.definitions.keys() - {MODULE_LEVEL}) if symbols else []
        raise CodeError(
            f"'{entry}': the module '{module}' has no '{name}'.{nearest(name, known)}", f"It has: {listed(known)}."
        )
    if project.covers(top) or not project.installed(top):
        modules = project.below("")
        raise CodeError(
            f"'{entry}': there is no module '{module}'.{nearest(module, modules)}",
            "Name an entry point as package.module.Class.",
        )
    return "", ""


@dataclass
class _Walk:
    """Follows names; a definition, once reached, waits in `todo` until what it uses has been followed."""

    project: Project
    loaded: dict[str, ModuleSymbols] = field(default_factory=dict)
    reached: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    sequences: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)
    todo: list[tuple[str, str]] = field(default_factory=list)

    def start(self, module: str, name: str) -> None:
        self.load(module)
        for found in self.project.member(module, (name,)):
            self.take(found)
        while self.todo:
            self.follow(*self.todo.pop())
            if not self.todo and SUBCLASSES in self.marks:
                for symbols in list(self.loaded.values()):
                    self.reach(symbols.name, *classes(symbols))

    def load(self, name: str) -> None:
        """A module is imported: its packages first; then what it imports, and what it does beyond defining names."""
        todo = [name]
        while todo:
            parts = todo.pop().split(".")
            for module in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
                symbols = self.project.module(module)
                if symbols is None:
                    break
                if module not in self.loaded:
                    self.loaded[module] = symbols
                    todo += [one for target in symbols.loads for one in self._modules(target)]
                    self._run(symbols)

    def _modules(self, target: Target) -> list[str]:
        inner = f"{target.module}.{target.name}"
        symbols = self.project.module(target.module)
        is_module = target.name and symbols is not None and target.name not in symbols.definitions
        return [target.module, inner] if is_module and self.project.module(inner) else [target.module]

    def _run(self, symbols: ModuleSymbols) -> None:
        acting_names = acting(self.project, symbols)
        digest = sequence(self.project, symbols, acting_names)
        if digest:
            self.sequences[f"{symbols.name}.{MODULE_LEVEL}"] = digest
        deriving = {
            name for name in classes(symbols) if subclass_acts(self.project, symbols.name, symbols.definitions[name])
        }
        self.reach(symbols.name, *acting_names, *deriving)
        if MODULE_LEVEL in symbols.definitions:
            self.reach(symbols.name, MODULE_LEVEL)

    def reach(self, module: str, *names: str) -> None:
        for name in names:
            if (module, name) not in self.reached:
                self.reached[module, name] = []
                self.todo.append((module, name))

    def take(self, found: Found) -> None:
        if found.outside:
            return
        self.load(found.module)
        if found.name:
            self.reach(found.module, found.name)
        else:
            self.take_whole(found.module)

    def take_whole(self, module: str) -> None:
        """A module as a value: all that can be got from it by name."""
        if module in self.whole:
            return
        self.whole.add(module)
        self.load(module)
        symbols = self.loaded[module]
        self.reach(module, *symbols.definitions)
        for name in symbols.imports:
            for found in self.project.resolve(module, Use((name,))):
                self.take(found)
        for star in symbols.stars:
            if self.project.module(star) is not None:
                self.take_whole(star)
        for definition in symbols.definitions.values():
            for target in self.project.table_targets(symbols, definition) or ():
                self.take_named(target)
        for inner in self.project.below(f"{module}."):
            self.take_whole(inner)

    def take_named(self, module: str) -> None:
        if self.project.module(module) is not None:
            self.take_whole(module)

    def follow(self, module: str, name: str) -> None:
        """Reaches all that a definition uses, and notes what the imported ones among its names stand for."""
        symbols = self.loaded[module]
        definition = symbols.definitions[name]
        meanings = self.reached[module, name]
        for use in sorted(definition.names.uses, key=repr):
            for found in sorted(self.project.resolve(module, use)):
                self.take(found)
                if use.target or (found.module, found.name) != (module, use.chain[0]):
                    meanings.append(f"{'.'.join(use.chain)} = {found}")
        for target in definition.names.loads:
            for one in self._modules(target):
                self.load(one)
        self._follow_computed(symbols, definition)

    def _follow_computed(self, symbols: ModuleSymbols, definition: Definition) -> None:
        computed = set(definition.names.computed)
        targets = self.project.table_targets(symbols, definition)
        if targets is None:
            computed.add("")
        elif definition.name != "__getattr__":  # whose key is the name asked for, and that is followed where it is used
            for target in targets:
                self.take_named(target)
        for beginning in computed:
            for inner in self.project.below(beginning):
                self.take_whole(inner)
        self.marks |= definition.names.marks
        if OWN_MODULE in definition.names.marks:
            self.take_whole(symbols.name)
        if FILES in definition.names.marks:
            self.data |= self.project.data_files(symbols)

    def digests(self) -> dict[str, str]:
        """Digests of all that was reached, by full name."""
        found = {}
        for (module, name), meanings in self.reached.items():
            definition = self.loaded[module].definitions[name]
            docstrings = [definition.docstrings] if DOCSTRINGS in self.marks else []
            found[f"{module}.{name}"] = digest_of([definition.source, *docstrings, *sorted(meanings)])
        for full, digest in self.sequences.items():
            found[full] = digest_of([found.get(full, ""), digest])
        return found | self.data
