"""The shape of the source tree: sizes, the three files of a step, packages."""

import ast
import runpy
from pathlib import Path
from typing import Any

import pytest
import setuptools
from source_tree import PACKAGES, ROOT, source_files, tree

MOST_LINES = 500
MOST_FUNCTION_LINES = 50
STEPS = sorted(path.parent for path in source_files() if path.name == "component.py")


def test_no_file_is_long() -> None:
    tests = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py")]
    lengths = {str(path): (ROOT / path).read_text().count("\n") for path in [*source_files(), *tests]}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_function_is_long() -> None:
    long = {
        f"{path}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in source_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert long == {}


def test_a_package_file_holds_nothing_but_its_docstring() -> None:
    for path in source_files():
        if path.name == "__init__.py":
            body = tree(path).body
            assert len(body) == 1 and ast.get_docstring(tree(path)), path


def test_the_steps_are_found() -> None:
    assert {path.name for path in STEPS} >= {"ingest", "prepare", "trainer", "evaluator", "pusher"}


@pytest.mark.parametrize("step", STEPS, ids=lambda path: path.name)
def test_a_step_is_a_component_an_executor_and_its_work(step: Path) -> None:
    modules = {path.stem for path in source_files() if path.parent == step} - {"__init__"}
    assert {"component", "executor"} < modules or step.name in ("ingest", "prepare")  # those work in `beam_jobs`
    assert {"component", "executor"} <= modules
    component, executor = (_classes(step / f"{name}.py") for name in ("component", "executor"))
    assert all("EXECUTOR_SPEC" in _assigned(one) for one in component if "Spec" not in one.name)
    assert [one.name for one in executor] == ["Executor"]


@pytest.mark.parametrize("step", STEPS, ids=lambda path: path.name)
def test_the_work_of_a_step_knows_no_tfx(step: Path) -> None:
    for path in source_files():
        if path.parent == step and path.stem not in ("component", "executor"):
            for node in ast.walk(tree(path)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not [name for name in names if name.split(".")[0] == "tfx"], path


def _classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in tree(path).body if isinstance(node, ast.ClassDef)]


def _assigned(node: ast.ClassDef) -> set[str]:
    targets = [target for one in node.body if isinstance(one, ast.Assign) for target in one.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_every_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **settings: given.update(settings))
    runpy.run_path(str(ROOT / "setup.py"))
    on_disk = {".".join(path.parent.parts) for path in source_files()}
    assert set(given["packages"]) == on_disk
    assert len(given["packages"]) == len(on_disk)
    assert {name.partition(".")[0] for name in on_disk} == set(PACKAGES)
