"""The code of steps as it was when their run began: what the process has loaded, whatever is edited meanwhile."""

from collections.abc import Mapping

from pipeline.code_closure import CodeChange, changed, code_closure


class StepCode:
    """Digests of the definitions that executors reach, each read once."""

    def __init__(self) -> None:
        self._known: dict[str, Mapping[str, str]] = {}

    def of(self, executor: str) -> Mapping[str, str]:
        """The code of an executor, named by its class path; packages are known by the lock, so that theirs is none."""
        if executor not in self._known:
            self._known[executor] = _read(executor)
        return self._known[executor]

    def edits(self, executor: str) -> CodeChange:
        """What was edited since it was first asked for: what ran may have been a mixture of both."""
        return changed(self.of(executor), _read(executor))


def _read(executor: str) -> Mapping[str, str]:
    module, _, name = executor.rpartition(".")
    return code_closure(f"{module}:{name}").definitions if module else {}
