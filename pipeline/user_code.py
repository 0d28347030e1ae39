"""A user's own function, named in the configuration: looked at before anything runs, without running it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import BraidError, listed, nearest
from components.user_module import read_function
from pipeline.errors import ConfigError
from pipeline.loading import Loaded


@dataclass(frozen=True)
class UserCode:
    """Where the function is, and of what text.

    Attributes:
      module: the resolved path of its file; '' for none.
      digest: of the file's text, so that an edited one makes other steps.
    """

    module: str = ""
    digest: str = ""
    function: str = ""

    @property
    def parameters(self) -> dict[str, Any]:
        """As fields of a step's configuration."""
        return {"module": self.module, "module_digest": self.digest, "function": self.function}


def find(loaded: Loaded, path: tuple[str | int, ...], module: str, function: str) -> UserCode:
    """Resolves the file of a section's keys `module` and `function`.

    Args:
      path: the section's place in the configuration.

    Raises:
      ConfigError: there is no such file, it is not Python, or it defines no such function.
    """
    if not module:
        return UserCode(function=function)
    where = loaded.settings.origin((*path, "module"))
    file = storage.resolve(module, loaded.folder)
    dotted = ".".join(map(str, (*path, "module")))
    try:
        text = read_function(file, function, f"{where}: {dotted}").source
        names = list(_bound(ast.parse(text, file)))
    except BraidError as error:
        raise ConfigError(str(error), error.hint) from error
    except SyntaxError as error:
        raise ConfigError(f"{where}: {dotted}: {file}:{error.lineno}: {error.msg}.", "Mend that line.") from error
    if function not in names and "*" not in names:
        place = loaded.settings.origin((*path, "function"))
        raise ConfigError(
            f"{place}: '{file}' has no function '{function}'.{nearest(function, names)}",
            f"It defines: {listed(names)}." if names else "It defines nothing.",
        )
    return UserCode(file, storage.text_digest(text), function)


def _bound(module: ast.Module) -> Iterator[str]:
    """Names that the module's own statements bind; '*' where it takes whatever another module has."""
    for statement in module.body:
        match statement:
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                yield statement.name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name for alias in statement.names)
            case ast.Assign():
                yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
            case ast.If() | ast.Try() | ast.With():
                yield "*"  # whatever happens in there is for the program to find out
