"""The metadata store that a question is put to."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.lineage.archive import Archive


def archive(workspace: str) -> "Archive":
    """Opens the store of a workspace for reading."""
    from pipeline import runs
    from pipeline.lineage.archive import Archive
    from pipeline.workspace import Workspace

    return Archive(runs.connect(Workspace(os.path.abspath(workspace)).store))
