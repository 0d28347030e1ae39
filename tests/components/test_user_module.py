import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.errors import StepError
from components.user_module import load_function, read_function

WHAT = "Transform: module"


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    """Writes a module and gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "features.py"
        path.write_text(text)
        return str(path)

    return write


def told(path: str, function: str = "preprocessing_fn") -> tuple[str, str]:
    with pytest.raises(StepError) as caught:
        load_function(path, function, WHAT)
    assert "\n" not in str(caught.value)
    return str(caught.value), caught.value.hint


def test_a_function_runs_from_its_text_alone(written: Callable[[str], str]) -> None:
    path = written(
        "import dataclasses\n\nRAN = []\n\n@dataclasses.dataclass\nclass Scale:\n    by: int\n\n"
        "def scaled(x):\n    RAN.append(1)\n    return Scale(3).by * x, len(RAN)\n"
    )
    sent = pickle.dumps(read_function(path, "scaled", WHAT))
    Path(path).unlink()
    assert pickle.loads(sent).load()(2) == (6, 1)
    assert pickle.loads(sent).load()(2) == (6, 2)  # the module ran once


def test_an_edited_file_is_another_module(written: Callable[[str], str]) -> None:
    first = load_function(written("def f():\n    return 1\n"), "f", WHAT)
    second = load_function(written("def f():\n    return 2\n"), "f", WHAT)
    assert (first(), second()) == (1, 2)


def test_a_missing_file_is_told_with_the_nearest(written: Callable[[str], str]) -> None:
    path = written("")
    message, _ = told(path.replace("features.py", "feature.py"))
    assert message.startswith(f"{WHAT}: there is no file '") and message.endswith(f"Did you mean '{path}'?")
    assert "There is no folder" in told(path.replace("features.py", "lib/feature.py"))[0]
    assert told(str(Path(path).parent))[0].startswith(f"{WHAT}: there is no file")


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        (
            "x = 1\nimport tenserflow as tf\n",
            ", line 2, `import tenserflow as tf`: ModuleNotFoundError",
            "Install 'ten",
        ),
        ("def f(:\n    pass\n", ", line 1, `def f(:`: SyntaxError: invalid syntax", "Mend"),
        ("def f():\nreturn 1\n", ", line 2, `return 1`: IndentationError: expected an indented block", "Mend"),
        ("def a():\n    return 1 / 0\n\nb = a()\n", ", line 2, `return 1 / 0`: ZeroDivisionError: division", "Mend"),
        ("import sys\nsys.exit(3)\n", ", line 2, `sys.exit(3)`: SystemExit: 3", "Mend"),
        ("raise ValueError('two\\nlines.')\n", ": ValueError: two lines.", "Mend"),
    ],
)
def test_a_module_that_does_not_import_is_told_by_the_users_own_line(
    written: Callable[[str], str], text: str, place: str, hint: str
) -> None:
    path = written(text)
    for _ in range(2):  # what failed leaves nothing behind that would load
        message, given_hint = told(path)
        assert message.startswith(f"{WHAT}: '{path}' does not import")
        assert place in message
        assert given_hint.startswith(hint)


def test_a_file_beside_it_is_not_taken_along(written: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "my_scales.py").write_text("SCALE = 3\n")
    assert "travels to the workers alone" in told(written("from my_scales import SCALE\n"))[1]


def test_text_that_is_not_python_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_bytes(b"x = '\xff'\n")
    assert "is not Python text" in told(str(tmp_path / "features.py"))[0]


def test_a_function_that_is_not_there_is_told_with_the_nearest(written: Callable[[str], str]) -> None:
    path = written("from os.path import join\n\ndef preprocess_fn(inputs):\n    return inputs\n\npreprocessing = 3\n")
    message, hint = told(path)
    assert "has no function 'preprocessing_fn'. Did you mean 'preprocess_fn'?" in message
    assert hint == "Its functions: preprocess_fn."
    assert "is no function but an int" in told(path, "preprocessing")[0]


def test_what_the_function_raises_is_told_by_its_last_line(written: Callable[[str], str]) -> None:
    path = written("def deeper(d):\n    return d['dist']\n\ndef f(d):\n    return deeper(d)\n")
    function = read_function(path, "f", WHAT)
    with pytest.raises(StepError) as caught, function.errors_told():
        function.load()({})
    assert str(caught.value) == (f"{WHAT}: 'f' failed in '{path}', line 2, `return d['dist']`: KeyError: 'dist'.")

    def wrong() -> Any:
        raise StepError("Ours.", "Do that.")

    with pytest.raises(StepError, match=r"^Ours\.$"), function.errors_told():
        wrong()
