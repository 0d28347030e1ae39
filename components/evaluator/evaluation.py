"""Prepares the judging job for a model and its champion, and finishes what the job reports."""

import functools
import json
from dataclasses import asdict, dataclass

import pyarrow as pa

from beam_jobs import storage
from beam_jobs.errors import BraidError, listed
from beam_jobs.judgement import CANDIDATE, CHAMPION, Question
from beam_jobs.judging import Judging, Predictor, read_report
from components import encoding
from components.errors import StepError
from components.evaluator.decision import Decision, Figures, decide
from components.evaluator.rules import Rules
from components.model_contract import ModelContract
from components.scoring import load_scorer

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class Evaluation:
    """A judging job and what is decided by it.

    Attributes:
      champion: the champion's folder, '' where there is none or it is not compared with.
      no_champion: why the champion is not judged, a sentence; '' where it is.
    """

    judging: Judging
    rules: Rules
    champion: str
    no_champion: str


def plan(schema: pa.Schema, model: str, champion: str, rules: Rules, output: str) -> Evaluation:
    """Finds out what is to be judged.

    Args:
      schema: the examples' columns.
      model: the candidate's folder.
      champion: the champion's folder, '' for none.
      output: the folder of the evaluation.

    Raises:
      StepError: the model is not Braid's, or the rules do not fit its task.
    """
    contract = ModelContract.load(model)
    rules.check(contract.task)
    no_champion = _why_not_compared(champion, contract, schema, rules)
    models = {CANDIDATE: model} if no_champion else {CANDIDATE: model, CHAMPION: champion}
    columns = dict.fromkeys(name for uri in models.values() for name in ModelContract.load(uri).columns)
    judging = Judging(
        job="evaluator",
        question=Question(contract.task, contract.label, tuple(map(str, contract.classes)), rules.splits),
        models={name: functools.partial(_load, uri) for name, uri in models.items()},
        columns=tuple(columns),
        slices=rules.slices,
        output=f"{output.rstrip('/')}/{METRICS_FILE}",
    )
    return Evaluation(judging, rules, "" if no_champion else champion, no_champion)


def _load(uri: str) -> Predictor:
    return load_scorer(uri)


def _why_not_compared(champion: str, candidate: ModelContract, schema: pa.Schema, rules: Rules) -> str:
    """A sentence, '' when the champion can answer the candidate's question on these examples."""
    if not rules.champion:
        return "No comparison is asked for."
    if not champion:
        return "There is none yet."
    try:
        contract = ModelContract.load(champion)
    except StepError as error:
        return f"The champion cannot be read. {error}"
    for what in ("label", "task", "classes"):
        theirs, ours = getattr(contract, what), getattr(candidate, what)
        if theirs != ours:
            return (
                f"The champion's {what} differ{'' if what == 'classes' else 's'}: {_shown(theirs)}, now {_shown(ours)}."
            )
    return _unreadable(contract, schema)


def _unreadable(champion: ModelContract, schema: pa.Schema) -> str:
    missing = [name for name in champion.names if name not in schema.names]
    if missing:
        return f"The examples no longer have what the champion reads: {listed(missing)}."
    try:
        encoding.matrix(schema.empty_table(), champion)
    except BraidError as error:
        return f"The champion cannot read the examples. {error}"
    return ""


def _shown(value: object) -> str:
    return listed(map(str, value)) if isinstance(value, tuple) else f"'{value}'"


def finish(evaluation: Evaluation) -> tuple[Figures, Decision]:
    """Decides by the job's report, and writes the decision into it.

    The file then also holds `decision` {blessed, reasons, decide_on} and `rules`; why no champion was judged is a note.
    """
    report = read_report(evaluation.judging.output)
    decision = decide(report, evaluation.rules, evaluation.no_champion)
    if evaluation.no_champion:
        report["notes"].append(f"Not compared with a champion: {evaluation.no_champion}")
    report["decision"] = {**asdict(decision), "decide_on": evaluation.rules.decide_on}
    report["rules"] = asdict(evaluation.rules)
    storage.write_text(evaluation.judging.output, json.dumps(report, indent=1, allow_nan=False))
    return report, decision
