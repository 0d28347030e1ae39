"""A file's digest, taken while the file is written, so that nobody need read it again."""

import hashlib
import io
from typing import Any, BinaryIO

from beam_jobs import storage


class DigestedOutput(io.RawIOBase):
    """An open output whose bytes are digested on their way; written from front to back.

    Args:
      opened: where they go; closed with this.
    """

    def __init__(self, opened: BinaryIO) -> None:
        super().__init__()
        self._opened, self._digest = opened, hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """That of all bytes so far: what `storage.bytes_digest` gives of the file once it is closed."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Writes bytes; returns how many."""
        written = self._opened.write(data)
        self._digest.update(memoryview(data)[:written])
        return written

    def tell(self) -> int:
        """How many bytes there are."""
        return self._opened.tell()

    def flush(self) -> None:
        """Hands on what is held back."""
        if not self._opened.closed:  # as it is where closing it has failed
            self._opened.flush()

    def close(self) -> None:
        """Ends the file."""
        if self.closed:
            return
        try:
            self._opened.close()
        finally:
            super().close()


def open_digested(path: str) -> DigestedOutput:
    """Opens a file for writing, making local folders on the way."""
    return DigestedOutput(storage.open_output(path))
