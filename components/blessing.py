"""A blessing as TFX's resolvers and pushers know it: custom properties, and an empty file whose name says it.

The names are those of `tfx.components.evaluator.constants`. They are restated, since whoever imports anything of
`tfx.components` waits for every library that any of TFX's own components needs.
"""

import os
from collections.abc import Sequence

from tfx.types.artifact import Artifact

from beam_jobs import storage

BLESSED = "blessed"
MESSAGE = "blessing_message"
MODEL, MODEL_ID = "current_model", "current_model_id"
BASELINE, BASELINE_ID = "baseline_model", "baseline_model_id"
MODEL_DIGEST = "current_model_digest"
"""Not TFX's: a blessing that is reused speaks of a model with the same content and another id."""
FILES = {True: "BLESSED", False: "NOT_BLESSED"}


def record(blessing: Artifact, model: Artifact, baseline: Artifact | None, blessed: bool, message: str) -> None:
    """Says of a model, on a ModelBlessing artifact and in its folder, whether it is blessed, and against which other."""
    blessing.set_string_custom_property(MODEL, model.uri)
    blessing.set_int_custom_property(MODEL_ID, model.id)
    blessing.set_string_custom_property(MODEL_DIGEST, digest_of(model))
    if baseline is not None:
        blessing.set_string_custom_property(BASELINE, baseline.uri)
        blessing.set_int_custom_property(BASELINE_ID, baseline.id)
    blessing.set_string_custom_property(MESSAGE, message)
    blessing.set_int_custom_property(BLESSED, int(blessed))
    storage.write_text(os.path.join(blessing.uri, FILES[blessed]), "")


def is_blessed(blessing: Artifact) -> bool:
    """Whether a ModelBlessing artifact blesses."""
    return bool(blessing.get_int_custom_property(BLESSED) == 1)


def speaks_of(blessing: Artifact, model: Artifact) -> bool:
    """Whether it was this model that was judged, or one with the same content."""
    recorded = blessing.get_string_custom_property(MODEL_DIGEST)
    return bool(blessing.get_int_custom_property(MODEL_ID) == model.id or recorded == digest_of(model) != "")


def model_of(blessing: Artifact, models: Sequence[Artifact]) -> Artifact | None:
    """Which of the models was judged; None where the blessing speaks of none of them."""
    by_id = [model for model in models if blessing.get_int_custom_property(MODEL_ID) == model.id]
    return next(iter(by_id or [model for model in models if speaks_of(blessing, model)]), None)


def digest_of(model: Artifact) -> str:
    """The digest of a model's folder; '' where none was recorded."""
    return str(model.get_string_custom_property("tree_digest"))
