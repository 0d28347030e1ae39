"""Google Workflows, as far as Braid writes them: executes a workflow with real HTTP, its pauses cut short.

https://cloud.google.com/workflows/docs/reference/syntax
"""

import operator
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

Variables = dict[str, Any]
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|==|!=|[A-Za-z_][\w.]*|\d+|[()\[\],+])')
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"string": str, "int": int, "sys.now": time.time}
_NAMED = {"null": None, "true": True, "false": False}


class WorkflowError(Exception):
    """What a workflow raised."""


class _Jump(Exception):  # noqa: N818  no error
    """Goes to a step."""


class _Return(Exception):  # noqa: N818
    """Ends the workflow."""


class Workflow:
    """One execution.

    Args:
      text: the YAML.
      post: posts JSON to an address and gives the answer's.
      get: the same without a body.
    """

    def __init__(self, text: str, post: Callable[[str, Any], Any], get: Callable[[str], Any]) -> None:
        assert not [event for event in yaml.parse(text) if isinstance(event, yaml.AliasEvent)], (
            "workflows know no anchors"
        )
        self._main, self._post, self._get = yaml.safe_load(text)["main"], post, get

    def run(self, argument: Any) -> Any:
        """Executes it; gives what it returns."""
        (name,) = self._main["params"]
        try:
            self._block(self._main["steps"], {name: argument})
        except _Return as found:
            return found.args[0]
        return None

    def _block(self, steps: Sequence[Mapping[str, Any]], variables: Variables) -> None:
        names = [next(iter(step)) for step in steps]
        place = 0
        while place < len(steps):
            try:
                self._step(steps[place][names[place]], variables)
            except _Jump as jump:
                if jump.args[0] not in names:
                    raise
                place = names.index(jump.args[0])
            else:
                place += 1

    def _step(self, step: Mapping[str, Any], variables: Variables) -> None:
        (kind,) = {"assign", "switch", "for", "call", "try", "return"} & set(step)
        match kind:
            case "assign":
                for one in step["assign"]:
                    ((name, value),) = one.items()
                    _assign(name, filled(value, variables), variables)
            case "switch":
                self._switch(step, variables)
            case "for":
                self._loop(step["for"], variables)
            case "call":
                self._call(step, variables)
            case "try":
                assert set(step) == {"try", "retry"} and step["retry"] == "${http.default_retry}"
                self._call(step["try"], variables)
            case "return":
                raise _Return(filled(step["return"], variables))

    def _switch(self, step: Mapping[str, Any], variables: Variables) -> None:
        for case in step["switch"]:
            if filled(case["condition"], variables):
                if "raise" in case:
                    raise WorkflowError(filled(case["raise"], variables))
                if "steps" in case:
                    self._block(case["steps"], variables)
                    return
                raise _Jump(case["next"])
        if "next" in step:
            raise _Jump(step["next"])

    def _loop(self, loop: Mapping[str, Any], variables: Variables) -> None:
        for value in filled(loop["in"], variables):
            try:
                self._block(loop["steps"], variables | {loop["value"]: value})
            except _Jump as jump:
                if jump.args[0] != "continue":
                    raise

    def _call(self, step: Mapping[str, Any], variables: Variables) -> None:
        arguments = filled(step["args"], variables)
        if step["call"] == "sys.sleep":
            time.sleep(min(arguments["seconds"], 0.2))
            return
        assert arguments["auth"] == {"type": "OAuth2"}
        answers = {
            "http.post": lambda: self._post(arguments["url"], arguments["body"]),
            "http.get": lambda: self._get(arguments["url"]),
        }
        variables[step["result"]] = {"body": answers[step["call"]]()}


def _assign(name: str, value: Any, variables: Variables) -> None:
    head, _, key = name.partition(".")
    if key:
        variables[head] = {**variables[head], key: value}
    else:
        variables[head] = value


def filled(value: Any, variables: Variables) -> Any:
    """A value with its expressions evaluated."""
    if isinstance(value, dict):
        return {key: filled(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, variables) for inner in value]
    if isinstance(value, str) and value.startswith("${"):
        assert value.endswith("}")
        return _Expression(value[2:-1], variables).value()
    return value


class _Expression:
    """`a.b + "c"`, `x == null`, `x in [..]`, `f(x)`."""

    def __init__(self, text: str, variables: Variables) -> None:
        self._tokens = _TOKEN.findall(text)
        assert "".join(self._tokens).replace(" ", "") == text.replace(" ", ""), text
        self._variables = variables

    def value(self) -> Any:
        found = self._sum()
        while self._tokens and self._tokens[0] in ("==", "!=", "in"):
            sign = self._tokens.pop(0)
            other = self._sum()
            found = {"==": operator.eq, "!=": operator.ne, "in": lambda a, b: a in b}[sign](found, other)
        return found

    def _sum(self) -> Any:
        found = self._atom()
        while self._tokens and self._tokens[0] == "+":
            self._tokens.pop(0)
            other = self._atom()
            assert type(found) is type(other), "only text and text are joined"
            found = found + other
        return found

    def _atom(self) -> Any:
        token = self._tokens.pop(0)
        if token == "[":
            return self._listed("]")
        if token[0] == '"':
            return token[1:-1]
        if token.isdigit():
            return int(token)
        if self._tokens and self._tokens[0] == "(":
            self._tokens.pop(0)
            return _FUNCTIONS[token](*self._listed(")"))
        return self._named(token)

    def _listed(self, end: str) -> list[Any]:
        found = []
        while self._tokens[0] != end:
            found.append(self.value())
            if self._tokens[0] == ",":
                self._tokens.pop(0)
        self._tokens.pop(0)
        return found

    def _named(self, name: str) -> Any:
        if name in _NAMED:
            return _NAMED[name]
        head, *keys = name.split(".")
        found = self._variables[head]
        for key in keys:
            found = found[key]
        return found
