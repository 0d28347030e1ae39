"""Models that were rolled back, as ML Metadata tells of them: executions of the type `Rollback`. Loads no TFX."""

from typing import Any

ROLLBACK = "Rollback"
WITHDRAWN, PUT_BACK = "withdrawn", "put_back"
"""The inputs of such an execution: the PushedModel that served before, and the one that serves since."""
MODEL_DIGEST, PUT_BACK_DIGEST = "withdrawn_model_digest", "put_back_model_digest"
"""Its properties: the `tree_digest` of the Model behind each."""
_COMPLETE = 3  # ml_metadata's Execution.COMPLETE, which components do not import


def withdrawn_digests(store: Any) -> set[str]:
    """The digests of models that were withdrawn and not put back since.

    Args:
      store: an `ml_metadata.MetadataStore`.
    """
    found: set[str] = set()
    for execution in sorted(store.get_executions_by_type(ROLLBACK), key=lambda one: one.id):
        if execution.last_known_state == _COMPLETE:
            found.add(execution.custom_properties[MODEL_DIGEST].string_value)
            found.discard(execution.custom_properties[PUT_BACK_DIGEST].string_value)
    return found - {""}
