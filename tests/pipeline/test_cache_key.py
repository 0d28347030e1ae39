"""Cache keys: what they tell apart, and what they do not."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cache_key import CacheKey, Difference, differences, identity, recorded_content

TEXTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4)
KEYS = st.builds(
    CacheKey,
    component=st.text(max_size=5),
    parameters=TEXTS,
    inputs=st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=3), max_size=3),
    code=TEXTS,
    environment=TEXTS,
)
KEY = CacheKey("Trainer", {"config": "{}"}, {"examples": ["Examples e 1"]}, {"a.b": "1"}, {"lock": "l"})


@given(KEYS)
def test_a_key_is_read_back(key: CacheKey) -> None:
    again = CacheKey.from_json(key.to_json())
    assert (again, again.digest) == (key, key.digest)
    assert differences(key, again) == []


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[CacheKey, CacheKey]:
    """Two keys that have all parts but one in common, if they differ."""
    one, other = draw(KEYS), draw(KEYS)
    part = draw(st.sampled_from([field.name for field in dataclasses.fields(CacheKey)]))
    return one, dataclasses.replace(one, **{part: getattr(other, part)})


@given(neighbours())
def test_keys_differ_exactly_when_a_part_does(pair: tuple[CacheKey, CacheKey]) -> None:
    one, other = pair
    assert (one.digest == other.digest) == (one == other)
    assert (differences(one, other) == []) == (one == other)


@given(KEYS)
def test_the_order_of_parts_does_not_count(key: CacheKey) -> None:
    turned = {
        field.name: dict(reversed(list(getattr(key, field.name).items())))
        for field in dataclasses.fields(key)
        if field.name != "component"
    }
    assert dataclasses.replace(key, **turned).digest == key.digest


@given(KEYS, KEYS)
def test_differences_lead_from_one_key_to_the_other(one: CacheKey, other: CacheKey) -> None:
    changed: dict[str, dict[str, Any]] = {"parameter": dict(one.parameters), "code": dict(one.code)}
    for found in differences(one, other):
        if found.part in changed:
            assert changed[found.part].get(found.name) == found.before
            changed[found.part][found.name] = found.after
    kept = {
        part: {name: value for name, value in values.items() if value is not None} for part, values in changed.items()
    }
    assert kept == {"parameter": dict(other.parameters), "code": dict(other.code)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"component": "Other"}, Difference("component", "class", "Trainer", "Other")),
        ({"parameters": {"config": "{1}"}}, Difference("parameter", "config", "{}", "{1}")),
        ({"parameters": {"config": "{}", "new": ""}}, Difference("parameter", "new", None, "")),
        ({"inputs": {}}, Difference("input", "examples", "Examples e 1", None)),
        ({"inputs": {"examples": []}}, Difference("input", "examples", "Examples e 1", "")),
        ({"code": {"a.b": "2"}}, Difference("code", "a.b", "1", "2")),
        ({"environment": {"lock": "m"}}, Difference("environment", "lock", "l", "m")),
    ],
)
def test_each_part_alone(change: dict[str, Any], expected: Difference) -> None:
    changed = dataclasses.replace(KEY, **change)
    assert differences(KEY, changed) == [expected]
    assert changed.digest != KEY.digest


def test_differences_of_inputs_come_first() -> None:
    changed = CacheKey("Other", {"config": "1"}, {"examples": []}, {"a.b": "2"}, {"lock": "m"})
    assert [found.part for found in differences(KEY, changed)] == [
        "input",
        "parameter",
        "code",
        "environment",
        "component",
    ]


TABLE = {"table": "flights", "content_digest": "c", "tree_digest": "t", "schema_digest": "s", "rows": 5}


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"tree_digest": "u"},  # its manifest tells other paths
        {"files": "[1]"},
        {"bytes": 7.0, "files_count": 3},
        {"ledger": {"read": 6}},
        {"tfx_version": "2"},
    ],
)
def test_a_table_is_known_by_its_data_files(elsewhere: dict[str, Any]) -> None:
    assert identity("SourceTable", TABLE | elsewhere, "?") == identity("SourceTable", TABLE, "?")


@pytest.mark.parametrize(
    "other",
    [
        {"content_digest": "d"},
        {"schema_digest": "r"},  # the same bytes, read as other types
        {"table": "planes"},
        {"splits": {"train": 5}},
        {"columns": {"a": "int64"}},
        {"of_another_pipelines_step": 1},
    ],
)
def test_what_a_step_may_read_of_an_artifact_tells_it_apart(other: dict[str, Any]) -> None:
    assert identity("SourceTable", TABLE | other, "?") != identity("SourceTable", TABLE, "?")


def test_what_has_no_digest_is_known_by_its_number() -> None:
    assert identity("Model", {"tfx_version": "1"}, "artifact:7") == "Model artifact:7"
    assert identity("Model", {"tree_digest": "t"}, "artifact:7") == "Model t"
    assert identity("Other", {"tree_digest": "t"}, "artifact:7") == "Other t"
    assert identity("Other", {"tree_digest": "t", "content_digest": "a stranger's own"}, "artifact:7") == "Other t"


def test_the_recorded_content_is_what_may_be_explained() -> None:
    assert recorded_content(TABLE) == {"table": "flights", "schema_digest": "s", "rows": 5}
