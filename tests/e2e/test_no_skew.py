"""A Keras model answers the same wherever it is asked: bulk scoring, both signatures of its SavedModel, and over HTTP.

10,000 raw rows, some without a value, some with a text that training never saw. What is known as training/serving skew
would show as a difference.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from sales_project import SALES, Project
from served_model import serving

from components import feature_tensors
from components.model_contract import ModelContract
from pipeline.cli.main import main

ROWS = 10_000
HEADER = "id,day,amount,shop,kind"
TOLERANCE = 1e-6


def raw_rows() -> str:
    chance = random.Random(11)
    lines = [HEADER]
    for row in range(ROWS):
        amount = "" if chance.random() < 0.05 else f"{chance.uniform(-20, 200):.2f}"
        shop = chance.choice(("north", "south", "east", "west", "moon", ""))
        lines.append(
            f"{row},2024-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d},{amount},{shop},{chance.choice('abcz')}"
        )
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("skew")
    made = Project(folder)
    made.configure(
        ("SELECT id, day, amount, shop, kind, late = 1 AS late", "SELECT id, day, amount, shop, kind, day AS sold, late = 1 AS late"),
        ("exclude: [id, day]", "exclude: [id, day]\n  always: [amount, shop, kind, sold]"),
        ("train:\n  rounds: 10", "train: {family: keras, epochs: 2}"),
        more="\nevaluate: {thresholds: {auc: {min: 0.1}}}\n",
    )  # fmt: skip
    made.write("sales.csv", SALES)
    made.write("new.csv", raw_rows())
    before = os.getcwd()
    os.chdir(folder)
    try:
        main(["run", "sales.yaml", "--workspace", "ws"])
        main(["score", "sales", "new.csv", "--to", "out", "--with", "id", "--workspace", "ws"])
    finally:
        os.chdir(before)
    return made


def bulk(project: Project) -> np.ndarray:
    """Predictions in the order of the raw rows."""
    found = pq.read_table(project.folder / "out", columns=["id", "prediction"]).sort_by("id")
    assert found.num_rows == ROWS
    return found["prediction"].to_numpy()


def prepared(project: Project) -> pa.Table:
    """The raw rows as the prepare step makes features of them; here by hand."""
    read = pyarrow.csv.ConvertOptions(column_types={"amount": pa.float64()}, strings_can_be_null=True)
    rows = pyarrow.csv.read_csv(project.folder / "new.csv", convert_options=read)
    return rows.append_column("sold", rows["day"])


def served_model(project: Project) -> tuple[Any, ModelContract]:
    folder = str(Path(project.workspace, "sales", "serving", "current"))
    return tf.saved_model.load(folder), ModelContract.load(folder)


def example(row: dict[str, Any]) -> bytes:
    """A tf.Example without the features that are missing."""
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        for name, value in row.items()
        if value != b"" and not (isinstance(value, float) and np.isnan(value))
    }
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


@pytest.mark.slow
def test_bulk_scoring_and_the_signatures_agree(finished: Project) -> None:
    model, contract = served_model(finished)
    assert {feature.name for feature in contract.features} == {"amount", "shop", "kind", "sold"}
    columns = feature_tensors.arrays(prepared(finished), contract.features)
    expected = bulk(finished)
    assert len(np.unique(expected)) > 1_000
    tensors = {
        name: tf.constant(values.tolist(), tf.string if values.dtype == object else tf.float32)
        for name, values in columns.items()
    }
    by_tensors = model.signatures["serving_default"](**tensors)["predictions"].numpy()
    np.testing.assert_allclose(by_tensors, expected, rtol=0, atol=TOLERANCE)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*(v.tolist() for v in columns.values()), strict=True)]
    serialized = tf.constant([example(row) for row in rows])
    by_examples = model.signatures["serve_tf_examples"](serialized)["predictions"].numpy()
    np.testing.assert_allclose(by_examples, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_bulk_scoring_and_the_endpoint_agree(finished: Project) -> None:
    rows = [
        {name: value for name, value in row.items() if value is not None}
        for row in json.loads(json.dumps(prepared(finished).drop(["sold"]).to_pylist(), default=str))
    ]
    rows = [{**dict.fromkeys(HEADER.split(",")), **row} for row in rows]
    with serving(finished, "sales") as server:
        answered = [
            prediction
            for start in range(0, ROWS, 1_000)
            for prediction in server.predict(rows[start : start + 1_000])["predictions"]
        ]
    np.testing.assert_allclose(np.array(answered), bulk(finished), rtol=0, atol=TOLERANCE)
