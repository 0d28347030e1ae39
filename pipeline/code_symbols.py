"""One Python file as definitions: what each is, without comments, docstrings and layout, and what it uses."""

import ast
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from beam_jobs.errors import BraidError
from pipeline.code_names import chain_of, names_of
from pipeline.code_scopes import (
    FUNCTIONS,
    Names,
    Scope,
    Surroundings,
    Target,
    Use,
    bind,
    for_types_alone,
    imported,
    loaded,
    package_of,
)

Kind = Literal["function", "class", "value", "statements"]
MODULE_LEVEL = "<module>"


class CodeError(BraidError):
    """Code of the project that cannot be read, or is not there."""


@dataclass(frozen=True)
class Definition:
    """A top-level name of a module.

    Attributes:
      source: digest of its statements without docstrings; `docstrings` of these.
      bases: of a class, what it derives from; None for what only the running code knows.
      hooks: of a class, the special methods and keywords by which it acts on its making, or on that of its subclasses.
    """

    name: str
    kind: Kind
    source: str
    docstrings: str
    names: Names
    bases: tuple[Use | None, ...] = ()
    hooks: frozenset[str] = frozenset()


class Token(NamedTuple):
    """A top-level statement in its place: `digest` of one that is no definition, and the `names` that it binds."""

    kind: Literal["statement", "import", "definition"]
    digest: str = ""
    names: tuple[str, ...] = ()


@dataclass
class ModuleSymbols:
    """A module.

    Attributes:
      imports: the names that its top level imports, each with all that it may stand for.
      stars: modules of which it imports every name.
      loads: the modules that its own import runs.
      in_statements: names that are bound inside other top-level statements (`if`, `try`, ...).
      tables: its dictionaries from text to text (or to pairs of text), for lazy imports.
      body: its top level in order.
      idle_imports: of outside names that nothing in the module uses: imported for what the import itself does.
    """

    name: str
    file: str
    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, list[Target]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    loads: set[Target] = field(default_factory=set)
    in_statements: set[str] = field(default_factory=set)
    tables: dict[str, dict[str, Target]] = field(default_factory=dict)
    body: list[Token] = field(default_factory=list)
    idle_imports: dict[str, list[Target]] = field(default_factory=dict)


def digest_of(texts: Iterable[str]) -> str:
    """BLAKE2b-128 of some texts, in hexadecimal; where one ends and the next begins matters."""
    whole = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        whole.update(len(encoded).to_bytes(8, "big") + encoded)
    return whole.hexdigest()


def read_module(name: str, file: str, is_package: bool) -> ModuleSymbols:
    """Reads one file.

    Raises:
      CodeError: it cannot be read or parsed.
    """
    try:
        with open(file, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Reader(name, file, is_package).read(ast.parse(stream.read(), file))
    except OSError as error:
        raise CodeError(f"'{file}' cannot be read: {error.strerror or error}.", "Mend its permissions.") from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise CodeError(f"'{file}:{line}' is not Python: {said}.", "Mend the line; then run the same again.") from error
    except RecursionError as error:
        raise CodeError(f"'{file}' is nested too deeply to be read.", "Split its longest expression.") from error


class _Reader:
    def __init__(self, name: str, file: str, is_package: bool) -> None:
        self.symbols = ModuleSymbols(name, file)
        self.package = package_of(name, is_package)
        self.parts: dict[str, list[ast.stmt]] = {}
        self.statements: list[ast.stmt] = []

    def read(self, tree: ast.Module) -> ModuleSymbols:
        body = list(_running(tree.body))
        placed = [(statement, self._place(statement)) for statement in body]
        symbols = self.symbols
        bound = frozenset({*self.parts, *symbols.in_statements})
        around = Surroundings(symbols.name, self.package, symbols.imports, bound)
        docstrings = {id(statement): _strip(statement) for statement in body}
        for name, parts in self.parts.items():
            symbols.definitions[name] = _definition(name, parts, docstrings, around)
        if self.statements:
            symbols.definitions[MODULE_LEVEL] = _definition(MODULE_LEVEL, self.statements, docstrings, around)
        symbols.body = [_token(statement, names) for statement, names in placed]
        used = {use.chain[0] for one in symbols.definitions.values() for use in one.names.uses if use.chain}
        symbols.idle_imports = {name: targets for name, targets in symbols.imports.items() if name not in used}
        for one in symbols.definitions.values():
            symbols.loads |= one.names.early
        return symbols

    def _place(self, statement: ast.stmt) -> tuple[str, ...] | None:
        """Files a statement under the names that it defines; None where it is not a definition."""
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self._import(statement)
            return None
        scope = Scope()
        bind([statement], scope, self.package)
        names = tuple(sorted(scope.bound))
        if _defines(statement) and "_" not in names:
            for name in names:
                self.parts.setdefault(name, []).append(statement)
            self._note_table(statement)
            return names
        self.statements.append(statement)
        self.symbols.in_statements.update(scope.bound)
        self._import_names((name, target) for name, targets in scope.imports.items() for target in targets)
        return None

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        self.symbols.loads.update(loaded(statement, self.package))
        self._import_names(imported(statement, self.package))

    def _import_names(self, names: Iterable[tuple[str, Target]]) -> None:
        for name, target in names:
            if name == "*":
                self.symbols.stars.append(target.module)
            else:
                self.symbols.imports.setdefault(name, []).append(target)

    def _note_table(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys, values=values)):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys=keys, values=values)):
                pass
            case _:
                return
        table = {}
        for key, value in zip(keys, values, strict=True):
            target = self._table_target(value)
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str) or target is None:
                return
            table[key.value] = target
        self.symbols.tables[name] = table

    def _table_target(self, value: ast.expr) -> Target | None:
        parts = value.elts if isinstance(value, ast.Tuple) else [value]
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if len(texts) != len(parts) or not 1 <= len(texts) <= 2:
            return None
        module = f"{self.package}{texts[0]}" if texts[0].startswith(".") else texts[0]
        return Target(module, *texts[1:])


def _running(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The top-level statements that an import runs, without those that do nothing."""
    for statement in body:
        if isinstance(statement, ast.If) and (for_types_alone(statement) or _is_main_guard(statement.test)):
            yield from _running(statement.orelse)
        elif not _does_nothing(statement):
            yield statement


def _is_main_guard(test: ast.expr) -> bool:
    return ast.dump(test) == ast.dump(ast.parse("__name__ == '__main__'", mode="eval").body)


def _does_nothing(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _defines(statement: ast.stmt) -> bool:
    """Whether the statement does nothing but bind names of the module, as far as its form tells."""
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        return True
    if isinstance(statement, ast.AnnAssign):
        return isinstance(statement.target, ast.Name)
    return isinstance(statement, ast.Assign) and all(map(_is_names, statement.targets))


def _is_names(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(map(_is_names, target.elts))
    return _is_names(target.value) if isinstance(target, ast.Starred) else isinstance(target, ast.Name)


def _strip(statement: ast.AST) -> list[str]:
    """Takes out what has no effect, and returns the docstrings among it."""
    taken = []
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(statement, block, None)
        if isinstance(inner, list):
            idle = [one for one in inner if _does_nothing(one)]
            taken += [ast.dump(one) for one in idle if isinstance(one, ast.Expr)]
            if idle:
                setattr(statement, block, [one for one in inner if one not in idle])
            for one in inner:
                taken += _strip(one)
    return taken


def _definition(
    name: str, parts: list[ast.stmt], docstrings: Mapping[int, list[str]], around: Surroundings
) -> Definition:
    kind: Kind = "statements" if name == MODULE_LEVEL else "value"
    bases: list[Use | None] = []
    hooks: set[str] = set()
    if all(isinstance(part, FUNCTIONS) for part in parts):
        kind = "function"
    for part in parts:
        if isinstance(part, ast.ClassDef):
            kind = "class"
            chains = [chain_of(base.value if isinstance(base, ast.Subscript) else base) for base in part.bases]
            bases += [Use(chain) if chain else None for chain in chains]
            hooks |= {keyword.arg or "**" for keyword in part.keywords}
            hooks |= {one.name for one in part.body if isinstance(one, FUNCTIONS) and one.name.startswith("__")}
    return Definition(
        name=name,
        kind=kind,
        source=digest_of(ast.dump(part, annotate_fields=False) for part in parts),
        docstrings=digest_of(text for part in parts for text in docstrings[id(part)]),
        names=names_of(parts, around),
        bases=tuple(bases),
        hooks=frozenset(hooks),
    )


def _token(statement: ast.stmt, names: tuple[str, ...] | None) -> Token:
    if names is not None:
        return Token("definition", names=names)
    digest = digest_of([ast.dump(statement, annotate_fields=False)])
    if isinstance(statement, ast.Import | ast.ImportFrom):
        bound = (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
        return Token("import", digest, tuple(bound))
    return Token("statement", digest)
