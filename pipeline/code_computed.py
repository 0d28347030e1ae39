"""Modules that code asks for by a name: the name, or the part of it that can be told without running the code."""

import ast
import itertools

from pipeline.code_scopes import Surroundings, absolute

IMPORTERS = frozenset(
    {"importlib.import_module", "importlib.__import__", "__import__", "runpy.run_module", "pkgutil.resolve_name"}
)
_OPAQUE = (
    "runpy.",
    "importlib.util.spec_from",
    "importlib.util.module_from",
    "importlib.machinery.",
    "importlib.reload",
    "zipimport.",
    "imp.",
    "pkgutil.iter_",
    "pkgutil.walk_",
    "pkgutil.find_loader",
    "pkgutil.get_loader",
    "sys.modules.",
)


def opaque(dotted: str) -> bool:
    """Whether what is called so, used otherwise than in a plain call of an importer, may come to any module."""
    return dotted in IMPORTERS or f"{dotted}.".startswith(_OPAQUE)


def own_name(node: ast.expr, around: Surroundings) -> str | None:
    """The text of a constant, of `__name__` or of `__package__`; None for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id="__name__"):
            return around.module
        case ast.Name(id="__package__"):
            return around.package
    return None


def beginning(name: ast.expr, anchor: str | None, around: Surroundings) -> str:
    """The constant text that a computed module name begins with; '' when nothing can be told."""
    parts: list[ast.expr] = [name]
    while parts and isinstance(parts[0], ast.BinOp | ast.JoinedStr | ast.FormattedValue):
        match parts.pop(0):
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                parts[:0] = [left, right]
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
                parts[:0] = [ast.Constant(text.partition("%")[0]), ast.Constant(None)]
            case ast.JoinedStr(values=values):
                parts[:0] = values
            case ast.FormattedValue(value=value):
                parts.insert(0, value)
            case _:
                return ""
    text = "".join(itertools.takewhile(bool, (own_name(part, around) or "" for part in parts)))
    if text.startswith("."):
        return "" if anchor is None else from_anchor(text, anchor)
    return text


def from_anchor(name: str, anchor: str) -> str:
    """A relative module name (or the beginning of one) in full; an absolute one as it is."""
    level = len(name) - len(name.lstrip("."))
    return absolute(anchor, name[level:], level) + "." * (level > 0 and not name[level:])


def looked_up_in(node: ast.expr) -> str:
    """`TABLE` for `TABLE[key]` and `TABLE.get(key)`, else nothing."""
    match node:
        case ast.Subscript(value=ast.Name(id=table)):
            return table
        case ast.Call(func=ast.Attribute(value=ast.Name(id=table), attr="get"), args=[_]):
            return table
    return ""
