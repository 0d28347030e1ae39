"""A recipe's chain over a table that differs from the one that training saw."""

from typing import Any

import pyarrow as pa
import pytest

from beam_jobs.sources import SourceConfig
from components.model_contract import Feature, ModelContract
from pipeline.errors import RunError
from pipeline.scoring.adapting import Adapted, TableToScore, adapt, as_they_are
from pipeline.scoring.recipe import Recipe, RecordedSource, RecordedStep, RecordedTable

FLIGHTS = pa.schema(
    [
        ("id", pa.int64()),
        ("carrier", pa.string()),
        ("origin", pa.string()),
        ("dep_delay", pa.float64()),
        ("arr_delay", pa.float64()),
    ]
)
WEATHER = pa.schema([("origin", pa.string()), ("temp", pa.float64())])
CLEAN = "SELECT *, arr_delay > 15 AS late FROM flights WHERE arr_delay IS NOT NULL AND carrier <> 'XX'"
JOINED = "SELECT c.id, c.carrier, c.dep_delay, w.temp, c.late FROM clean c LEFT JOIN weather w ON c.origin = w.origin"
FEATURES = (Feature("carrier", "category", "string", ("AA",)), Feature("temp", "numeric", "double"))
CONTRACT = ModelContract("binary", "late", (False, True), FEATURES)


def step(name: str, sql: str, stream: str, reads: tuple[str, ...], partition_by: tuple[str, ...] = ()) -> RecordedStep:
    config: dict[str, Any] = {
        "step": name, "stream": stream, "sql": sql, "partition_by": list(partition_by), "fan_out": False,
        "split": {"by": "hash", "columns": ["id"]},
    }  # fmt: skip
    return RecordedStep(RecordedTable(name, 0, "", 0), config, reads)


def recipe(*steps: RecordedStep) -> Recipe:
    sources = {
        name: RecordedSource(RecordedTable(name, 0, "", 0), SourceConfig(name, f"{name}.csv"), "")
        for name in ("flights", "weather")
    }
    return Recipe("flights", "run", 1, "model", sources, {one.name: one for one in steps})


TWO_STEPS = recipe(step("clean", CLEAN, "flights", ("flights",)), step("joined", JOINED, "clean", ("clean", "weather")))


def adapted(schema: pa.Schema, trained: pa.Schema | None = FLIGHTS, of: Recipe = TWO_STEPS, **options: Any) -> Adapted:
    return adapt(of, TableToScore("new.csv", schema, trained), {"weather": WEATHER}, CONTRACT, **options)


def without(*names: str) -> pa.Schema:
    return pa.schema([field for field in FLIGHTS if field.name not in names])


def test_a_table_like_that_of_training_runs_the_queries_as_they_are() -> None:
    found = adapted(FLIGHTS)
    assert [one.config["sql"] for one in found.steps] == [CLEAN]
    assert found.steps[0].config["split"] is None
    assert (found.final.stream, set(found.final.tables)) == ("clean", {"clean", "weather"})
    assert (found.columns, found.label) == (("carrier", "temp", "late"), "late")
    assert found.final.output.names == ["carrier", "temp", "late"]
    assert (found.lost, found.conditions) == ({}, ())


def test_what_only_the_label_needs_may_be_missing() -> None:
    found = adapted(without("arr_delay"))
    assert "arr_delay" not in found.steps[0].config["sql"]
    assert found.label == ""
    assert found.final.output.names == ["carrier", "temp"]
    assert found.lost == {"late": frozenset({"arr_delay"})}
    assert [condition.missing for condition in found.conditions] == [("arr_delay",)]


def test_a_feature_names_the_column_that_it_lacks_two_steps_before() -> None:
    schema = without("carrier").append(pa.field("carier", pa.string()))
    with pytest.raises(
        RunError, match=r"Feature 'carrier' needs the column 'carrier', which 'new.csv' does not have"
    ) as no:
        adapted(schema)
    assert "Did you mean 'carier'?" in str(no.value)


def test_a_join_that_lacks_its_key_is_refused_in_one_paragraph() -> None:
    with pytest.raises(RunError, match=r"'new.csv' cannot be prepared .* in step 'joined': A join .* needs 'origin'"):
        adapted(without("origin"))


def test_columns_that_are_handed_on_must_be_made() -> None:
    assert adapted(FLIGHTS, passed=("id", "carrier")).columns == ("carrier", "temp", "id", "late")
    with pytest.raises(RunError, match=r"Column 'idd' is not among the columns .* Did you mean 'id'?"):
        adapted(FLIGHTS, passed=("idd",))


def test_all_rows_can_be_kept() -> None:
    found = adapted(FLIGHTS, keeps_all_rows=True)
    assert len(found.conditions) == 2
    assert "WHERE" not in found.steps[0].config["sql"]


def test_a_needed_column_of_another_kind_is_refused_and_an_unneeded_one_is_not() -> None:
    def of_type(name: str, kind: pa.DataType) -> pa.Schema:
        return FLIGHTS.set(FLIGHTS.get_field_index(name), pa.field(name, kind))

    with pytest.raises(RunError, match=r"Column 'carrier' of 'new.csv' is int64; the model was trained on string"):
        adapted(of_type("carrier", pa.int64()), of=recipe(step("s", "SELECT id, carrier, dep_delay AS temp FROM flights", "flights", ("flights",))))  # fmt: skip
    assert adapted(of_type("id", pa.string())).columns == ("carrier", "temp", "late")
    assert adapted(of_type("dep_delay", pa.int16())).columns == ("carrier", "temp", "late")


def test_a_last_step_over_partitions_writes_a_table_that_is_then_scored() -> None:
    sql = "SELECT id, carrier, avg(dep_delay) OVER (PARTITION BY carrier) AS temp FROM flights"
    found = adapted(FLIGHTS, of=recipe(step("s", sql, "flights", ("flights",), ("carrier",))))
    assert [one.name for one in found.steps] == ["s"]
    assert (found.final.stream, found.final.output.names) == ("s", ["carrier", "temp"])


def test_a_table_of_examples_needs_no_query() -> None:
    schema = pa.schema([("temp", pa.float32()), ("carrier", pa.string()), ("late", pa.bool_()), ("x", pa.binary())])
    found = as_they_are("joined", TableToScore("new.parquet", schema), CONTRACT)
    assert (found.steps, found.columns, found.label) == ((), ("carrier", "temp", "late"), "late")
    with pytest.raises(RunError, match=r"Feature 'temp' is not in 'new.parquet'"):
        as_they_are("joined", TableToScore("new.parquet", schema.remove(0)), CONTRACT)
    with pytest.raises(RunError, match=r"Feature 'temp' comes out of 'new.parquet' as string"):
        as_they_are("joined", TableToScore("new.parquet", schema.set(0, pa.field("temp", pa.string()))), CONTRACT)
