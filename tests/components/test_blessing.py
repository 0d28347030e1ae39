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
    assert (blessing.is_blessed(artifact), blessing.model_id(artifact)) == (blessed, 7)
    assert [path.name for path in tmp_path.iterdir()] == [blessing.FILES[blessed]]
    assert artifact.get_string_custom_property(blessing.MESSAGE) == "because"
    assert artifact.has_custom_property(blessing.BASELINE) == (baseline is not None)
