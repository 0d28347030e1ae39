"""The user's space is checked before anything runs."""

import json
import re
from typing import Any

import pytest

from components.errors import StepError
from components.tuner.spaces import Choice, Parameters, Range, decoded, encoded, read_space
from components.tuner.xgboost_trials import PARAMETERS, SPACE


def test_ranges_and_lists() -> None:
    given = {
        "eta": {"low": 0.01, "high": 0.3, "log": True},
        "max_depth": {"low": 3, "high": 10},
        "gamma": {"low": 0, "high": 2},
    }
    assert read_space({**given, "grow_policy": ["depthwise", "lossguide"]}, PARAMETERS) == {
        "eta": Range(0.01, 0.3, log=True),
        "max_depth": Range(3, 10, whole=True),
        "gamma": Range(0, 2),
        "grow_policy": Choice(("depthwise", "lossguide")),
    }


def test_of_a_model_of_the_users_own_any_name_goes_and_whole_bounds_mean_whole_numbers() -> None:
    given = {"units": {"low": 8, "high": 64}, "rate": {"low": 0.5, "high": 1}, "layers": [[8], [8, 8]]}
    assert read_space(given, Parameters()) == {
        "units": Range(8, 64, whole=True),
        "rate": Range(0.5, 1),
        "layers": Choice(([8], [8, 8])),
    }


def test_choices_are_drawn_by_label_and_come_back_as_they_were() -> None:
    space = {"hidden": Choice(([64], [128, 64])), "on": Choice((True, 1.5, "1.5")), "eta": Range(0, 1)}
    values = {"hidden": [128, 64], "on": True, "eta": 0.5}
    drawn = encoded(space, values)
    assert drawn == {"hidden": "[128, 64]", "on": "true", "eta": 0.5}
    assert decoded(space, drawn) == values
    assert encoded(space, {"hidden": [64], "on": True}) is None
    assert encoded(space, {**values, "eta": 2}) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_dept": [3]}, "no parameter 'max_dept' to search. Did you mean 'max_depth'?"),
        ({"eta": {"low": 0.3, "high": 0.1}}, "'eta' has low 0.3 above high 0.1"),
        ({"eta": {"low": 0, "high": 0.1, "log": True}}, "'eta' is searched by orders of magnitude from low 0"),
        ({"eta": {"low": 0.1}}, "the range of 'eta' lacks 'high'"),
        ({"eta": {"low": 0.1, "hihg": 1}}, "the range of 'eta' has no 'hihg'. Did you mean 'high'?"),
        ({"eta": {"low": "a", "high": 1}}, "'low' of 'eta' must be a number, not \"a\""),
        ({"eta": {"low": False, "high": 1}}, "'low' of 'eta' must be a number, not false"),
        ({"eta": {"low": 0.1, "high": float("inf")}}, "'high' of 'eta' must be a number"),
        ({"eta": {"low": 0.1, "high": 1, "log": "yes"}}, "'log' of 'eta' must be true or false, not \"yes\""),
        ({"eta": 0.1}, "'eta' is 0.1, which is neither a range nor a list"),
        ({"grow_policy": []}, "'grow_policy' lists no value"),
        ({"max_depth": [3, 3]}, "'max_depth' lists a value twice"),
        ({"max_depth": {"low": 2.5, "high": 4}}, "'max_depth' takes whole numbers, not those from 2.5 to 4"),
        ({"eta": [0.1], "learning_rate": [0.2]}, "'eta' and 'learning_rate' are the same parameter"),
        ({"max_bin": [64, 256]}, "'max_bin' cannot be searched: the matrix of the train split is built once"),
        ({"eval_metric": ["auc"]}, "'eval_metric' cannot be searched: trials could not be compared"),
    ],
    ids=json.dumps,
)
def test_a_mistake_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError, match=re.escape(message)):
        read_space(given, PARAMETERS)


def test_braids_own_space_is_of_parameters_that_can_be_searched() -> None:
    assert set(SPACE) <= set(PARAMETERS.known)
    assert {name for name, part in SPACE.items() if isinstance(part, Range) and part.whole} <= PARAMETERS.whole
