"""What a module does to others while it is imported, beyond defining names: it registers, it patches, it sets.

Such code counts for every step that imports the module, whether or not the step uses the names. Where that cannot be
told, it counts: a call of a function of the project, or a class of a library's making, may do anything.
"""

import builtins
import re
import sys

from pipeline.code_modules import Found, Project
from pipeline.code_scopes import Act
from pipeline.code_symbols import Definition, ModuleSymbols, digest_of

# What such functions of libraries are called; `set` as a built-in makes a set.
_TELLING = re.compile(
    r"^_?(set|register|add|enable|disable|install|patch|seed|update|append|insert|pop|clear|remove|extend|put|push|start|"
    r"config|basicConfig|init|use|load|import|exec|run(?!time)|filterwarnings|simplefilter|chdir|signal|finalize|connect|subscribe)"
)
_DOING_BUILTINS = frozenset(
    {"eval", "exec", "compile", "print", "input", "open", "setattr", "delattr", "__import__", "breakpoint"}
)
_READING_METHODS = frozenset(
    {"get", "items", "keys", "values", "copy", "index", "count", "format", "join", "split", "union"}
)
_MAKING = frozenset({"__init__", "__new__", "__post_init__", "__set_name__", "metaclass", "**"})
_DERIVING = frozenset({"__init_subclass__", "metaclass", "**"})
_QUIET_KEYWORDS = frozenset({"total"})


def subclass_acts(project: Project, module: str, definition: Definition) -> bool:
    """Whether to derive this class may tell someone: a library's class that finds its subclasses, a hook of the project."""
    if definition.kind != "class":
        return False
    own = any(not hook.startswith("__") and hook not in _QUIET_KEYWORDS for hook in definition.hooks)
    return own or _inherits(project, module, definition, _DERIVING, set())


def _inherits(project: Project, module: str, definition: Definition, hooks: frozenset[str], seen: set[Found]) -> bool:
    """Whether a base has one of the hooks, or may have it unseen."""
    for base in definition.bases:
        found = project.resolve(module, base) if base else set()
        if not found and not (base and len(base.chain) == 1 and _is_builtin(base.chain[0])):
            return True
        for one in found - seen:
            seen.add(one)
            if one.outside:
                if not _is_standard(one.module):
                    return True
            elif _class_has(project, one, hooks, seen):
                return True
    return False


def _class_has(project: Project, found: Found, hooks: frozenset[str], seen: set[Found]) -> bool:
    symbols = project.module(found.module)
    definition = symbols.definitions.get(found.name) if symbols else None
    if definition is None or definition.kind != "class" or found.rest or hooks & definition.hooks:
        return True
    return _inherits(project, found.module, definition, hooks, seen)


def acting(project: Project, symbols: ModuleSymbols) -> set[str]:
    """The definitions whose making calls what may do more than to make a value."""
    return {
        name
        for name, definition in symbols.definitions.items()
        if any(_acts(project, symbols.name, act) for act in definition.names.acts)
    }


def _acts(project: Project, module: str, act: Act) -> bool:
    if act.callee is None:
        return True
    found = project.resolve(module, act.callee)
    if found:
        return any(_call_acts(project, module, act, one) for one in found)
    if not act.callee.chain:
        return _foreign_acts(project, module, act)
    name = act.callee.chain[0]
    return not _is_builtin(name) or (name in _DOING_BUILTINS and len(act.callee.chain) == 1)


def _call_acts(project: Project, module: str, act: Act, found: Found) -> bool:
    if found.outside:
        if found.module.startswith("os.environ") and act.name not in _READING_METHODS:
            return True
        if _is_standard(found.module):
            return bool(_TELLING.match(act.name))
        return act.decorates or _foreign_acts(project, module, act)
    symbols = project.module(found.module)
    definition = symbols.definitions.get(found.name) if symbols else None
    if definition is None or act.decorates:
        return True
    if definition.kind == "class":
        return bool(found.rest) or _class_has(project, found, _MAKING, set())
    return definition.kind != "value" or len(found.rest) != 1 or found.rest[0] not in _READING_METHODS


def _foreign_acts(project: Project, module: str, act: Act) -> bool:
    """A library may keep what it is given: a function or a class of the project."""
    return bool(_TELLING.match(act.name)) or any(
        _is_code(project, found) for use in act.given for found in project.resolve(module, use)
    )


def _is_code(project: Project, found: Found) -> bool:
    symbols = None if found.outside else project.module(found.module)
    definition = symbols.definitions.get(found.name) if symbols else None
    return not found.outside and (definition is None or definition.kind in ("function", "class"))


def _is_builtin(name: str) -> bool:
    return hasattr(builtins, name)


def _is_standard(dotted: str) -> bool:
    return dotted.partition(".")[0] in sys.stdlib_module_names


def sequence(project: Project, symbols: ModuleSymbols, acting_names: set[str]) -> str:
    """Digest of what a module does as it is imported, in order; '' when it does nothing.

    Once something has been done, the order of the imports after it matters, too.
    """
    tokens: list[str] = []
    idle = {
        name
        for name, targets in symbols.idle_imports.items()
        if any(project.module(target.module) is None for target in targets)
    }
    for token in symbols.body:
        if token.kind == "definition":
            tokens += [name for name in token.names if name in acting_names]
        elif token.kind == "statement" or tokens or idle.intersection(token.names):
            tokens.append(token.digest)
    alone = len(tokens) == 1 and tokens[0] in acting_names  # counts as a definition already
    return "" if alone or not tokens else digest_of(tokens)


def classes(symbols: ModuleSymbols) -> list[str]:
    """The names of a module's classes that derive from something."""
    return [name for name, one in symbols.definitions.items() if one.kind == "class" and one.bases]
