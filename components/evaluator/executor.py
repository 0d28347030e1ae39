"""Executor of Evaluator."""

from typing import Any

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs import progress
from beam_jobs.judging import JudgeExamples
from beam_jobs.metrics import METRICS
from beam_jobs.table import Table
from components import blessing, recording
from components.evaluator import evaluation
from components.evaluator.decision import Decision, Figures
from components.evaluator.rules import Rules


class Executor(BaseBeamExecutor):
    """Unwraps models and examples, runs the judging job, records metrics and blessing."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Judges the model; one that is not blessed is no failure."""
        table = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        model = artifact_utils.get_single_instance(input_dict["model"])
        baseline = next(iter(input_dict.get("baseline_model") or []), None)
        measured = artifact_utils.get_single_instance(output_dict["evaluation"])
        rules = Rules.parse(exec_properties["config"])
        plan = evaluation.plan(table.schema, model.uri, baseline.uri if baseline else "", rules, measured.uri)
        judge = JudgeExamples(table, plan.judging)
        progress.expect(sum(table.splits[split] for split in rules.splits))
        with progress.original_errors(), self._make_beam_pipeline() as pipeline:
            _ = pipeline | judge
        recording.record_job(exec_properties, pipeline.result)
        report, decision = evaluation.finish(plan)
        _record_metrics(measured, report, decision)
        verdict = artifact_utils.get_single_instance(output_dict["blessing"])
        blessing.record(verdict, model, baseline, decision.blessed, " ".join(decision.reasons))
        for split, found in report["splits"].items():
            exec_properties[f"counter:{split}_rows_judged"] = found["overall"]["rows"]


def _record_metrics(artifact: Artifact, report: Figures, decision: Decision) -> None:
    """Sets `<split>_<metric>` for the metrics that could be told, and `blessed`.

    ML Metadata keeps six digits of a float; the file has them all.
    """
    for split, found in report["splits"].items():
        for metric in METRICS[report["task"]]:
            value = found["overall"][metric.name]["value"]
            if value is not None:
                artifact.set_float_custom_property(f"{split}_{metric.name}", value)
    artifact.set_int_custom_property(blessing.BLESSED, int(decision.blessed))
