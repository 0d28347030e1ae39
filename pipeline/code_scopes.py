"""What Python binds where: the names of one scope, and the scope that a name used in it belongs to; what code uses."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Chain = tuple[str, ...]
OWN_MODULE, DOCSTRINGS, SUBCLASSES, FILES = "own module", "docstrings", "subclasses", "files"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Target(NamedTuple):
    """What an import binds: a module, or, with `name`, that name of the module (which may be a module inside it)."""

    module: str
    name: str = ""


@dataclass
class Scope:
    """One scope.

    Attributes:
      bound: names that it binds otherwise than by an import.
      imports: names that it binds by imports.
      outward: names that it declares `global` (True) or `nonlocal` (False).
      values: what is assigned to a name, where that can be seen.
      stores: how often a name is bound; more often than it has `values` where some cannot be seen.
    """

    parent: "Scope | None" = None
    is_class: bool = False
    bound: set[str] = field(default_factory=set)
    imports: dict[str, list[Target]] = field(default_factory=dict)
    outward: dict[str, bool] = field(default_factory=dict)
    values: dict[str, list[ast.expr]] = field(default_factory=dict)
    stores: Counter[str] = field(default_factory=Counter)

    def add(self, name: str) -> None:
        """Binds a name."""
        self.bound.add(name)
        self.stores[name] += 1

    def seen_values(self, name: str) -> list[ast.expr]:
        """All that the name can stand for, or nothing where that is not certain."""
        values = self.values.get(name, [])
        return values if len(values) == self.stores[name] else []


@dataclass(frozen=True)
class Surroundings:
    """Of the module that the code stands in: its name, its package, and its own names."""

    module: str
    package: str
    imports: Mapping[str, Sequence[Target]]
    bound: frozenset[str]


class Use(NamedTuple):
    """A name with attributes behind it: `chain` starts at a name of the module at hand, or goes on from `target`."""

    chain: Chain
    target: Target | None = None


class Act(NamedTuple):
    """A call, or a decorator, that runs as the module is imported.

    Attributes:
      callee: what is called; None where that is a value which only the running code knows.
      name: the last part of what is called, or ''.
      given: what the arguments (or what is decorated) use.
    """

    callee: Use | None
    name: str
    given: frozenset[Use]
    decorates: bool = False


@dataclass
class Names:
    """What a piece of code uses.

    Attributes:
      loads: the modules that its imports run; `early` are those that run with the module's own import.
      computed: beginnings of module names whose end only the running code knows; '' stands for any module.
      tables: names of the module's dictionaries from which module names are looked up.
      marks: `OWN_MODULE`, `DOCSTRINGS`, `SUBCLASSES`, `FILES`: it looks these up at run time.
      acts: what it does as its module is imported.
    """

    uses: set[Use] = field(default_factory=set)
    loads: set[Target] = field(default_factory=set)
    early: set[Target] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    marks: set[str] = field(default_factory=set)
    acts: set[Act] = field(default_factory=set)


def package_of(module: str, is_package: bool) -> str:
    """The package that a module's relative imports start from."""
    return module if is_package else module.rpartition(".")[0]


def absolute(package: str, module: str, level: int) -> str:
    """The full name of what `from ..module import x` imports from, inside `package`."""
    if not level:
        return module
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{module}".strip(".")


def imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Target]]:
    """The names that an import binds; `*` for a star."""
    if isinstance(node, ast.ImportFrom):
        module = absolute(package, node.module or "", node.level)
        yield from ((alias.asname or alias.name, Target(module, alias.name)) for alias in node.names)
        return
    for alias in node.names:
        whole = alias.name if alias.asname else alias.name.partition(".")[0]
        yield alias.asname or whole, Target(whole)


def loaded(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[Target]:
    """The modules that an import runs, if they have not been run yet."""
    if isinstance(node, ast.Import):
        yield from (Target(alias.name) for alias in node.names)
    else:
        module = absolute(package, node.module or "", node.level)
        yield from (Target(module, "" if alias.name == "*" else alias.name) for alias in node.names)


def for_types_alone(node: ast.AST) -> bool:
    """Whether this is `if TYPE_CHECKING:`, whose body never runs."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"


def bind(nodes: Iterable[ast.AST], scope: Scope, package: str) -> None:
    """Adds what the nodes bind in the scope itself, not in those nested in it.

    To miss a binding makes a local name look global, so too much counts as used; a binding too many would hide a use.
    """
    for node in nodes:
        if type(node) is ast.Constant or not node._fields:
            continue  # most nodes by far
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            scope.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name, target in imported(node, package):
                scope.imports.setdefault(name, []).append(target)
        elif isinstance(node, COMPREHENSIONS):
            _bind_walrus(node, scope)
        elif for_types_alone(node) and isinstance(node, ast.If):
            bind(node.orelse, scope, package)
        elif not isinstance(node, ast.Lambda):
            _bind_node(node, scope)
            bind(ast.iter_child_nodes(node), scope, package)


def _bind_node(node: ast.AST, scope: Scope) -> None:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        scope.add(node.id)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        scope.add(node.name)
    elif isinstance(node, ast.MatchMapping) and node.rest:
        scope.add(node.rest)
    elif isinstance(node, ast.Global | ast.Nonlocal):
        scope.outward |= dict.fromkeys(node.names, isinstance(node, ast.Global))
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            _note_value(target, node.value, scope)
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        _note_value(node.target, node.value, scope)


def _note_value(target: ast.expr, value: ast.expr, scope: Scope) -> None:
    for name in target.elts if isinstance(target, ast.Tuple) else [target]:
        if isinstance(name, ast.Name):
            scope.values.setdefault(name.id, []).append(value)


def _bind_walrus(comprehension: ast.AST, scope: Scope) -> None:
    """`:=` inside a comprehension binds outside it."""
    for child in ast.iter_child_nodes(comprehension):
        if isinstance(child, ast.NamedExpr):
            scope.add(child.target.id)
        if not isinstance(child, ast.Lambda):
            _bind_walrus(child, scope)


def function_scope(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, parent: Scope, package: str) -> Scope:
    """The scope of a function's body."""
    given, scope = node.args, Scope(parent)
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    for one in every:
        if one:
            scope.add(one.arg)
    bind([node.body] if isinstance(node, ast.Lambda) else node.body, scope, package)
    return scope


def owner(name: str, scope: Scope) -> Scope | None:
    """The scope inside the module that a name used in `scope` belongs to; None for the module itself.

    A class never hides a name of the module: before its own assignment the name is still the module's.
    """
    at: Scope | None = scope
    while at is not None:
        if name in at.outward:
            if at.outward[name]:
                return None
        elif at.is_class:
            if at is scope and name in at.imports:
                return at
        elif name in at.bound or name in at.imports:
            return at
        at = at.parent
    return None
