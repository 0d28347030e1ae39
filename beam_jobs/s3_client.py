"""Amazon's client of S3, one for the process, and objects written through it.

Who may do what it learns from where Amazon's library looks: environment variables, `~/.aws`, the machine's own role.
"""

import errno
import io
import threading
from functools import lru_cache
from typing import Any

from apache_beam.io.aws.clients.s3 import boto3_client

PART_BYTES = 16 << 20
"""Parts of an upload; S3 takes 10,000 of them, and none but the last below 5 MB."""

_making = threading.Lock()


def client() -> Any:
    """The client, which threads may share.

    Raises:
      PermissionError: there are no credentials.
    """
    with _making:
        return _client()


@lru_cache(maxsize=1)
def _client() -> Any:
    import boto3  # type: ignore[import-untyped]

    session = boto3.session.Session()
    if session.get_credentials() is None:  # Beam would ask for them again and again, for minutes
        raise PermissionError(errno.EACCES, "nothing tells who asks; set AWS_PROFILE, or run `aws configure`")
    return session.client("s3")


def forget_client() -> None:
    """Makes the next call look for credentials anew."""
    _client.cache_clear()


class _SharingClient(boto3_client.Client):
    """Beam's, on the shared client: it makes one of its own for each call, which takes a tenth of a second."""

    def __init__(self, options: Any) -> None:
        self.client = client()
        self._download_request = self._download_stream = None
        self._download_pos = 0


def share() -> None:
    """Lets Beam's filesystem use the shared client."""
    boto3_client.Client = _SharingClient


class S3Output(io.RawIOBase):
    """An object that is written: there whole once this is closed, and not at all when it is given up.

    Beam's own stores what was written until an error, and cannot write an object without a byte.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        bucket, _, key = path.partition("://")[2].partition("/")
        self._place = {"Bucket": bucket, "Key": key}
        self._client, self._upload = client(), ""
        self._waiting, self._parts, self._written = bytearray(), list[dict[str, Any]](), 0

    def writable(self) -> bool:
        """It is, from front to back."""
        return True

    def tell(self) -> int:
        """Bytes so far."""
        return self._written

    def write(self, data: Any) -> int:
        """Sends a part whenever there is enough of it."""
        self._waiting += data
        count = len(memoryview(data).cast("B"))
        self._written += count
        while len(self._waiting) >= PART_BYTES:
            self._send(PART_BYTES)
        return count

    def close(self) -> None:
        """Stores the object."""
        if self.closed:
            return
        if not self._upload:
            self._client.put_object(**self._place, Body=bytes(self._waiting))
        else:
            if self._waiting:
                self._send(len(self._waiting))
            self._client.complete_multipart_upload(
                **self._place, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
            )
        super().close()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._give_up()

    def _give_up(self) -> None:
        super().close()
        if self._upload:
            self._client.abort_multipart_upload(**self._place, UploadId=self._upload)

    def _send(self, size: int) -> None:
        if not self._upload:
            self._upload = self._client.create_multipart_upload(**self._place)["UploadId"]
        number = len(self._parts) + 1
        sent = self._client.upload_part(
            **self._place, UploadId=self._upload, PartNumber=number, Body=bytes(self._waiting[:size])
        )
        del self._waiting[:size]
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})
