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
from components.evaluator import evaluation, tfma_engine
from components.evaluator.evaluation import Candidate, Evaluation, Outcome
from components.evaluator.rules import TFMA, Rules
from components.evaluator.tfma_engine import JudgeWithTfma
from components.model_contract import MODEL_NAME


class Executor(BaseBeamExecutor):
    """Unwraps models and examples, runs the judging job, records metrics and blessing."""

    def Do(  # noqa: N802  TFX's name
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Judges the models and blesses at most one; that none is blessed is no failure."""
        table = Table.load(artifact_utils.get_single_uri(input_dict["examples"]))
        baseline = next(iter(input_dict.get("baseline_model") or []), None)
        measured = artifact_utils.get_single_instance(output_dict["evaluation"])
        rules = Rules.parse(exec_properties["config"])
        candidates = {_candidate(model): model for model in input_dict["model"]}
        plan = evaluation.plan(table.schema, list(candidates), baseline.uri if baseline else "", rules, measured.uri)
        self._judge(table, plan, exec_properties)
        outcome = evaluation.finish(plan)
        _record_metrics(measured, outcome)
        verdict = artifact_utils.get_single_instance(output_dict["blessing"])
        model, decision = candidates[plan.candidates[outcome.chosen]], outcome.decision
        blessing.record(verdict, model, baseline, decision.blessed, " ".join(decision.reasons))
        for split, found in outcome.report["splits"].items():
            exec_properties[f"counter:{split}_rows_judged"] = found["overall"]["rows"]

    def _judge(self, table: Table, plan: Evaluation, exec_properties: dict[str, Any]) -> None:
        judge = _engine(table, plan)
        progress.expect(sum(table.splits[split] for split in plan.rules.splits))
        with progress.original_errors(), self._make_beam_pipeline() as pipeline:
            if plan.rules.engine == TFMA:
                tfma_engine.take_one_worker(pipeline)
            _ = pipeline | judge
        recording.record_job(exec_properties, pipeline.result)
        if plan.rules.engine == TFMA:
            tfma_engine.report(table, plan.judging, plan.folder, plan.rules)


def _engine(table: Table, plan: Evaluation) -> JudgeExamples | JudgeWithTfma:
    if plan.rules.engine == TFMA:
        return JudgeWithTfma(table, plan.judging, plan.folder, plan.rules.decide_on)
    return JudgeExamples(table, plan.judging)


def _candidate(model: Artifact) -> Candidate:
    return Candidate(model.get_string_custom_property(MODEL_NAME), model.uri, blessing.digest_of(model))


def _record_metrics(artifact: Artifact, outcome: Outcome) -> None:
    """Sets `<split>_<metric>` for the metrics of the chosen candidate that could be told, its name, and `blessed`.

    ML Metadata keeps six digits of a float; the file has them all.
    """
    for split, found in outcome.report["splits"].items():
        for metric in METRICS[outcome.report["task"]]:
            value = found["overall"][metric.name]["value"]
            if value is not None:
                artifact.set_float_custom_property(f"{split}_{metric.name}", value)
    artifact.set_int_custom_property(blessing.BLESSED, int(outcome.decision.blessed))
    artifact.set_string_custom_property("candidate", outcome.chosen)
    artifact.set_int_custom_property("candidates", len(outcome.reports))
