import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from examples_factory import write_examples
from hypothesis import given
from hypothesis import strategies as st
from statistics_factory import statistics_of

from components.data_gate import gate_config, offending_rows, validation
from components.data_gate.executor import anomalies_error
from components.data_gate.findings import NO_VALUE, Finding
from components.errors import StepError
from components.schema_file import schema_text

ROWS = 2_000


def usual(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "delay": pa.array(rng.normal(size=ROWS)),
        "hour": pa.array(rng.integers(0, 24, ROWS)),
        "carrier": pa.array(["UA", "AA", "B6", "DL"] * (ROWS // 4)),
        "night": pa.array(rng.random(ROWS) < 0.3),
    }


def judge(
    folder: Path,
    eval_columns: dict[str, Any],
    config: dict[str, Any] | None = None,
    edit: Callable[[Any], None] | None = None,
    with_examples: bool = True,
) -> dict[str, list[str]]:
    """The findings by split, of a schema inferred from usual rows and an eval split of other rows."""
    train = write_examples(folder / "train", {"train": pa.table(usual())})
    table = write_examples(folder / "eval", {"eval": pa.table(eval_columns)})
    types = {column.name: str(column.type) for column in train.schema}
    schema = schema_text.infer_schema(statistics_of(train), types)
    for feature in schema.feature:
        if edit is not None:
            edit(feature)
    evidence = validation.Evidence(
        statistics_of(train) | statistics_of(table),
        schema,
        {column.name: str(column.type) for column in table.schema},
        table if with_examples else None,
    )
    verdicts = validation.judge(evidence, gate_config.parse_config(json.dumps(config or {})))
    return {split: [str(f) for f in verdict.findings if f.stops] for split, verdict in verdicts.items()}


def planted(column: str, values: Any) -> dict[str, Any]:
    return {**usual(1), column: values}


def first_replaced(column: str, values: list[Any]) -> dict[str, Any]:
    rows = usual(1)
    return {**rows, column: pa.array(values + rows[column].to_pylist()[len(values) :])}


def test_usual_rows_pass(tmp_path: Path) -> None:
    assert judge(tmp_path, usual(1)) == {"train": [], "eval": []}


def test_values_outside_the_domain(tmp_path: Path) -> None:
    found = judge(tmp_path, first_replaced("carrier", ["ZZ"] * 30 + ["YY"] * 3))["eval"]
    assert found == [
        "split 'eval', column 'carrier': 33 of 2,000 rows (1.65%) hold values that the schema does not allow in more "
        "than 1.00% of the rows: 'ZZ' (30), 'YY' (3); allowed: 'AA', 'B6', 'DL', 'UA'"
    ]


def test_values_outside_the_domain_from_statistics_alone(tmp_path: Path) -> None:
    rows = first_replaced("carrier", ["ZZ"] * 30 + ["YY"] * 3)
    found = judge(tmp_path, rows, with_examples=False)["eval"]
    assert "33 of 2,000 rows (1.65%)" in found[0]
    assert "'ZZ' (30), 'YY' (3)" in found[0]


def test_counts_stay_exact_beyond_what_statistics_list(tmp_path: Path) -> None:
    strays = [f"odd{i % 1_500}" for i in range(1_600)]
    found = judge(tmp_path, first_replaced("carrier", strays))["eval"]
    assert "1,600 of 2,000 rows (80.00%)" in found[0]
    assert "'odd0' (2), 'odd1' (2)" in found[0]
    assert "and 1,495 more values" in found[0]


def test_the_configured_share_replaces_the_schemas(tmp_path: Path) -> None:
    rows = first_replaced("carrier", ["ZZ"] * 5)
    assert judge(tmp_path / "a", rows)["eval"] == []
    strict = judge(tmp_path / "b", rows, {"max_out_of_domain_share": 0})["eval"]
    assert strict[0].startswith("split 'eval', column 'carrier': 5 of 2,000 rows (0.25%) hold values")
    assert (
        judge(tmp_path / "c", first_replaced("carrier", ["ZZ"] * 90), {"max_out_of_domain_share": 0.05})["eval"] == []
    )


def test_a_missing_column_with_its_likely_new_name(tmp_path: Path) -> None:
    rows = usual(1)
    rows["carriers"] = rows.pop("carrier")
    found = judge(tmp_path, rows)["eval"]
    assert found == [
        "split 'eval', column 'carrier': missing in all 2,000 rows; the schema requires the column. "
        "Did you mean 'carriers'?"
    ]


def test_a_new_column_is_recorded_and_stops_nothing(tmp_path: Path) -> None:
    train = write_examples(tmp_path / "t", {"train": pa.table(usual())})
    schema = schema_text.infer_schema(statistics_of(train), {})
    table = write_examples(tmp_path / "e", {"eval": pa.table(planted("gate", ["A1"] * ROWS))})
    verdict = validation.judge(
        validation.Evidence(statistics_of(table), schema, {"gate": "string"}), gate_config.GateConfig()
    )["eval"]
    assert verdict.blessed
    assert [str(f) for f in verdict.findings] == [
        "split 'eval', column 'gate': not in the schema (a new column of type string); nothing checks it"
    ]


def test_a_change_of_type(tmp_path: Path) -> None:
    found = judge(tmp_path, planted("hour", ["ten"] * 1_500 + ["nine"] * 500))["eval"]
    assert found == [
        "split 'eval', column 'hour': 2,000 of 2,000 rows (100.00%) hold type string: 'ten' (1,500), 'nine' (500); "
        "the schema wants INT"
    ]


def test_too_many_nulls(tmp_path: Path) -> None:
    found = judge(tmp_path, first_replaced("delay", [None] * 100))["eval"]
    assert found == [
        "split 'eval', column 'delay': 100 of 2,000 rows (5.00%) are null; the schema allows at most 1.00% "
        "(min_fraction 0.99)"
    ]
    assert judge(tmp_path, first_replaced("delay", [None] * 19))["eval"] == []


def test_numbers_out_of_range(tmp_path: Path) -> None:
    def limit(feature: Any) -> None:
        if feature.name == "hour":
            feature.int_domain.min, feature.int_domain.max = 0, 23

    rows = first_replaced("hour", [24, 24, 99, -1])
    wanted = "split 'eval', column 'hour': 4 of 2,000 rows (0.20%) are out of range: 24 (2), -1 (1), 99 (1); "
    assert judge(tmp_path, rows, edit=limit)["eval"] == [wanted + "the schema allows 0 to 23"]
    told = judge(tmp_path, rows, edit=limit, with_examples=False)["eval"]
    assert told == ["split 'eval', column 'hour': its values go from -1 to 99; the schema allows 0 to 23"]


def test_a_number_that_is_none(tmp_path: Path) -> None:
    def forbid(feature: Any) -> None:
        if feature.name == "delay":
            feature.float_domain.disallow_nan = True

    found = judge(tmp_path, first_replaced("delay", [float("nan")] * 7), edit=forbid)["eval"]
    assert found == [
        "split 'eval', column 'delay': 7 of 2,000 rows (0.35%) are not a number (NaN), which the schema forbids"
    ]


def test_an_anomaly_of_another_kind_is_told_in_tfdvs_words(tmp_path: Path) -> None:
    def unique(feature: Any) -> None:
        if feature.name == "carrier":
            feature.unique_constraints.max = 2

    found = judge(tmp_path, usual(1), edit=unique)["eval"]
    assert found == [
        "split 'eval', column 'carrier': High number of unique values: Expected no more than 2 unique values but found 4."
    ]


def test_drift_between_splits_beyond_its_bound(tmp_path: Path) -> None:
    rows = first_replaced("carrier", ["UA"] * 1_000) | {"delay": pa.array(usual(1)["delay"].to_numpy() + 3)}
    config = {"drift": {"default": 0.1, "columns": {"hour": None}}}
    found = judge(tmp_path, rows, config)
    assert found["train"] == []
    carrier, delay = found["eval"]
    assert carrier == (
        "split 'eval', column 'carrier': drifted from split 'train': the share of 'UA' went from 25.00% to 62.50% "
        "(1,250 of 2,000 rows); the bound is a change of 10.00%"
    )
    assert delay.startswith("split 'eval', column 'delay': drifted from split 'train': Jensen-Shannon divergence 0.")
    assert "the bound is 0.1; mean " in delay
    assert judge(tmp_path / "unbound", rows) == {"train": [], "eval": []}


def test_drift_from_previous_statistics(tmp_path: Path) -> None:
    before = statistics_of(write_examples(tmp_path / "before", {"train": pa.table(usual())}))
    now = write_examples(tmp_path / "now", {"train": pa.table(first_replaced("carrier", ["UA"] * 400))})
    evidence = validation.Evidence(statistics_of(now), schema_text.infer_schema(before, {}), previous=before)
    config = gate_config.parse_config('{"drift_from_previous": {"columns": {"carrier": 0.05}}}')
    verdict = validation.judge(evidence, config)["train"]
    assert not verdict.blessed
    assert "drifted from the previous data: the share of 'UA' went from 25.00% to 40.00%" in str(verdict.findings[0])
    assert [measured.path.step[0] for measured in verdict.anomalies.drift_skew_info] == ["carrier"]


def test_an_empty_split(tmp_path: Path) -> None:
    statistics = statistics_of(write_examples(tmp_path, {"train": pa.table(usual())}))
    schema = schema_text.infer_schema(statistics, {})
    statistics["train"].datasets[0].num_examples = 0
    verdict = validation.judge(validation.Evidence(statistics, schema), gate_config.GateConfig())["train"]
    assert [str(f) for f in verdict.findings] == ["split 'train': 0 rows: the split is empty"]


WRONG_CONFIGS = {
    '{"drfit": {}}': "unknown key 'drfit'.*Did you mean 'drift'",
    '{"drift": {"carrier": 0.1}}': "'drift' has an unknown key 'carrier'",
    '{"drift": {"default": 2}}': r"'drift\.default' is 2",
    '{"drift": {"columns": {"x": "much"}}}': r"'drift\.columns\.x' is 'much'",
    '{"max_out_of_domain_share": true}': "'max_out_of_domain_share' is True",
    '{"anomalies": "warm"}': "Did you mean 'warn'",
}


@pytest.mark.parametrize("text", WRONG_CONFIGS)
def test_a_wrong_configuration_is_named(text: str) -> None:
    with pytest.raises(StepError, match=WRONG_CONFIGS[text]):
        gate_config.parse_config(text)


def test_a_bound_for_an_unknown_column(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"column 'carier', which the schema does not have.*Did you mean 'carrier'"):
        judge(tmp_path, usual(1), {"drift": {"columns": {"carier": 0.1}}})


def test_many_anomalies_are_cut_but_counted() -> None:
    findings = [Finding("train", f"c{i}", "missing column", "gone", stops=True) for i in range(25)]
    error = anomalies_error(findings, "schemas/flights.pbtxt")
    assert "schema 'schemas/flights.pbtxt': 25 anomalies." in str(error)
    assert str(error).endswith("- split 'train', column 'c19': gone\n- and 5 more")
    assert "schemas/flights.pbtxt" in error.hint


def test_a_column_without_a_value_is_not_blamed_on_the_schema() -> None:
    error = anomalies_error([Finding("train", "c", NO_VALUE, "null", stops=True)], "schemas/flights.pbtxt")
    assert "schemas/flights.pbtxt" not in str(error) + error.hint
    assert "`select.exclude`" in error.hint


@given(st.lists(st.lists(st.sampled_from("abcde"))), st.sets(st.sampled_from("abcde")))
def test_offenders_are_counted_whatever_the_batches(batches: list[list[str]], allowed: set[str]) -> None:
    arrays = (pa.array([value.encode() for value in batch], pa.large_binary()) for batch in batches)
    found = offending_rows.offenders(arrays, offending_rows.one_of(sorted(allowed)))
    strays = [value for batch in batches for value in batch if value not in allowed]
    assert found.rows == len(strays) == sum(rows for _, rows in found.values)
    assert dict(found.values) == {f"'{value}'": strays.count(value) for value in strays}


@given(st.lists(st.floats(allow_nan=True)), st.floats(-5, 5), st.floats(-5, 5))
def test_a_range_is_inclusive_and_passes_over_nan(values: list[float], low: float, high: float) -> None:
    fits = offending_rows.between(low, high)(pa.array(values, pa.float64()))
    assert fits.to_pylist() == [not (value < low or value > high) for value in values]
    assert pc.sum(fits).as_py() in (None, sum(fits.to_pylist()))
