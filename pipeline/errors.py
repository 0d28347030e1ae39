"""Errors of the pipeline layer, and how any error is told."""

from beam_jobs.errors import BraidError

_DISK_FULL = (
    "No space left on device",
    "Disk quota exceeded",
    "database or disk is full",
    "no transaction is active",  # what ML Metadata makes of it: SQLite has rolled back by itself
)
_STORE_FAILED = (
    "Concurrent writes aborted",  # another program held the lock for half a minute
    "Failed to establish connection to Metadata storage",
    "metadata source error",
    "mysql_query failed",
    "attempt to write a readonly database",
)


class ConfigError(BraidError):
    """A configuration file, an overlay or a `--set` is wrong."""


class RunError(BraidError):
    """A run cannot start, go on or be found."""


class NotReusableError(RunError):
    """A step that was to come from the cache would have to run."""


class NothingRecordedError(RunError):
    """There is no metadata store yet, or it is empty."""


class StepFailedError(RunError):
    """A step ended with an error; the steps before it are recorded and will be reused.

    Attributes:
      cause: what the step raised.
    """

    def __init__(self, step: str, run: str, cause: BaseException) -> None:
        told, hint = explain(cause)
        told = without_step(told, step)
        super().__init__(told if told.startswith(f"Step '{step}' ") else f"Step '{step}' failed: {told}", hint)
        self.step, self.run, self.cause = step, run, cause

    def __reduce__(self) -> tuple[type["StepFailedError"], tuple[str, str, BaseException]]:  # type: ignore[override]
        return type(self), (self.step, self.run, self.cause)


def without_step(message: str, step: str) -> str:
    """The message without a leading `Step 'x':`, for one that is told with the step's name anyhow."""
    return message.removeprefix(f"Step '{step}': ")


def is_disk_full(error: BaseException) -> bool:
    """Whether this is what a full disk makes of a step."""
    return any(sign in str(error) for sign in _DISK_FULL)


def explain(error: BaseException) -> tuple[str, str]:
    """One paragraph on what happened, and the next thing to do."""
    if isinstance(error, BraidError):
        return str(error), error.hint
    text = str(error).strip()
    if is_disk_full(error):
        return (
            "The disk is full (no space left on device).",
            "Free some space, or name a workspace on another disk with --workspace DIR; then run the same command "
            "again: finished steps are not repeated.",
        )
    if isinstance(error, OSError) and error.filename:
        return f"'{error.filename}': {error.strerror}.", "Check that it is there and that you may read and write it."
    last = text.splitlines()[-1].strip() if text else "no message"
    if any(sign in text for sign in _STORE_FAILED):
        return (
            f"The metadata store does not take any more records: {last}",
            "See that its disk or server is up, that nothing holds it locked and that you may write to it; then run the "
            "same command again: finished steps are not repeated.",
        )
    return (
        f"{type(error).__name__}: {last}",
        "Braid did not expect this: it may be a bug. `--debug` shows where it happened.",
    )
