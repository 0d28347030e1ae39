"""A blessing as TFX's resolvers and pushers know it: custom properties, and an empty file whose name says it.

The names are those of `tfx.components.evaluator.constants`. They are restated, since whoever imports anything of
`tfx.components` waits for every library that any of TFX's own components needs.
"""

import os

from tfx.types.artifact import Artifact

from beam_jobs import storage

BLESSED = "blessed"
MESSAGE = "blessing_message"
MODEL, MODEL_ID = "current_model", "current_model_id"
BASELINE, BASELINE_ID = "baseline_model", "baseline_model_id"
FILES = {True: "BLESSED", False: "NOT_BLESSED"}


def record(blessing: Artifact, model: Artifact, baseline: Artifact | None, blessed: bool, message: str) -> None:
    """Says of a model, on a ModelBlessing artifact and in its folder, whether it is blessed, and against which other."""
    blessing.set_string_custom_property(MODEL, model.uri)
    blessing.set_int_custom_property(MODEL_ID, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(BASELINE, baseline.uri)
        blessing.set_int_custom_property(BASELINE_ID, baseline.id)
    blessing.set_string_custom_property(MESSAGE, message)
    blessing.set_int_custom_property(BLESSED, int(blessed))
    storage.write_text(os.path.join(blessing.uri, FILES[blessed]), "")


def is_blessed(blessing: Artifact) -> bool:
    """Whether a ModelBlessing artifact blesses."""
    return bool(blessing.get_int_custom_property(BLESSED) == 1)


def model_id(blessing: Artifact) -> int:
    """The id of the Model artifact that it speaks of."""
    return int(blessing.get_int_custom_property(MODEL_ID))
