import json
from pathlib import Path

import pytest

from components.errors import StepError
from components.hyperparameters import HYPERPARAMETERS, HyperParameters

FOUND = HyperParameters("xgboost", {"eta": 0.05, "max_depth": 4, "grow_policy": "lossguide"}, "logloss", 0.5, 7)


def test_they_are_read_back(tmp_path: Path) -> None:
    FOUND.save(str(tmp_path))
    assert HyperParameters.load(f"{tmp_path}/") == FOUND
    assert json.loads((tmp_path / HYPERPARAMETERS).read_text())["trial"] == 7


def test_they_lie_over_the_trainers_own() -> None:
    own = {"eta": 0.3, "max_bin": 64}
    assert FOUND.over(own, "xgboost") == {"eta": 0.05, "max_bin": 64, "max_depth": 4, "grow_policy": "lossguide"}
    assert own == {"eta": 0.3, "max_bin": 64}


def test_another_familys_are_refused() -> None:
    with pytest.raises(StepError, match="are for the family 'xgboost', and this trainer is of the family 'keras'"):
        FOUND.over({}, "keras")


@pytest.mark.parametrize("text", ["{", "[]", '{"family": "xgboost"}', '{"colour": 1}'])
def test_a_file_that_is_no_such_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / HYPERPARAMETERS).write_text(text)
    with pytest.raises(StepError, match=f"{HYPERPARAMETERS}' holds no parameters of Braid's"):
        HyperParameters.load(str(tmp_path))


def test_a_folder_without_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=f"holds no '{HYPERPARAMETERS}'"):
        HyperParameters.load(str(tmp_path))
