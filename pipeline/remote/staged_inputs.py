"""Inputs of a remote job that lie on this machine, such as the champion of an earlier run here: workers get a copy."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tfx.types.artifact import Artifact

from beam_jobs import storage
from beam_jobs.folder_digest import MissingFolderError, files_in, folder_digest, folder_size
from beam_jobs.table import MANIFEST
from pipeline.errors import RunError

FOLDER = ".staged"
_MOST_BYTES = 4 << 30


@contextmanager
def within_reach(inputs: Mapping[str, Sequence[Artifact]], root: str) -> Iterator[None]:
    """Around a job: its inputs name copies in the bucket where they lie on this machine.

    Args:
      inputs: of the step; changed meanwhile.
      root: the folder of the pipeline's outputs.

    Raises:
      RunError: one is a table, or too large to be copied.
    """
    local = [one for several in inputs.values() for one in several if not storage.is_remote(one.uri)]
    places = {one.uri: _copy(one.uri, root) for one in local}
    for one in local:
        one.uri = places[one.uri]
    try:
        yield
    finally:
        back = {copy: original for original, copy in places.items()}
        for one in local:
            one.uri = back[one.uri]


def _copy(uri: str, root: str) -> str:
    """A copy of a folder, named by what it holds; the place of one that was made before."""
    size = folder_size(uri)
    if storage.exists(f"{uri}/{MANIFEST}") or size[1] > _MOST_BYTES:
        raise RunError(
            f"'{uri}' is an input of a job elsewhere, and lies on this machine, where its workers cannot read it.",
            "Give the step that makes it this target as well: run the whole pipeline with --target, without --from.",
        )
    place = f"{root}/{FOLDER}/{folder_digest(uri).digest}"
    if _size(place) != size:  # an object of a bucket is whole or absent
        for relative, path in files_in(uri):
            with storage.open_input(path) as source, storage.open_output(f"{place}/{relative}") as target:
                shutil.copyfileobj(source, target)
    return place


def _size(uri: str) -> tuple[int, int]:
    try:
        return folder_size(uri)
    except MissingFolderError:
        return 0, 0
