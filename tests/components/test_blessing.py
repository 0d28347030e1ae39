from pathlib import Path

import pytest
from tfx.components.evaluator import constants
from tfx.types import standard_artifacts

from components import blessing


def model(number: int) -> standard_artifacts.Model:
    made = standard_artifacts.Model()
    made.id, made.uri = number, f"/models/{number}"
    return made


def test_the_names_are_those_of_tfx() -> None:
    assert constants.ARTIFACT_PROPERTY_BLESSED_KEY == blessing.BLESSED
    assert constants.ARTIFACT_PROPERTY_BLESSING_MESSAGE_KEY == blessing.MESSAGE
    assert constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY == blessing.MODEL
    assert constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY == blessing.MODEL_ID
    assert constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY == blessing.BASELINE
    assert constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY == blessing.BASELINE_ID
    assert {True: constants.BLESSED_FILE_NAME, False: constants.NOT_BLESSED_FILE_NAME} == blessing.FILES
    assert (constants.BLESSED_VALUE, constants.NOT_BLESSED_VALUE) == (1, 0)


@pytest.mark.parametrize("blessed", [True, False])
@pytest.mark.parametrize("baseline", [None, 3])
def test_what_is_recorded_is_read_again(tmp_path: Path, blessed: bool, baseline: int | None) -> None:
    artifact = standard_artifacts.ModelBlessing()
    artifact.uri = str(tmp_path)
    blessing.record(artifact, model(7), baseline and model(baseline), blessed, "because")
    assert blessing.is_blessed(artifact) == blessed
    assert [blessing.speaks_of(artifact, model(number)) for number in (7, 8)] == [True, False]
    assert [path.name for path in tmp_path.iterdir()] == [blessing.FILES[blessed]]
    assert artifact.get_string_custom_property(blessing.MESSAGE) == "because"
    assert artifact.has_custom_property(blessing.BASELINE) == (baseline is not None)


def test_of_several_models_a_blessing_speaks_of_the_one_that_was_judged(tmp_path: Path) -> None:
    artifact, models = standard_artifacts.ModelBlessing(), [model(7), model(8), model(9)]
    artifact.uri = str(tmp_path)
    for one in models[1:]:
        one.set_string_custom_property("tree_digest", "same")
    blessing.record(artifact, models[2], None, True, "")
    assert blessing.model_of(artifact, models) is models[2]
    assert blessing.model_of(artifact, models[:2]) is models[1]
    assert blessing.model_of(artifact, models[:1]) is None


@pytest.mark.parametrize(
    ("judged", "asked", "spoken_of"), [("aa", "aa", True), ("aa", "bb", False), ("", "", False), ("aa", "", False)]
)
def test_a_blessing_speaks_of_every_model_with_the_same_content(
    tmp_path: Path, judged: str, asked: str, spoken_of: bool
) -> None:
    """One that was trained again, as its files were lost, has another id; the blessing comes from the cache."""
    artifact, one, other = standard_artifacts.ModelBlessing(), model(7), model(8)
    artifact.uri = str(tmp_path)
    one.set_string_custom_property("tree_digest", judged)
    other.set_string_custom_property("tree_digest", asked)
    blessing.record(artifact, one, None, True, "")
    assert blessing.speaks_of(artifact, other) == spoken_of
