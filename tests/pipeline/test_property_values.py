"""Texts and numbers as property values, there and back."""

import json

import pytest
from google.protobuf import struct_pb2, timestamp_pb2
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.property_values import text_of, unindexed, value


@pytest.mark.parametrize("text", ["", "a" * 2_000, 'it\'s "quoted"\n\té {'])
def test_a_text_that_every_store_takes_stays_a_text(text: str) -> None:
    found = value(text)
    assert found == pb.Value(string_value=text)
    assert text_of(found) == text


@pytest.mark.parametrize("text", ["a" * 2_001, "é" * 1_001, "back\\slash", json.dumps({"sql": "a\nb"})])
def test_a_text_that_postgresql_refuses_becomes_a_message(text: str) -> None:
    found = value(text)
    assert found.HasField("proto_value")
    assert text_of(found) == text
    assert unindexed(found) == found


def test_numbers_stay_numbers() -> None:
    assert value(3) == pb.Value(int_value=3)
    assert value(0.5) == pb.Value(double_value=0.5)
    assert unindexed(pb.Value(int_value=3)) == pb.Value(int_value=3)
    assert text_of(value(3)) is None


def structure(columns: int, as_list: bool) -> pb.Value:
    """As TFX's JSON properties are: a list stands under `__value__`."""
    found = pb.Value(struct_value=struct_pb2.Struct())
    if as_list:
        found.struct_value.update({"__value__": [f"column_{n}" for n in range(columns)]})
    else:
        found.struct_value.update({f"column_{n}": "int64" for n in range(columns)})
    return found


@pytest.mark.parametrize("as_list", [True, False])
def test_a_large_structure_becomes_its_json(as_list: bool) -> None:
    small = structure(10, as_list)
    assert unindexed(small) is small
    text = text_of(unindexed(structure(200, as_list)))
    assert text is not None
    names = [f"column_{n}" for n in range(200)]
    assert json.loads(text) == (names if as_list else dict.fromkeys(names, "int64"))


def test_other_messages_are_no_texts() -> None:
    found = pb.Value()
    found.proto_value.Pack(timestamp_pb2.Timestamp(seconds=5))
    assert text_of(found) is None
    assert unindexed(found) is found
