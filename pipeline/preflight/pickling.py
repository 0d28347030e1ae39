"""What in a pipeline cannot be pickled: the transform, its class or function with file and line, and the attribute."""

import inspect
import os
from collections.abc import Iterator
from typing import Any

from apache_beam.internal import pickler
from apache_beam.pipeline import AppliedPTransform, Pipeline, PipelineVisitor
from apache_beam.transforms.core import CallableWrapperDoFn

from pipeline.preflight.finding import Finding

_DEEPEST = 6
_HINT = "Make it in `setup` or where it is used: what a job is made of travels to the workers as bytes."


class _Leaves(PipelineVisitor):
    """Gathers the functions of all transforms, by the transform's label."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Any]] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        transform = transform_node.transform
        for name in ("fn", "dofn", "combine_fn"):
            function = getattr(transform, name, None)
            if function is not None:
                self.found.append((transform_node.full_label, function))


def behind(error: BaseException, step: str, project: str) -> Iterator[Finding]:
    """The function that Beam could not pickle as a transform was made, which its error names by address alone."""
    trace = error.__traceback__
    while trace is not None:
        named = trace.tb_frame.f_locals
        for function in (named.get("fn"), getattr(named.get("self"), "fn", None)):
            if function is not None and (cause := _error(function)) is not None:
                yield _told(function, cause, step, str(type(function).__name__), project)
                return
        trace = trace.tb_next


def unpicklable(pipeline: Pipeline, step: str, project: str) -> Iterator[Finding]:
    """Each function of the pipeline that cannot be pickled.

    Args:
      step: the step that the pipeline is of.
      project: the source tree, which places are told from.
    """
    leaves = _Leaves()
    pipeline.visit(leaves)
    for label, function in leaves.found:
        error = _error(function)
        if error is not None:
            yield _told(function, error, step, label, project)


def _told(function: Any, error: Exception, step: str, what: str, project: str) -> Finding:
    culprit, path = _culprit(function)
    why = f" for its '{path}', a {type(culprit).__name__}" if path else ""
    return Finding(_place(function, project), f"Step '{step}': '{what}' cannot be pickled{why}: {error}.", _HINT)


def _error(value: Any) -> Exception | None:
    try:
        pickler.dumps(value)
    except Exception as error:
        return error
    return None


def _culprit(value: Any, path: str = "", depth: int = 0) -> tuple[Any, str]:
    """The innermost part that cannot be pickled, and how it is reached."""
    for name, part in _parts(value) if depth < _DEEPEST else ():
        if _error(part) is not None:
            return _culprit(part, f"{path}.{name}".lstrip("."), depth + 1)
    return value, path


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if inspect.isfunction(value):
        names = value.__code__.co_freevars
        cells = list(value.__closure__ or ())
        yield from ((name, cell.cell_contents) for name, cell in zip(names, cells, strict=True))
    elif isinstance(value, dict):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((str(place), part) for place, part in enumerate(value))
    else:
        yield from vars(value).items() if hasattr(value, "__dict__") else ()


def _place(function: Any, project: str) -> str:
    """File and line of the function, or of the class that it is of."""
    inner = function
    while isinstance(inner, CallableWrapperDoFn):
        inner = inner._fn
    inner = getattr(inner, "func", inner)  # of a partial
    named = inner if inspect.isfunction(inner) or inspect.ismethod(inner) else type(inner)
    try:
        path, line = inspect.getsourcefile(named), inspect.getsourcelines(named)[1]
    except (TypeError, OSError):
        return str(named)
    inside = os.path.relpath(str(path), project)
    return f"{path if inside.startswith('..') else inside}:{line}"
