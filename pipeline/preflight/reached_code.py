"""Code that jobs reach and workers would not get, and code on workers that no commit holds.

Static: every import in the wheel's modules, wherever it stands, one by a literal name as well, must lead to a module that
the wheel holds or to an installed package.
"""

import ast
import os
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from beam_jobs.errors import listed
from pipeline.deploy.worker_package import FAMILIES, WorkerPackage, modules_for
from pipeline.preflight.finding import Finding

_SECONDS = 10


@dataclass(frozen=True)
class _Import:
    """An import statement, or a call that imports: the names that it may stand for, the likeliest first."""

    line: int
    names: tuple[str, ...]


def check(packages: Iterable[WorkerPackage], project: str) -> Iterator[Finding]:
    """What is reached and not in a wheel is refused; what no commit holds is a warning.

    Args:
      packages: what workers install.
      project: the source tree.
    """
    every = list(packages)
    changed = {file for package in every for file in package.changed}
    states = _states(project)
    imports: dict[str, tuple[str, list[_Import]]] = {}
    # What loads a family of models by its name looks for all; those that no job needs stay at home.
    optional = set(modules_for([name for needs in FAMILIES.values() for name in needs.modules], project))
    for package in every:
        inside = {*package.modules, *optional}
        for module in package.modules:
            path, found = imports.get(module) or imports.setdefault(module, _imports(module, project))
            for one in found:
                target = _target(one.names, project)
                if target is not None and target not in inside:
                    yield _lacking(f"{path}:{one.line}", target, project, states)
    if changed:
        yield Finding(
            listed(sorted(changed), 5),
            f"Workers get {len(changed)} files as they are here, which no commit holds: nobody else can make this run again.",
            "Commit them.",
            "warning",
        )


def _lacking(where: str, target: str, project: str, states: dict[str, str]) -> Finding:
    file = _file_of(target, project) or target
    state = states.get(file, "")
    told = f" ({state})" if state else ""
    return Finding(
        where,
        f"Jobs reach '{target}' here, and the wheel of the workers lacks it: '{file}'{told}.",
        "Workers get `beam_jobs`, and of `components` what jobs import by `import` or `from ... import`; move it there, or import it so.",
    )


def _imports(module: str, project: str) -> tuple[str, list[_Import]]:
    """The module's file, and what it imports wherever in it."""
    path = _file_of(module, project)
    assert path is not None  # the wheel was made from it
    with open(os.path.join(project, path), "rb") as stream:
        tree = ast.parse(stream.read(), path)
    return path, list(_named(tree, path, module))


def _named(tree: ast.Module, path: str, module: str) -> Iterator[_Import]:
    package = module if path.endswith("/__init__.py") else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_Import(node.lineno, (alias.name,)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            yield from (_Import(node.lineno, (f"{base}.{alias.name}", base)) for alias in node.names)
        elif isinstance(node, ast.Call) and (name := _called(node)):
            yield _Import(node.lineno, (name,))


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return str(node.module)
    parts = package.split(".")
    kept = parts[: len(parts) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _called(node: ast.Call) -> str:
    """The literal name that `import_module` or `__import__` is called with."""
    function = node.func
    named = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    first = node.args[0] if node.args else None
    if named not in ("import_module", "__import__") or not isinstance(first, ast.Constant):
        return ""
    return first.value if isinstance(first.value, str) else ""


def _target(names: Collection[str], project: str) -> str | None:
    """The module of the project that an import means; None for one of an installed package."""
    return next((name for name in names if _file_of(name, project)), None)


def _file_of(module: str, project: str) -> str | None:
    base = module.replace(".", "/")
    candidates = (f"{base}.py", f"{base}/__init__.py")
    return next((path for path in candidates if os.path.isfile(os.path.join(project, path))), None)


def _states(project: str) -> dict[str, str]:
    """What git says of the files that differ from the commit; nothing where there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", project, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return {}
    entries = [entry for entry in done.stdout.split("\0") if entry] if done.returncode == 0 else []
    return {entry[3:]: "not committed" if entry.startswith("??") else "changed since the commit" for entry in entries}
