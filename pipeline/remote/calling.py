"""Calls of a service in the cloud: what is passing is waited out, what stays broken is told in words."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.remote import refusals
from pipeline.remote.errors import JobNotFoundError, NotReachableError

PATIENCE_SECONDS = 60.0
"""How long a call is repeated before the service is taken for unreachable."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
NOT_FOUND_PAUSES = 5
"""The service may not know a job for some seconds after it has told its id."""

_PASSING_CODES = (408, 429, 500, 502, 503, 504)
_EXPIRED = ("invalid_grant", "Reauthentication is needed", "invalid authentication credentials")
LOGIN = (
    "`gcloud auth application-default login` renews your own credentials; of a service account, "
    "GOOGLE_APPLICATION_CREDENTIALS names the key's file."
)

Answer = TypeVar("Answer")


def silent(_: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Caller:
    """Who calls, and how patiently.

    Attributes:
      project: the project that is asked for.
      account: says whose credentials are used.
      patience: seconds after which a call is given up.
      tell: hears, in words, that an answer has to be waited for.
    """

    project: str
    account: Callable[[], str]
    patience: float = PATIENCE_SECONDS
    tell: Callable[[str], None] = silent


def is_passing(error: Exception) -> bool:
    """Whether the same call may do well a little later."""
    from google.auth import exceptions
    from requests import exceptions as requests_exceptions

    if _is_expired(error):
        return False
    if (code := code_of(error)) is not None:
        return code in _PASSING_CODES
    if isinstance(error, exceptions.GoogleAuthError):
        return isinstance(error, exceptions.TransportError) or bool(getattr(error, "retryable", False))
    broken = (
        requests_exceptions.ConnectionError,
        requests_exceptions.Timeout,
        requests_exceptions.ChunkedEncodingError,
    )
    return isinstance(error, (ConnectionError, TimeoutError, *broken))


def code_of(error: BaseException) -> int | None:
    """The HTTP status that an error of Google's libraries stands for."""
    code = getattr(error, "code", None)
    return int(code) if isinstance(code, int) else None


def short(error: BaseException) -> str:
    """An error in some words: the status, or the kind of a broken connection."""
    code = code_of(error)
    return str(code) if code is not None else type(error).__name__


def _is_expired(error: BaseException) -> bool:
    from google.auth import exceptions

    refused = isinstance(error, exceptions.RefreshError) and not getattr(error, "retryable", False)
    return refused or code_of(error) == 401 or any(sign in str(error) for sign in _EXPIRED)


def patiently(
    call: Callable[[], Answer], doing: str, caller: Caller, passing: Callable[[Exception], bool] = is_passing
) -> Answer:
    """What a call answers; one that fails of what is passing is repeated, after pauses that grow.

    Args:
      call: is called until it answers.
      doing: what it does, in words: `look after job 2026-11`.
      caller: on whose behalf.
      passing: which errors are passing.

    Raises:
      NotReachableError: the service cannot be reached, or refuses; JobNotFoundError if there is no such thing.
    """
    began, pause, not_found = time.monotonic(), FIRST_PAUSE, 0
    while True:
        try:
            return call()
        except NotReachableError:
            raise
        except Exception as error:
            not_found += code_of(error) == 404
            again = passing(error) or 0 < not_found <= NOT_FOUND_PAUSES
            seconds = time.monotonic() - began
            if not again or seconds + pause > caller.patience:
                raise _lost(error, doing, seconds) if passing(error) else _refused(error, doing, caller) from error
            caller.tell(f"Dataflow does not answer ({short(error)}): asking again")
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, LONGEST_PAUSE)


def _lost(error: Exception, doing: str, seconds: float) -> NotReachableError:
    told = f"Google Cloud has not answered for {seconds:.0f} seconds (to {doing}): {text_of(error)}"
    return NotReachableError(told, "See whether this machine is online, and https://status.cloud.google.com.")


def _refused(error: Exception, doing: str, caller: Caller) -> NotReachableError:
    text = text_of(error)
    if _is_expired(error):
        return NotReachableError(f"Google Cloud does not take these credentials (to {doing}): {text}", LOGIN)
    if code_of(error) == 404:
        return JobNotFoundError(f"Google Cloud knows nothing of what it was asked to {doing}: {text}", _WHERE)
    if code_of(error) == 403:
        refused = refusals.of_permission(text, caller.account(), caller.project)
        hint = refused.hint if refused else f"Which role allows it: {refusals.ROLES_PAGE}"
        return NotReachableError(f"{caller.account()} may not {doing}: {text}", hint)
    return NotReachableError(f"Google Cloud refuses to {doing}: {text}", _WHERE)


def text_of(error: BaseException) -> str:
    """What an error says, without what Google's libraries put around it."""
    return refusals.plain(str(getattr(error, "message", "") or error))


_WHERE = (
    "See that `project` and `region` of the target are right, and that the job is no older than the service keeps it."
)
