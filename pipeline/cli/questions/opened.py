"""The metadata store that a question is put to."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.lineage.archive import Archive


def archive(workspace: str, store: str = "") -> "Archive":
    """Opens the store of a workspace, or the one of an address, for reading."""
    from pipeline import stores
    from pipeline.lineage.archive import Archive
    from pipeline.workspace import Workspace

    return Archive(stores.open_store(Workspace(os.path.abspath(workspace), store).store))
