"""A user's own function, named in a config as a Python file and a function of it.

The file travels as its text: a worker on another machine, where the path leads nowhere, runs the same code, and
nothing of it is pickled. So it is one file; what it imports must be installed.
"""

import difflib
import hashlib
import importlib.util
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import BraidError, nearest
from components.errors import StepError

_loading = threading.RLock()
_modules: dict[str, ModuleType] = {}
"""The users' modules that this process has run, by the names that they have in `sys.modules`."""


@dataclass(frozen=True)
class UserFunction:
    """A function of a user's module; picklable.

    Attributes:
      path: where the module was read, for messages and tracebacks.
      source: its text.
      name: the function.
      what: what the function is to the reader of a message, such as `Transform: module`.
    """

    path: str
    source: str
    name: str
    what: str

    def load(self) -> Callable[..., Any]:
        """The function; its module runs once a process.

        Raises:
          StepError: the module does not import, or has no such function.
        """
        with _loading:
            module = _modules.get(_module_name(self)) or _run(self)
        found = getattr(module, self.name, None)
        if found is None:
            raise _no_function(self, module)
        if not callable(found):
            raise StepError(
                f"{self.what}: '{self.name}' in '{self.path}' is no function but {_a(type(found).__name__)}.",
                f"Write `def {self.name}(...)`, or name another function.",
            )
        loaded: Callable[..., Any] = found
        return loaded

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Around a call of the function: what it raises becomes one paragraph with the user's own line.

        Raises:
          StepError: the function raised; Braid's own errors pass.
        """
        try:
            yield
        except BraidError:
            raise
        except Exception as error:
            raise StepError(
                f"{self.what}: '{self.name}' failed in '{self.path}'{words_of(error, self.path)}.",
                "Mend the function; the line is the last of yours that ran.",
            ) from error


def read_function(path: str, function: str, what: str) -> UserFunction:
    """Reads the module's text, and nothing more yet.

    Args:
      path: a local path, or one in a bucket.
      function: the function's name.
      what: for messages, see `UserFunction`.

    Raises:
      StepError: there is no such file, or it is not Python text.
    """
    if not storage.exists(path) or (not storage.is_remote(path) and os.path.isdir(path)):
        raise StepError(f"{what}: there is no file '{path}'.{_near(path)}", "Name a Python file.")
    with storage.open_input(path) as stream:
        content = stream.read()
    try:
        return UserFunction(path, importlib.util.decode_source(content), function, what)
    except (UnicodeDecodeError, SyntaxError) as error:
        raise StepError(f"{what}: '{path}' is not Python text: {error}.", "Save it as UTF-8.") from error


def load_function(path: str, function: str, what: str) -> Callable[..., Any]:
    """The function of the module at `path`, see `read_function` and `UserFunction.load`.

    Raises:
      StepError: the file is missing or does not import, or has no such function.
    """
    return read_function(path, function, what).load()


def _near(path: str) -> str:
    if storage.is_remote(path):
        return ""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        return f" There is no folder '{folder}' either."
    close = difflib.get_close_matches(name, os.listdir(folder or "."), n=1)
    return f" Did you mean '{os.path.join(folder, close[0])}'?" if close else ""


def _module_name(function: UserFunction) -> str:
    text = f"{function.path}\0{function.source}".encode()
    return f"braid_user_module_{hashlib.sha256(text).hexdigest()[:16]}"


def _run(function: UserFunction) -> ModuleType:
    """Runs the module's text under a name of its own, so that an edited file is another module."""
    name = _module_name(function)
    module = ModuleType(name)
    module.__file__ = function.path
    # Tracebacks, and TensorFlow's autograph, look the lines up; here they are those that run.
    linecache.cache[function.path] = (len(function.source), None, function.source.splitlines(True), function.path)
    sys.modules[name] = _modules[name] = module
    try:
        exec(compile(function.source, function.path, "exec"), module.__dict__)  # the user's own code, by request
    except BaseException as error:
        del sys.modules[name], _modules[name]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise _not_imported(function, error) from error
    return module


def _not_imported(function: UserFunction, error: BaseException) -> StepError:
    hint = "Mend it; `python -c` with the same import lines shows whether they work in this environment."
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"Install '{error.name}' into the environment that runs the pipeline."
        if storage.exists(os.path.join(os.path.dirname(function.path), f"{error.name.partition('.')[0]}.py")):
            hint = "A user's module is one file, which travels to the workers alone: move that code into it, or install it."
    return StepError(f"{function.what}: '{function.path}' does not import{words_of(error, function.path)}.", hint)


def _no_function(function: UserFunction, module: ModuleType) -> StepError:
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    functions = [name for name in own if callable(getattr(module, name))]
    return StepError(
        f"{function.what}: '{function.path}' has no function '{function.name}'.{nearest(function.name, functions)}",
        f"Its functions: {', '.join(functions)}." if functions else "It defines no function at all.",
    )


def words_of(error: BaseException, path: str) -> str:
    """Words where in the file at `path` an error arose, and the error: `, line 3, \\`import x\\`: ValueError: ...`."""
    place = _syntax_place(error, path) or _converted_place(error, path) or _traceback_place(error, path)
    where = f", line {place[0]}" + (f", `{place[1]}`" if place[1] else "") if place else ""
    return f"{where}: {_message(error)}"


def _syntax_place(error: BaseException, path: str) -> tuple[int, str] | None:
    if isinstance(error, SyntaxError) and error.filename == path and error.lineno:
        return error.lineno, (error.text or "").strip()
    return None


def _converted_place(error: BaseException, path: str) -> tuple[int, str] | None:
    """The line as TensorFlow's autograph kept it: what ran was a translation of the user's code."""
    frames = getattr(getattr(error, "ag_error_metadata", None), "translated_stack", ())
    own = [frame for frame in frames if frame.filename == path]
    return (own[0].lineno, (own[0].code or "").strip()) if own else None


def _traceback_place(error: BaseException, path: str) -> tuple[int, str] | None:
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return (own[-1].lineno or 0, own[-1].line or "") if own else None


def _message(error: BaseException) -> str:
    told = error.msg if isinstance(error, SyntaxError) else str(error)
    whole = getattr(getattr(error, "ag_error_metadata", None), "cause_message", "") or f"{type(error).__name__}: {told}"
    return " ".join(whole.split()).rstrip(".:")


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
