"""`--set` and `--sql`: what they change, and what they refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.debugging.changes import changed
from pipeline.errors import RunError

PARAMETERS = {
    "config": json.dumps({"rounds": 10, "params": {"max_depth": 7}, "sql": "SELECT 1", "columns": ["a"]}),
    "target": "late",
    "limit": 3,
}


def config(found: dict[str, Any]) -> dict[str, Any]:
    return json.loads(found["config"])


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("rounds=20", ["rounds"], 20),
        ("config.rounds=20", ["rounds"], 20),
        ("params.max_depth=3", ["params", "max_depth"], 3),
        ("config.params.max_depth=3.5", ["params", "max_depth"], 3.5),
        ("params={eta: 0.1, x: [1, yes]}", ["params"], {"eta": 0.1, "x": [1, True]}),
        ("columns=[b, c]", ["columns"], ["b", "c"]),
        ("sql=a = b", ["sql"], "a = b"),
        ("rounds=", ["rounds"], None),
    ],
)
def test_inner_values_are_yaml(assignment: str, path: list[str], value: Any) -> None:
    found = changed(PARAMETERS, [assignment], None)
    target: Any = config(found)
    for key in path:
        target = target[key]
    assert target == value
    assert {name: found[name] for name in ("target", "limit")} == {"target": "late", "limit": 3}
    assert config(PARAMETERS)["rounds"] == 10


def test_whole_parameters_and_several_at_once() -> None:
    found = changed(PARAMETERS, ["target=early", "limit=4", "rounds=1", "rounds=2"], None)
    assert (found["target"], found["limit"], config(found)["rounds"]) == ("early", 4, 2)


@pytest.mark.parametrize(
    ("assignment", "says", "hint"),
    [
        ("rounds", r"--set 'rounds': expected PARAMETER=VALUE", "rounds=10"),
        ("ruonds=1", r"no parameter 'ruonds'\. Did you mean 'rounds'\?", "config"),
        ("params.max_dept=1", r"'config' holds no 'params.max_dept'\. Did you mean 'max_depth'\?", "max_depth"),
        ("config.params.max_depth.x=1", "'config' holds no 'params.max_depth.x'", "rounds"),
        ("rounds=[1", r"--set 'rounds=\[1': the value is no YAML", "quotes"),
        ("rounds=!!python/object/apply:os.getcwd []", "the value is no YAML", "quotes"),
    ],
)
def test_what_is_refused(assignment: str, says: str, hint: str) -> None:
    with pytest.raises(RunError, match=says) as refused:
        changed(PARAMETERS, [assignment], None)
    assert hint in refused.value.hint


def test_a_query_from_a_file(tmp_path: Path) -> None:
    query = tmp_path / "fixed.sql"
    query.write_text("SELECT 2")
    assert config(changed(PARAMETERS, [], str(query)))["sql"] == "SELECT 2"
    with pytest.raises(RunError, match="no parameter 'sql'"):
        changed({"target": "late"}, [], str(query))
    with pytest.raises(RunError, match=r"--sql '.*none\.sql' cannot be read"):
        changed(PARAMETERS, [], str(tmp_path / "none.sql"))
