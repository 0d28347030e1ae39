"""The names that a piece of code uses, and what it does while its module is imported; nothing is run to find out."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from pipeline.code_computed import IMPORTERS, beginning, from_anchor, looked_up_in, opaque, own_name
from pipeline.code_scopes import (
    DOCSTRINGS,
    FILES,
    OWN_MODULE,
    SUBCLASSES,
    Act,
    Chain,
    Names,
    Scope,
    Surroundings,
    Target,
    Use,
    bind,
    for_types_alone,
    function_scope,
    loaded,
    owner,
)

_FILES = ("importlib.resources", "importlib_resources", "pkgutil.get_data", "__file__")
_DOCSTRINGS = ("inspect.getdoc", "inspect.getsource", "inspect.cleandoc", "__doc__")
_NAMESPACES = ("globals", "eval", "exec", "locals", "vars", "dir")
_ATTRIBUTES = {"__doc__": DOCSTRINGS, "__file__": FILES, "__subclasses__": SUBCLASSES}


def names_of(nodes: Iterable[ast.AST], surroundings: Surroundings) -> Names:
    """The names that statements of a module's top level use, whatever is nested in them."""
    collector = _Collector(surroundings)
    for node in nodes:
        collector.visit(node)
    return collector.names


def chain_of(node: ast.expr) -> Chain:
    """`a.b.c` as its parts; () for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else ()


class _Collector(ast.NodeVisitor):
    def __init__(self, surroundings: Surroundings) -> None:
        self.names, self.around, self.scope = Names(), surroundings, Scope(is_class=True)
        self.in_functions = 0

    # Scopes

    @contextmanager
    def _inside(self, scope: Scope, is_function: bool) -> Iterator[None]:
        outer, self.scope = self.scope, scope
        self.in_functions += is_function
        yield
        self.scope = outer
        self.in_functions -= is_function

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self._decorator(decorator)
        self._arguments(node.args)
        self._annotation(node.returns)
        with self._inside(function_scope(node, self.scope, self.around.package), True):
            self._visit_all(node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._arguments(node.args)
        with self._inside(function_scope(node, self.scope, self.around.package), True):
            self.visit(node.body)

    def _arguments(self, given: ast.arguments) -> None:
        self._visit_all([one for one in (*given.defaults, *given.kw_defaults) if one])
        for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
            self._annotation(one.annotation if one else None)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self._decorator(decorator)
        self._visit_all([*node.bases, *node.keywords])
        scope = Scope(self.scope, is_class=True)
        bind(node.body, scope, self.around.package)
        with self._inside(scope, False):
            self._visit_all(node.body)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        scope = Scope(self.scope)
        bind([generator.target for generator in node.generators], scope, self.around.package)
        with self._inside(scope, False):
            self.generic_visit(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    # Names

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) or node.id in self.scope.outward:
            self._use((node.id,))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._use((node.target.id,))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in _ATTRIBUTES:
            self.names.marks.add(_ATTRIBUTES[node.attr])
        chain = chain_of(node)
        if chain:
            self._use(chain)
        else:
            self.generic_visit(node)

    def _use(self, chain: Chain) -> None:
        self.names.uses.update(self._resolved(chain))
        for dotted in self._dotted(chain):
            if opaque(dotted):
                self.names.computed.add("")
            elif dotted.startswith(_FILES):
                self.names.marks.add(FILES)
            elif dotted.startswith(_DOCSTRINGS):
                self.names.marks.add(DOCSTRINGS)

    def _resolved(self, chain: Chain) -> list[Use]:
        """The uses that a chain comes to; none when it starts at a local name."""
        scope = owner(chain[0], self.scope)
        if scope is None:
            return [Use(chain)]
        return [Use(chain[1:], target) for target in scope.imports.get(chain[0], ())]

    def _dotted(self, chain: Chain) -> list[str]:
        """Names outside the module that the chain may stand for, in full; a built-in one is its own full name."""
        found = []
        for use in self._resolved(chain):
            targets = [use.target] if use.target else self.around.imports.get(chain[0], ())
            rest = use.chain if use.target else chain[1:]
            found += [".".join(part for part in (*target, *rest) if part) for target in targets]
            if use.target is None and chain[0] not in self.around.bound and not targets:
                found.append(".".join(chain))
        return found

    def _annotation(self, node: ast.expr | None) -> None:
        """Also text in an annotation is code, to whoever asks for the types at run time."""
        if node is None:
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                self.visit(ast.parse(node.value, mode="eval").body)
            except (SyntaxError, ValueError):
                return
        elif isinstance(node, ast.Subscript) and chain_of(node.value)[-1:] != ("Literal",):
            self.visit(node.value)
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            for part in parts:
                self._annotation(part)
        elif isinstance(node, ast.BinOp):
            self._annotation(node.left)
            self._annotation(node.right)
        else:
            self.visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        self._visit_all([node.target, *([node.value] if node.value else [])])

    # Imports

    def visit_If(self, node: ast.If) -> None:
        self._visit_all(node.orelse) if for_types_alone(node) else self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        targets = list(loaded(node, self.around.package))
        self.names.loads.update(targets)
        if not self.in_functions:
            self.names.early.update(targets)
        bound = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        in_class = self.scope.is_class and self.scope.parent is not None
        if in_class or bound & self.scope.outward.keys():
            # Reached as an attribute, or by a name of the module, which nobody follows back to here.
            self.names.uses.update(Use((), target) for target in targets)

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_Compare(self, node: ast.Compare) -> None:
        known = [self._is_sys_modules(one) for one in node.comparators]
        self._visit_all([node.left, *(one for one, skip in zip(node.comparators, known, strict=True) if not skip)])

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not self._is_sys_modules(node.value):
            self.generic_visit(node)
            return
        if isinstance(node.ctx, ast.Load):
            self._module_named(node.slice)
        self.visit(node.slice)

    def _is_sys_modules(self, node: ast.expr) -> bool:
        chain = chain_of(node)
        is_so = bool(chain) and self._dotted(chain) == ["sys.modules"]
        self.names.uses.update(self._resolved(chain) if is_so else ())
        return is_so

    # Calls

    def visit_Call(self, node: ast.Call) -> None:
        chain = chain_of(node.func)
        dotted = self._dotted(chain) if chain else []
        if IMPORTERS.intersection(dotted):
            self.names.uses.update(self._resolved(chain))
            self._act(node.func, [*node.args, *node.keywords])
            self._module_named(node.args[0] if node.args else ast.Constant(None), self._anchor(node))
            self._visit_all([*node.args, *node.keywords])
            return
        if dotted == ["getattr"] and self._constant_getattr(node):
            return
        if dotted[:1] and dotted[0] in _NAMESPACES and (not node.args or dotted[0] in ("eval", "exec")):
            self.names.marks.add(OWN_MODULE)
        self._act(node.func, [*node.args, *node.keywords])
        self.generic_visit(node)

    def _constant_getattr(self, node: ast.Call) -> bool:
        """`getattr(a.b, "c")` with a constant is `a.b.c`."""
        match node.args:
            case [where, ast.Constant(value=str(attribute)), *rest] if chain_of(where):
                self._use((*chain_of(where), attribute))
                self.names.marks |= {_ATTRIBUTES[attribute]} if attribute in _ATTRIBUTES else set()
                self._visit_all(rest)
                return True
        return False

    def _module_named(self, name: ast.expr, anchor: str | None = "", follow: bool = True) -> None:
        """Code asks for a module by a name: as good as a use of every module that can be meant.

        Args:
          name: the expression of the name.
          anchor: the package that a relative name starts from; None when it cannot be told.
          follow: whether a local name may stand for what is assigned to it.
        """
        scope = owner(name.id, self.scope) if isinstance(name, ast.Name) and follow else None
        values = scope.seen_values(name.id) if scope and isinstance(name, ast.Name) else []
        for value in values:
            self._module_named(value, anchor, follow=False)
        table, text = looked_up_in(name), name.value if isinstance(name, ast.Constant) else None
        if isinstance(text, str) and (anchor is not None or not text.startswith(".")):
            self.names.uses.add(Use((), Target(from_anchor(text, anchor or ""))))
        elif isinstance(name, ast.Name) and name.id == "__name__":
            self.names.marks.add(OWN_MODULE)
        elif table and owner(table, self.scope) is None:
            self.names.tables.add(table)
        elif not values:
            self.names.computed.add(beginning(name, anchor, self.around))

    def _anchor(self, call: ast.Call) -> str | None:
        """What a relative name in a call of `import_module` starts from."""
        given = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "package")]
        return own_name(given[0], self.around) if given else ""

    # What runs as the module is imported

    def _act(self, called: ast.expr, given: Sequence[ast.AST], decorates: bool = False) -> None:
        if self.in_functions:
            return
        chain, name = chain_of(called), called.attr if isinstance(called, ast.Attribute) else ""
        uses = self._resolved(chain) if chain else []
        if not uses and not name:
            self.names.acts.add(Act(None, "", frozenset(), decorates))
        within = frozenset(names_of(given, self.around).uses)
        for use in uses or ([Use(())] if name else []):
            self.names.acts.add(Act(use, (chain or (name,))[-1], within, decorates))

    def _decorator(self, node: ast.expr) -> None:
        called = node.func if isinstance(node, ast.Call) else node
        own = self.scope.parent is not None and chain_of(called)[:1] and chain_of(called)[0] in self.scope.bound
        if not (own and chain_of(called)[-1] in ("setter", "getter", "deleter")):
            self._act(called, [], decorates=True)
        self.visit(node)
