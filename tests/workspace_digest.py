"""Digest of all that a workspace holds but for its capsules, to show that a replay changed nothing."""

import hashlib
import os
from pathlib import Path


def digest_of(workspace: Path) -> dict[str, str]:
    """Each file's digest by its path; the store's journal comes and goes with every reader."""
    found = {}
    for folder, inner, names in os.walk(workspace):
        if Path(folder) == workspace and "capsules" in inner:
            inner.remove("capsules")
        for name in names:
            path = Path(folder, name)
            found[str(path.relative_to(workspace))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {path: digest for path, digest in found.items() if not path.endswith(("-wal", "-shm", "-journal"))}
