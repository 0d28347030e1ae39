"""The digest of a step's code: what does not change it, where it is the same, how two differ, what is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_code import ENTRY, MadeUp

from beam_jobs.errors import BraidError
from pipeline.code_closure import CodeChange, changed, code_closure
from pipeline.code_modules import PROJECT, project_roots
from pipeline.code_symbols import read_module

CODE = '''
# app/step.py
"""A step."""

from app.work import LIMIT, helper


class Step:
    """Does it."""

    def do(self, text: str = "a") -> int:
        """Once."""
        if text:
            pass
        return helper(text, (1, 1_000)) + LIMIT


def unused() -> None:
    return None
# app/work.py
import os

LIMIT = 3


def helper(text, pair):
    print(f"{text}" "b", pair, 0x10, flush=True)


def last():
    return os.sep
'''


@pytest.fixture
def code(tmp_path: Path) -> MadeUp:
    return MadeUp(tmp_path / "checkout").write(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "# at most\nLIMIT = 3  # three"),
        ('    """Once."""\n', '    """Twice,\n    or more."""\n'),
        ('        """Once."""\n', ""),
        ('"""A step."""', '"""Another."""'),
        ('    """Does it."""\n', ""),
        ("LIMIT = 3", "LIMIT = 3\n'''What it is.'''"),
        (
            "return helper(text, (1, 1_000)) + LIMIT",
            "return (\n            helper(text, (1, 1000,))\n            + LIMIT\n        )",
        ),
        ('"b", pair, 0x10', "'b', pair, 16"),
        ("            pass\n", "            ...\n"),
        ("return None", "return 1"),
        ("LIMIT = 3\n", "LIMIT = 3\nNEW = 4\n"),
        ("import os\n", "import os\nfrom app import step\n"),
    ],
)
def test_words_and_layout_and_what_is_not_used_do_not_count(code: MadeUp, old: str, new: str) -> None:
    before = code.closure()
    code.edit(old, new)
    assert code.closure() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a"', '"aa"'),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("1_000", "1_001"),
        ("flush=True", "flush=False"),
        ("text: str", "text: bytes"),
        ("+ LIMIT", "- LIMIT"),
        ('"b", pair', '"b" ",", pair'),
        ("class Step:", "class Step(Exception):"),
        ("import os\n", "import os\nimport antigravity_of_a_library\n"),
    ],
)
def test_every_other_edit_counts(code: MadeUp, old: str, new: str) -> None:
    before = code.digest
    code.edit(old, new)
    assert code.digest != before


def test_the_order_of_definitions_does_not_count_nor_does_a_touch(code: MadeUp) -> None:
    before = code.closure()
    work = code.folder / "app/work.py"
    parts = work.read_text().strip().split("\n\n")
    work.write_text("\n\n".join([parts[0], *reversed(parts[1:])]) + "\n")
    assert code.closure() == before
    for path in code.folder.rglob("*.py"):
        os.utime(path)
    assert code.closure() == before


def test_what_is_recorded(code: MadeUp) -> None:
    found = code.closure()
    assert list(found.definitions) == ["app.step.Step", "app.work.LIMIT", "app.work.helper"]
    assert {len(digest) for digest in found.definitions.values()} == {12}
    assert found.files == tuple(str(code.folder / "app" / name) for name in ("step.py", "work.py"))
    assert found.entry == ENTRY


def test_the_entry_point_may_be_written_with_dots_or_be_a_function(code: MadeUp) -> None:
    assert code.closure("app.step.Step").digest == code.digest
    assert list(code.closure("app.work.last").definitions) == ["app.work.last"]


def test_how_two_differ(code: MadeUp) -> None:
    before = code.closure().definitions
    assert not changed(before, before)
    code.edit("LIMIT = 3", "LIMIT = 4\nMOST = 5")
    code.edit("helper(text, (1", "last() + MOST + ((1")
    code.edit("from app.work import LIMIT, helper", "from app.work import LIMIT, MOST, last")
    difference = changed(before, code.closure().definitions)
    assert difference == CodeChange(
        added=("app.work.MOST", "app.work.last"),
        removed=("app.work.helper",),
        edited=("app.step.Step", "app.work.LIMIT"),
    )
    assert difference


def test_it_is_the_same_in_another_process_folder_and_hash_seed(code: MadeUp, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere/deep"
    shutil.copytree(code.folder, other)
    script = "import sys, json; from pipeline.code_closure import code_closure as c; r = c(sys.argv[1], {'app': sys.argv[2]})\n"
    script += "print(json.dumps([r.digest, dict(r.definitions)]))"
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script, ENTRY, str(other / "app")],
            cwd=PROJECT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == [code.digest, dict(code.closure().definitions)]


def test_an_edit_of_the_same_length_at_once_is_seen(code: MadeUp) -> None:
    """Although the file's size, and perhaps its time, are what they were."""
    seen = {code.digest}
    for limit in "456789":
        code.edit(f"LIMIT = {int(limit) - 1}", f"LIMIT = {limit}")
        seen.add(code.digest)
    assert len(seen) == 7


def test_a_file_is_read_once_while_it_stays_as_it_is(code: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline import code_modules

    read: list[str] = []
    original = code_modules.read_module
    monkeypatch.setattr(code_modules, "read_module", lambda name, *rest: (read.append(name), original(name, *rest))[1])
    monkeypatch.setattr(code_modules, "_SETTLED_NS", 0)
    for path in code.folder.rglob("*.py"):
        os.utime(path, ns=(0, 0))
    assert code.digest == code.digest
    assert sorted(read) == ["app.step", "app.work"]
    os.utime(code.folder / "app/work.py", ns=(1, 1))
    assert code.digest == code.digest
    assert sorted(read) == ["app.step", "app.work", "app.work"]
    monkeypatch.setattr(code_modules, "_SETTLED_NS", 1 << 62)
    os.utime(code.folder / "app/work.py", ns=(2, 2))
    assert code.digest == code.digest
    assert len(read) == 5, "a file of which a change may not show yet is read each time"


# The order of what a module does


ORDER = """
# app/step.py
import os
import app.work
os.environ["ONE"] = "1"
os.environ["TWO"] = "2"
from numpy import array
import numpy
class Step:
    def do(self): return array(numpy)
def register(name): return print(name)
FIRST = register("first")
SECOND = register("second")
# app/work.py
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('os.environ["ONE"] = "1"\nos.environ["TWO"] = "2"\n', 'os.environ["TWO"] = "2"\nos.environ["ONE"] = "1"\n'),
        ('os.environ["TWO"] = "2"\nfrom numpy import array\n', 'from numpy import array\nos.environ["TWO"] = "2"\n'),
        (
            'FIRST = register("first")\nSECOND = register("second")\n',
            'SECOND = register("second")\nFIRST = register("first")\n',
        ),
    ],
    ids=["of two statements", "of a statement and an import", "of two calls"],
)
def test_the_order_of_what_a_module_does_counts(tmp_path: Path, old: str, new: str) -> None:
    code = MadeUp(tmp_path).write(ORDER)
    before = code.closure()
    code.edit(old, new)
    assert changed(before.definitions, code.closure().definitions) == CodeChange((), (), ("app.step.<module>",))


def test_a_module_that_is_no_longer_imported_does_nothing_any_more(tmp_path: Path) -> None:
    code = MadeUp(tmp_path).write(ORDER)
    (tmp_path / "app/work.py").write_text("print('loaded')\n")
    before = code.closure()
    code.edit("import app.work\n", "")
    assert changed(before.definitions, code.closure().definitions).removed == ("app.work.<module>",)


# Roots


def test_a_module_beside_the_configuration_is_followed(tmp_path: Path) -> None:
    (tmp_path / "my_step.py").write_text("from my_words import word\ndef run():\n    return word()\n")
    (tmp_path / "my_words").mkdir()
    (tmp_path / "my_words/__init__.py").write_text(
        "from beam_jobs.errors import nearest\ndef word():\n    return nearest\n"
    )
    (tmp_path / "notes.txt").write_text("no code")
    (tmp_path / "data").mkdir()
    roots = project_roots(str(tmp_path))
    assert set(roots) == {"my_step", "my_words", "beam_jobs", "components", "pipeline"}
    found = code_closure("my_step.run", roots)
    assert list(found.definitions) == ["beam_jobs.errors.nearest", "my_step.run", "my_words.word"]


def test_a_package_that_is_not_installed_is_followed_wherever_it_is_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = MadeUp(tmp_path).write(
        """
# app/step.py
from braid_test_beside import f
import numpy
class Step:
    def do(self): return f() + numpy.e
# lib/braid_test_beside.py
def f(): return 100
"""
    )
    assert list(code.closure().definitions) == ["app.step.Step"]
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    before = code.closure()
    assert list(before.definitions) == ["app.step.Step", "braid_test_beside.f"]
    code.edit("100", "101")
    assert changed(before.definitions, code.closure().definitions).edited == ("braid_test_beside.f",)


def test_a_step_of_an_installed_package_has_no_code_of_the_project(code: MadeUp) -> None:
    stock, other = (code.closure(f"tfx.components.statistics_gen.executor.{name}") for name in ("Executor", "Other"))
    assert (dict(stock.definitions), stock.files) == ({}, ())
    assert stock.digest != other.digest


def test_files_that_code_reads_beside_itself_count(tmp_path: Path) -> None:
    code = MadeUp(tmp_path).write(
        """
# app/step.py
from importlib import resources
class Step:
    def do(self): return resources.files("app").joinpath("query.sql").read_text()
class Other: pass
"""
    )
    query = tmp_path / "app/sql/query.sql"
    query.parent.mkdir()
    query.write_text("SELECT 1")
    before, other = code.closure(), code.closure("app.step.Other")
    assert list(before.definitions) == ["app.step.Step", "app/sql/query.sql"]
    query.write_text("SELECT 2")
    assert changed(before.definitions, code.closure().definitions).edited == ("app/sql/query.sql",)
    assert code.closure("app.step.Other") == other


# What is refused


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("app.step.Stepp", "'app.step.Stepp': the module 'app.step' has no 'Stepp'. Did you mean 'Step'?"),
        ("app.stap:Step", "'app.stap:Step': there is no module 'app.stap'. Did you mean 'app.step'?"),
        ("apq.step.Step", "'apq.step.Step': there is no module 'apq.step'. Did you mean 'app.step'?"),
        ("Step", "'Step': there is no module ''."),
    ],
)
def test_an_entry_point_that_is_not_there(code: MadeUp, entry: str, message: str) -> None:
    with pytest.raises(BraidError) as caught:
        code.closure(entry)
    assert str(caught.value) == message
    assert caught.value.hint


def test_a_file_that_does_not_parse_is_named_with_its_line(code: MadeUp) -> None:
    code.edit("LIMIT = 3", "LIMIT = 3\ndef half(:\n    pass")
    with pytest.raises(BraidError, match=r"'.*/app/work\.py:4' is not Python: invalid syntax") as caught:
        code.closure()
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"x = '\xff'\n", b"x = 1\0\n", b"# coding: nonsense\n"])
def test_a_file_that_is_no_text_is_named(code: MadeUp, content: bytes) -> None:
    (code.folder / "app/work.py").write_bytes(content)
    with pytest.raises(BraidError, match=r"/app/work\.py:\d+' is not Python"):
        code.closure()


def test_an_expression_without_end_is_named(code: MadeUp) -> None:
    code.edit("LIMIT = 3", "LIMIT = " + " + ".join("3" * 3_000))
    with pytest.raises(BraidError, match="nested too deeply"):
        code.closure()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BraidError, match=r"gone\.py' cannot be read: No such file"):
        read_module("gone", str(tmp_path / "gone.py"), is_package=False)
