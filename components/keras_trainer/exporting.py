"""The trained model as a SavedModel whose signatures take raw features: the transform is inside."""

from dataclasses import dataclass
from typing import Any

from beam_jobs import storage
from components import feature_tensors, local_folders
from components.keras_scoring import CONTRIBUTIONS, EXAMPLES, PREDICTIONS, SERVING, signature_names
from components.keras_trainer.attribution import Attribution
from components.keras_trainer.dataset import Rows
from components.keras_trainer.models import margins, predictions
from components.keras_trainer.transform_graph import TransformGraph
from components.model_contract import ModelContract


@dataclass(frozen=True)
class Export:
    """A model to be exported.

    Attributes:
      tracked: what of the model the SavedModel must hold: its variables, or itself where it may have tables, too.
      sample: training rows, whose mean is the baseline of the contributions.
    """

    model: Any
    transform: TransformGraph
    contract: ModelContract
    sample: Rows
    tracked: Any

    def module(self) -> tuple[Any, dict[str, Any]]:
        """What holds the variables and tables, and the signatures."""
        import tensorflow as tf

        module = tf.Module()
        module.model, module.transform = self.tracked, self.transform.layer
        names = signature_names(self.contract.features)
        specs = {
            name: tf.TensorSpec(spec.shape, spec.dtype, name=names[name])
            for name, spec in self.transform.tensor_specs.items()
        }
        record = tf.TensorSpec([None], tf.string, name="examples")
        parsing = feature_tensors.raw_feature_spec(self.contract.features)

        @tf.function(input_signature=[specs], autograph=False)
        def serve(raw: Any) -> Any:
            return {PREDICTIONS: self._predictions(raw)}

        @tf.function(input_signature=[record], autograph=False)
        def serve_examples(examples: Any) -> Any:
            return {PREDICTIONS: self._predictions(tf.io.parse_example(examples, parsing))}

        signatures = {SERVING: serve, EXAMPLES: serve_examples}
        attribution = Attribution.of(self.model, self.transform, self.contract, self.sample)
        if attribution is not None:
            found = attribution

            @tf.function(input_signature=[specs], autograph=False)
            def explain(raw: Any) -> Any:
                return {CONTRIBUTIONS: found.contributions(raw)}

            signatures[CONTRIBUTIONS] = explain
        return module, signatures

    def _predictions(self, raw: Any) -> Any:
        margin = margins(self.model, self.transform.transform(raw), self.contract)
        return predictions(margin, self.contract)


def export(model: Export, model_uri: str) -> None:
    """Writes the SavedModel into the folder and, when all of it is there, `contract.json`."""
    import tensorflow as tf

    module, signatures = model.module()
    with storage.writing(model_uri), local_folders.writing(model_uri) as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
    model.contract.save(model_uri)
