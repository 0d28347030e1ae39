from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from examples_factory import write_examples
from statistics_factory import statistics_of
from tensorflow_metadata.proto.v0 import schema_pb2

from components.errors import StepError
from components.schema_file import inference_mark, schema_text

COLUMN = 'feature {\n  name: "x"\n  type: INT\n}\n'


def infer(folder: Path, columns: dict[str, Any], eval_columns: dict[str, Any] | None = None) -> dict[str, Any]:
    """The schema's features by column."""
    train = pa.table(columns)
    table = write_examples(folder, {"train": train, "eval": pa.table(eval_columns or columns)})
    types = {column.name: str(column.type) for column in train.schema}
    schema = schema_text.infer_schema(statistics_of(table), types)
    features = {feature.name: feature for feature in schema.feature}
    assert {domain.name for domain in schema.string_domain} == {f.domain for f in schema.feature if f.domain}
    return features


def test_inferred_types_presence_and_domains(tmp_path: Path) -> None:
    rows = 2_000
    features = infer(
        tmp_path,
        {
            "carrier": ["UA", "AA", "B6", "DL"] * (rows // 4),
            "holed": [1.0, None] * (rows // 2),
            "flag": [True, False] * (rows // 2),
            "zero_or_one": [0, 1] * (rows // 2),
            "void": pa.nulls(rows, pa.int64()),
        },
    )
    wanted = {"carrier": "BYTES", "holed": "FLOAT", "flag": "INT", "zero_or_one": "INT", "void": "INT"}
    assert {name: schema_pb2.FeatureType.Name(feature.type) for name, feature in features.items()} == wanted
    assert features["carrier"].domain == "carrier"
    assert features["carrier"].distribution_constraints.min_domain_mass == schema_text.DOMAIN_SHARE
    assert features["carrier"].presence.min_fraction == schema_text.PRESENT_SHARE
    assert not features["holed"].presence.min_fraction
    assert features["flag"].HasField("bool_domain")
    assert not features["zero_or_one"].HasField("bool_domain")
    assert features["void"].lifecycle_stage == schema_pb2.PLANNED
    assert not any(features[name].lifecycle_stage for name in wanted if name != "void")


def test_open_lists_of_text_get_no_domain(tmp_path: Path) -> None:
    rows, rng = 2_000, np.random.default_rng(0)
    columns = {
        "date": [f"2013-01-{i % 28 + 1:02d}" for i in range(rows)],
        "tail": [f"N{i % 90}" if i < rows - 9 else f"rare{i}" for i in range(rows)],
        "month": [["Jan", "Feb", "Mar"][i % 3] for i in range(rows)],
        "many": [f"v{i}" for i in rng.integers(0, 150, rows)],
    }
    features = infer(tmp_path, columns, {**columns, "month": ["Apr"] * rows})
    assert [name for name, feature in features.items() if feature.domain] == []


def test_an_empty_train_split_has_no_schema(tmp_path: Path) -> None:
    table = write_examples(tmp_path, {"train": pa.table({"x": [1]})})
    statistics = statistics_of(table)
    statistics["train"].datasets[0].num_examples = 0
    with pytest.raises(StepError, match="split 'train' is empty"):
        schema_text.infer_schema(statistics, {})


def test_the_text_reads_back_as_the_same_schema(tmp_path: Path) -> None:
    table = write_examples(tmp_path / "e", {"train": pa.table({"s": ["a", "b"] * 100, "x": [1.5] * 200})})
    schema = schema_text.infer_schema(statistics_of(table), {})
    path = tmp_path / "schema.pbtxt"
    path.write_text(inference_mark.marked(schema_text.schema_text(schema), "request-1"))
    assert schema_text.read_schema(str(path)) == schema


BROKEN = {
    "unknown field": (COLUMN + 'feature {\n  nmae: "y"\n}\n', r"line 6: a Feature has no field 'nmae'\. .*'name'"),
    "unclosed": ('feature {\n  name: "x"\n', "schema.pbtxt' cannot be read, line"),
    "wrong type": ("feature {\n  name: 3\n}\n", "line 2:"),
    "empty": ("# nothing\n", "names no column"),
    "twice": (COLUMN + COLUMN, "has feature 'x' more than once"),
    "no such domain": (
        'feature {\n  name: "x"\n  type: BYTES\n  domain: "cariers"\n}\nstring_domain {\n  name: "carriers"\n}\n',
        r"column 'x' the domain 'cariers'.*Did you mean 'carriers'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_schema_file_names_file_and_place(tmp_path: Path, name: str) -> None:
    text, message = BROKEN[name]
    path = tmp_path / "schema.pbtxt"
    path.write_text(text)
    with pytest.raises(StepError, match=message) as caught:
        schema_text.read_schema(str(path))
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_a_schema_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "schema.pbtxt"
    path.write_bytes(b'feature { name: "\xff" }')
    with pytest.raises(StepError, match="is not UTF-8"):
        schema_text.read_schema(str(path))


def test_the_digest_changes_with_an_edit_and_with_removal_only(tmp_path: Path) -> None:
    path = tmp_path / "schema.pbtxt"
    request = inference_mark.user_schema_digest(str(path))
    path.write_text(inference_mark.marked(COLUMN, request))
    assert inference_mark.user_schema_digest(str(path)) == request  # as it was inferred
    path.write_text(path.read_text().replace("INT", "FLOAT"))
    edited = inference_mark.user_schema_digest(str(path))
    assert edited != request
    assert inference_mark.user_schema_digest(str(path)) == edited
    path.unlink()
    assert inference_mark.user_schema_digest(str(path)) not in (request, edited)
