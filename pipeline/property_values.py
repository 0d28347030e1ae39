"""Properties of ML Metadata as every store takes them: PostgreSQL refuses texts that are long or hold a backslash."""

import json
from typing import Any

from google.protobuf import json_format, wrappers_pb2
from ml_metadata.proto import metadata_store_pb2 as pb

LONGEST_TEXT = 2_000
"""Bytes of a text. The stores index texts, and an index entry of PostgreSQL holds 2,704 at most."""


def value(fact: str | int | float) -> pb.Value:
    """A text or a number as a property's value; see `unindexed`."""
    if isinstance(fact, str):
        return unindexed(pb.Value(string_value=fact))
    return pb.Value(int_value=fact) if isinstance(fact, int) else pb.Value(double_value=fact)


def unindexed(found: pb.Value) -> pb.Value:
    """A text that some store refuses, as a message that all take and none indexes; any other value as it is.

    Structures are stored as texts, too; such a one becomes its JSON. `text_of` reads both back.
    """
    text = found.string_value
    if found.HasField("struct_value") and found.ByteSize() * 4 // 3 > LONGEST_TEXT:
        plain = json_format.MessageToDict(found.struct_value)
        text = json.dumps(plain.get("__value__", plain))
    elif "\\" not in text and len(text.encode()) <= LONGEST_TEXT:
        return found
    packed = pb.Value()
    packed.proto_value.Pack(wrappers_pb2.StringValue(value=text))
    return packed


def text_of(found: Any) -> str | None:
    """The text of a value that is a text, however it is stored; None of other values."""
    packed = wrappers_pb2.StringValue()
    if found.HasField("proto_value") and found.proto_value.Unpack(packed):
        return str(packed.value)
    return str(found.string_value) if found.HasField("string_value") else None
