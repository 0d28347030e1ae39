"""The header that tells an inferred schema file from one that its user has taken over.

TFX's cache must see an edit of the user's file, see its removal, and not see the first run write it. So the file keeps
the request that it was inferred on and a digest of its body: as long as the body is untouched, the file stands for
that request.
"""

import hashlib
import re
import uuid

from beam_jobs import storage
from beam_jobs.errors import DataError

_HEADER = """\
# Inferred by Braid from the train split. It is yours now: edit it, and keep it under version control.
# Every run checks the data against it. Delete it to have it inferred anew.
# inferred on {request}, body {digest}
"""
_MARK = re.compile(r"^# inferred on (\S+), body (\S+)$", re.MULTILINE)


def digest(text: str) -> str:
    """BLAKE2b-64 of a text, in hexadecimal."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def marked(body: str, request: str) -> str:
    """The text of a schema file that was inferred on `request`."""
    return _HEADER.format(request=request, digest=digest(body)) + body


def user_schema_digest(schema_path: str) -> str:
    """What to hand to SchemaFile as `user_schema_digest`.

    A new request where there is no file, the request it was inferred on where nobody edited the file since, and the
    digest of its content otherwise.
    """
    if not storage.exists(schema_path):
        return f"request-{uuid.uuid4().hex[:12]}"
    text = _read(schema_path)
    return _request(text) or digest(text)


def is_untouched(schema_path: str) -> bool:
    """Whether nobody edited the file since it was inferred."""
    return bool(_request(_read(schema_path)))


def write_again(schema_uri: str, schema_path: str, request: str) -> bool:
    """Writes the user's file once more, from the schema that was inferred on `request`; returns whether that is there."""
    try:
        (kept,) = storage.expand(schema_uri)
    except (DataError, ValueError):
        return False
    storage.write_text(schema_path, marked(storage.read_text(kept.path), request))
    return True


def _read(path: str) -> str:
    with storage.open_input(path) as stream:
        return stream.read().decode(errors="replace")


def _request(text: str) -> str:
    """The request that the text was inferred on; '' when somebody wrote or edited it."""
    mark = _MARK.search(text)
    return mark.group(1) if mark is not None and digest(text[mark.end() + 1 :]) == mark.group(2) else ""
