"""Rollbacks on record: which version of a model was withdrawn, which was put back, by whom and why."""

from dataclasses import dataclass
from typing import Any

from pipeline.lineage.archive import Archive
from pipeline.property_values import text_of

ROLLBACK = "Rollback"
_COMPLETE = 3  # ml_metadata's Execution.COMPLETE


@dataclass(frozen=True)
class Rollback:
    """One that was done.

    Attributes:
      folder: that holds the versions.
      withdrawn: the version that served before; '' for none.
      put_back: the version that served since.
      at: when, milliseconds since 1970.
    """

    folder: str
    withdrawn: str
    put_back: str
    why: str
    by: str
    at: int


def rollbacks(archive: Archive) -> list[Rollback]:
    """All that were done, oldest first."""
    found = sorted(archive.store.get_executions_by_type(ROLLBACK), key=lambda one: one.id)
    return [_rollback(one) for one in found if one.last_known_state == _COMPLETE]


def _rollback(execution: Any) -> Rollback:
    told = {key: text_of(value) or "" for key, value in execution.custom_properties.items()}
    folder, withdrawn, put_back, why, by = (
        told.get(key, "") for key in ("folder", "withdrawn_version", "put_back_version", "why", "by")
    )
    return Rollback(folder.rstrip("/"), withdrawn, put_back, why, by, int(execution.create_time_since_epoch))
