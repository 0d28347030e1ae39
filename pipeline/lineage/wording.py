"""Words for records: what a person wants to know of an execution or an artifact, in a line or two."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.lineage.facts import FINAL_TYPES, Source, code_of, failure_of, ledger_of, lock_of, number_of
from pipeline.lineage.records import Artifact, Execution
from pipeline.terminal import ledger_words

_SHORT = 7  # digits of a commit or a digest that a person compares
_LONGEST_VALUE = 40
_LONGEST_PARAMETERS = 150
_OF_SOURCES = ("fingerprint", "files", "spelling")  # told with the source files
_STATES = {"CACHED": "from the cache", "UNKNOWN": "state not recorded"}


def printable(text: str) -> str:
    """The text in one line, without the control characters that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def name_of(execution: Execution) -> str:
    """`RUN/step`."""
    return f"{execution.run or '(run not recorded)'}/{execution.step}"


def state_of(execution: Execution) -> str:
    """`complete`, `failed`, `from the cache`, ..."""
    return _STATES.get(execution.state, execution.state.lower())


def code_words(execution: Execution) -> str:
    """`code fd2c080 (dirty), lock 05e9e0a`; what is not on record is said to be so."""
    code, lock = code_of(execution), lock_of(execution)
    if code is None and not lock:
        return "code and lock not recorded"
    commit = f"{code.commit[:_SHORT]}{' (dirty)' if code.dirty else ''}" if code else "not recorded"
    return f"code {commit}, lock {lock[:_SHORT] or 'not recorded'}"


def place_words(execution: Execution) -> str:
    """`on dataflow, job 2026-...`; nothing for what ran where the command was given."""
    job = execution.properties.get("job_id")
    return f"on {execution.properties.get('target', 'a service')}, job {job}" if job else ""


def seconds_words(execution: Execution) -> str:
    """How long it took; nothing for one that took its outputs from the cache or still runs."""
    if execution.state not in ("COMPLETE", "FAILED", "CANCELED"):
        return ""
    return f"{execution.seconds:,.1f} s"


def failure_words(execution: Execution) -> str:
    """The first line of its error, for one that failed."""
    if execution.state not in ("FAILED", "CANCELED"):
        return ""
    failure = failure_of(execution)
    if failure is None:
        return "error not recorded" if execution.state == "FAILED" else ""
    return next((line for line in failure.message.splitlines() if line.strip()), "")


def table_words(artifact: Artifact) -> str:
    """The ledger of a table, or its rows; '' for what is no table."""
    ledger, rows, name = ledger_of(artifact), number_of(artifact, "rows"), artifact.properties.get("table")
    if ledger is not None and artifact.type != "Rejects":
        counts = ledger_words(ledger)
    elif rows is not None:
        counts = f"{rows:,} rows"
    else:
        return ""
    return f"{name}: {counts}" if name else counts


def is_final(artifact: Artifact) -> bool:
    """Whether it is what a pipeline is run for: a model or predictions."""
    return artifact.type in FINAL_TYPES


def source_words(source: Source) -> str:
    """Size and digest of a source file."""
    if source.size is None and not source.digest:
        return "size and digest not recorded"
    size = bytes_words(source.size) if source.size is not None else "size not recorded"
    return f"{size}, digest {source.digest or 'not recorded'}"


def bytes_words(count: int) -> str:
    """`30.1 MB`."""
    if count < 1000:
        return f"{count} bytes"
    power = min(int(math.log10(count)) // 3, 5)
    return f"{count / 1000**power:.1f} {('', 'kB', 'MB', 'GB', 'TB', 'PB')[power]}"


def parameters_words(parameters: Mapping[str, Any], most: int = _LONGEST_PARAMETERS) -> str:
    """`rounds=400 params.eta=0.1 ...`: small values whole, large ones by their size, about `most` characters of it."""
    words = list(_parameters({key: value for key, value in parameters.items() if key not in _OF_SOURCES}))
    shown: list[str] = []
    for word in words:
        if shown and len(" ".join(shown)) + len(word) > most:
            return f"{' '.join(shown)} ... ({len(words) - len(shown)} more)"
        shown.append(word)
    return " ".join(shown)


def _parameters(parameters: Mapping[str, Any]) -> Iterator[str]:
    """One word a value; `config` and `source`, which steps of Braid's have, are left out of the names."""
    for key, value in sorted(parameters.items(), key=lambda item: (isinstance(item[1], dict), item[0])):
        inner = sorted(value.items()) if isinstance(value, dict) and key in ("config", "source") else [(key, value)]
        for name, part in inner:
            yield from _named(name, part)


def _named(name: str, value: Any, depth: int = 2) -> Iterator[str]:
    if value is None or value in ("", [], {}, "null"):  # TFX's word for none
        return
    if isinstance(value, dict) and depth:
        for key, part in sorted(value.items()):
            yield from _named(f"{name}.{key}", part, depth - 1)
        return
    yield f"{printable(name)}={_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        lines = value.strip().count("\n") + 1
        if lines > 1:
            return f"({lines} lines)"
        return printable(value) if len(value) <= _LONGEST_VALUE else f"{printable(value[: _LONGEST_VALUE - 3])}..."
    if isinstance(value, list):
        return _list(value)
    if isinstance(value, dict):
        return f"({len(value)} entries)"
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _list(values: Iterable[Any]) -> str:
    every = [_value(value) for value in values]
    words = ",".join(every)
    return f"[{words}]" if len(words) <= _LONGEST_VALUE else f"({len(every)} entries)"
