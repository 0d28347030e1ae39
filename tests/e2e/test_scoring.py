"""`braid score`: new tables through the recorded queries and a model, by the real launcher and a real store."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import xgboost
from sales_project import SALES, Braid, Outcome, Project, assert_nothing_half_written, latest, states

from components import encoding
from components.model_contract import MODEL, ModelContract
from pipeline import stores
from pipeline.lineage.archive import Archive
from pipeline.scoring.recipe import recipe_of
from pipeline.workspace import Workspace

WITH_REGIONS = (
    ("exclude: [id, day]", "exclude: [id, day, shop]"),
    ("  sales: {path: sales.csv}\n", "  sales: {path: sales.csv}\n  regions: {path: regions.csv}\n"),
    (
        "      SELECT id, day, amount, shop, kind, late = 1 AS late\n      FROM sales\n",
        "      SELECT s.id, s.day, s.amount, s.shop, r.size, s.late = 1 AS late\n"
        "      FROM sales s LEFT JOIN regions r ON s.shop = r.shop\n"
        "      WHERE s.late IS NOT NULL AND s.amount > 1\n",
    ),
)
REGIONS = "shop,size\nnorth,10\nsouth,3.5\neast,7\nwest,1\n"


def score(braid: Braid, table: str, folder: str, *options: str, model: str = "sales") -> Outcome:
    return braid("score", model, table, "--to", folder, "--workspace", "ws", *options)


def without(text: str, *columns: str) -> str:
    """The CSV without some columns."""
    rows = [line.split(",") for line in text.splitlines()]
    kept = [place for place, name in enumerate(rows[0]) if name not in columns]
    return "\n".join(",".join(row[place] for place in kept) for row in rows) + "\n"


def in_a_flat_loop(project: Project, folder: str) -> np.ndarray:
    """What the booster itself predicts for the ids of a folder of predictions, joined by hand."""
    archive = Archive(stores.open_store(Workspace(str(project.workspace)).store))
    (model,) = archive.artifacts_of_type("Model")
    uri = model.uri
    contract = ModelContract.load(uri)
    booster = xgboost.Booster(model_file=Path(uri) / MODEL)
    sales, regions = pc.read_csv(project.folder / "sales.csv"), pc.read_csv(project.folder / "regions.csv")
    rows = sales.join(regions, "shop").sort_by("id").take(pq.read_table(folder)["id"].combine_chunks())
    values = encoding.matrix(rows.combine_chunks(), contract)
    data = xgboost.DMatrix(values, feature_types=contract.feature_types, enable_categorical=True)
    return np.asarray(booster.predict(data))


def test_a_table_is_scored_as_the_model_itself_would(project: Project, braid: Braid) -> None:
    project.write("regions.csv", REGIONS)
    project.configure(*WITH_REGIONS)
    assert braid().code == 0

    # a table like that of training: its filters and joins apply, and the answers are the booster's own
    told = score(braid, "sales.csv", "out", "--with", "id", "--contributions", "--json")
    assert told.code == 0, told.err
    report = json.loads(told.out)
    scored = pq.read_table("out")
    assert report["rows"] == scored.num_rows == report["ledger"]["kept"]
    assert report["ledger"]["filtered"] == 2_000 - report["rows"] >= 0
    assert scored["_row"].to_pylist() == scored["id"].to_pylist()
    assert np.array_equal(scored["prediction"].to_numpy(), in_a_flat_loop(project, "out"))
    total = sum(scored[n].to_numpy().astype(float) for n in scored.column_names if n.startswith("contribution_"))
    assert np.allclose(1 / (1 + np.exp(-total)), scored["prediction"].to_numpy(), atol=1e-5)
    assert states(latest(project.workspace)) == {
        "sales": "COMPLETE", "regions": "CACHED", "check": "COMPLETE", "score": "COMPLETE",
    }  # fmt: skip
    assert report["findings"] == []

    # without the label, and with what chose the rows by it left out
    project.write("new.csv", without(SALES, "late"))
    told = score(braid, "new.csv", "new")
    assert told.code == 0, told.err
    assert "'new.csv' lacks 'late', so these are not computed, and no feature needs them: late." in told.out
    assert "Rows are not chosen by (s.late IS NOT NULL), as in training" in told.out
    assert pq.read_table("new")["prediction"].equals(scored["prediction"])
    everything = score(braid, "new.csv", "every", "--keep-all-rows", "--json")
    assert json.loads(everything.out)["rows"] == 2_000

    # the same in Parquet, read in place; again, from the cache
    pq.write_table(pc.read_csv("new.csv"), "new.parquet")
    assert score(braid, "new.parquet", "parquet").code == 0
    assert pq.read_table("parquet")["prediction"].equals(scored["prediction"])
    assert score(braid, "new.parquet", "parquet", "--force").code == 0
    assert set(states(latest(project.workspace)).values()) == {"CACHED"}

    # a side table from another place
    project.write("others.csv", REGIONS.replace("10", "1"))
    assert score(braid, "new.csv", "elsewhere", "--source", "regions=others.csv").code == 0
    assert not pq.read_table("elsewhere")["prediction"].equals(scored["prediction"])

    # rows that cannot be read are rejected, as at ingest, and told
    project.write("torn.csv", without(SALES, "late").replace("\n7,", "\nseven,", 1))
    told = score(braid, "torn.csv", "torn", "--json")
    assert json.loads(told.out)["rejected"] == 1
    contents = json.loads(Path("torn/_predictions.json").read_text())
    assert contents["rejects"] == ["_rejects/part-000000.parquet"]
    assert contents["chunks"][0]["file"] == str(project.folder / "torn.csv")

    # a table that is prepared already
    prepared = pa.table({"amount": [5.0, 90.0], "shop": ["north", "east"], "size": [10.0, 7.0]})
    pq.write_table(prepared, "prepared.parquet")
    assert score(braid, "prepared.parquet", "prepared", "--prepared").code == 0
    assert pq.read_table("prepared").num_rows == 2

    # lineage finds all of it, and the run tells what asks for it again
    model = braid("lineage", "down", str(_model(project)), "--workspace", "ws")
    assert model.out.count("predictions: Predictions") >= 6
    store = stores.open_store(Workspace(str(project.workspace)).store)
    context = Archive(store).run(latest(project.workspace).name)
    properties = {**context.properties, **context.custom_properties}
    place = project.folder
    command = (
        f"braid score sales {place}/prepared.parquet --to {place}/prepared --prepared --workspace {place}/ws --force"
    )
    assert properties["command"].string_value == command
    assert properties["to"].string_value == str(project.folder / "prepared")
    assert_nothing_half_written(project.workspace, "sales-score")


def _model(project: Project) -> int:
    archive = Archive(stores.open_store(Workspace(str(project.workspace)).store))
    (model,) = archive.artifacts_of_type("Model")
    recipe = recipe_of(archive, model)
    assert (recipe.pipeline, recipe.streamed, set(recipe.sources)) == ("sales", "sales", {"sales", "regions"})
    assert [step.name for step in recipe.chain] == ["orders"]
    assert recipe.statistics and recipe.schema
    return model.id


def test_bad_tables_are_told_in_a_paragraph_and_leave_nothing(project: Project, braid: Braid) -> None:
    assert braid().code == 0
    new = without(SALES, "late")
    refused: list[tuple[str, str, tuple[str, ...]]] = [
        (new.replace("amount", "amout", 1), "Feature 'amount' needs the column 'amount'", ()),
        (new.splitlines()[0] + "\n", "has column names, but no readable row", ()),
        (new.replace(",north,", ",mars,"), "hold values that the schema does not allow", ("--strict",)),
        (new, "Column 'colour' is not among the columns", ("--with", "colour")),
    ]
    for text, told, options in refused:
        project.write("bad.csv", text)
        found = score(braid, "bad.csv", "bad", *options)
        assert (found.code, told in found.err) == (1, True), found.err
        assert "Traceback" not in found.err
        assert not os.path.exists("bad")
    assert "are not joined with a source 'weather'" in score(braid, "bad.csv", "bad", "--source", "weather=x").err
    assert "'amount' of 'bad.parquet' is string" in _typed(braid)
    assert "does not exist" in score(braid, "gone.csv", "bad").err
    assert "is not empty" in score(braid, "bad.csv", ".").err
    _tamper(project)
    altered = score(braid, "bad.csv", "bad")
    assert (altered.code, "is not what was recorded" in altered.err) == (1, True), altered.err
    assert not os.path.exists("bad")


def _tamper(project: Project) -> None:
    """Appends a byte to every copy of the model."""
    for path in project.workspace.rglob(MODEL):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b"x")


def _typed(braid: Braid) -> str:
    rows = pc.read_csv("sales.csv")
    place = rows.schema.get_field_index("amount")
    pq.write_table(rows.set_column(place, "amount", rows["amount"].cast(pa.string())), "bad.parquet")
    return score(braid, "bad.parquet", "bad").err


def test_drift_is_told_and_a_strict_run_stops_on_it(project: Project, braid: Braid) -> None:
    table = "far.csv"
    assert braid().code == 0
    lines = [line.split(",") for line in SALES.splitlines()]
    far = [lines[0], *([*line[:2], str(float(line[2]) * 5), *line[3:]] for line in lines[1:])]
    project.write(table, "\n".join(",".join(line) for line in far) + "\n")
    told = score(braid, table, "out")
    assert told.code == 0, told.err
    assert "column 'amount': drifted from the training data" in told.out
    stopped = score(braid, table, "strict", "--strict")
    assert stopped.code == 1
    assert "is not like what the model was trained on" in stopped.err
    run = latest(project.workspace).name
    assert f"--strict --workspace {project.workspace} --resume {run}" in stopped.err
    assert not os.path.exists("strict")
    assert score(braid, table, "free", "--strict", "--drift", "1").code == 0
