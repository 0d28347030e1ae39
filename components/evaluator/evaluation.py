"""Prepares the judging job for candidates and their champion, and finishes what the job reports."""

import functools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from beam_jobs import storage
from beam_jobs.errors import BraidError, listed
from beam_jobs.judgement import CHAMPION, Question
from beam_jobs.judging import Judging, Predictor, read_reports
from beam_jobs.metrics import METRICS
from components import encoding
from components.errors import StepError
from components.evaluator import tfma_engine, tfma_results
from components.evaluator.decision import Decision, Figures, choose, decide
from components.evaluator.rules import BRAID, TFMA, Rules
from components.model_contract import ModelContract
from components.scoring import load_scorer

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class Candidate:
    """A model that is judged.

    Attributes:
      name: its trainer's; '' for its family's.
      uri: its folder.
      digest: of its content, '' where none was recorded.
    """

    name: str
    uri: str
    digest: str = ""


@dataclass(frozen=True)
class Evaluation:
    """A judging job and what is decided by it.

    Attributes:
      candidates: by their name in the job.
      champion: the champion's folder, '' where there is none or it is not compared with.
      no_champion: why the champion is not judged, a sentence; '' where it is.
    """

    judging: Judging
    rules: Rules
    candidates: dict[str, Candidate]
    champion: str
    no_champion: str

    @property
    def folder(self) -> str:
        """The evaluation's own, where everything is written."""
        return os.path.dirname(self.judging.output)


@dataclass(frozen=True)
class Outcome:
    """What was decided.

    Attributes:
      chosen: the name of the candidate that it speaks of: the best that passes, or the best.
      report: on the chosen one.
      reports: on every candidate, by name.
    """

    chosen: str
    decision: Decision
    report: Figures
    reports: dict[str, Figures]


def plan(schema: pa.Schema, candidates: Sequence[Candidate], champion: str, rules: Rules, output: str) -> Evaluation:
    """Finds out what is to be judged.

    Args:
      schema: the examples' columns.
      candidates: at least one.
      champion: the champion's folder, '' for none.
      output: the folder of the evaluation.

    Raises:
      StepError: a model is not Braid's, the candidates answer different questions, or the rules do not fit their task.
    """
    named = _named(candidates)
    contracts = {name: ModelContract.load(candidate.uri) for name, candidate in named.items()}
    contract = _common(contracts)
    rules.check(contract.task)
    if rules.engine == TFMA:
        tfma_engine.check(rules, contract.task)
    no_champion = _why_not_compared(champion, contract, schema, rules)
    models = {name: candidate.uri for name, candidate in named.items()} | ({} if no_champion else {CHAMPION: champion})
    judging = Judging(
        job="evaluator",
        question=Question(
            contract.task,
            contract.label,
            tuple(map(str, contract.classes)),
            rules.splits,
            rules.interval_method(),
            rules.gaps(contract.task),
            rules.slice_rows,
            rules.tfma and rules.engine == BRAID,
        ),
        models={name: functools.partial(_load, uri) for name, uri in models.items()},
        columns=tuple(dict.fromkeys(name for uri in models.values() for name in ModelContract.load(uri).columns)),
        slices=rules.all_slices(),
        output=f"{output.rstrip('/')}/{METRICS_FILE}",
    )
    return Evaluation(judging, rules, named, "" if no_champion else champion, no_champion)


def _named(candidates: Sequence[Candidate]) -> dict[str, Candidate]:
    """Candidates under names of their own: a second one of the same name, or `champion`, gets a number."""
    named: dict[str, Candidate] = {}
    for candidate in candidates:
        name = candidate.name or ModelContract.load(candidate.uri).family
        numbered = (f"{name}-{number}" for number in range(2, len(candidates) + 3))
        free = name if name not in (*named, CHAMPION) else next(one for one in numbered if one not in named)
        named[free] = candidate
    return named


def _common(contracts: dict[str, ModelContract]) -> ModelContract:
    """The first candidate's contract, whose question all must answer."""
    (first, contract), *others = contracts.items()
    for name, other in others:
        for what in ("label", "task", "classes"):
            ours, theirs = getattr(contract, what), getattr(other, what)
            if ours != theirs:
                raise StepError(
                    f"The candidates '{first}' and '{name}' cannot be judged together: their {what} "
                    f"{'differ' if what == 'classes' else 'differs'}: {_shown(ours)} and {_shown(theirs)}.",
                    "Train them on the same examples and label.",
                )
    return contract


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


def finish(evaluation: Evaluation) -> Outcome:
    """Decides by the job's reports, and writes `metrics.json`.

    It holds the report on the chosen candidate, `decision` {blessed, reasons, decide_on}, `rules`, and in `candidates`
    what was found and decided of each; why no champion was judged is a note.
    """
    reports = read_reports(evaluation.judging.output)
    decisions = {name: decide(report, evaluation.rules, evaluation.no_champion) for name, report in reports.items()}
    chosen = choose(reports, decisions, evaluation.rules)
    report, decision = reports[chosen], decisions[chosen]
    if evaluation.no_champion:
        report["notes"].append(f"Not compared with a champion: {evaluation.no_champion}")
    written = {
        **report,
        "decision": {**asdict(decision), "decide_on": evaluation.rules.decide_on},
        "rules": asdict(evaluation.rules),
        "candidates": [
            _row(name, candidate, reports[name], decisions[name], name == chosen)
            for name, candidate in evaluation.candidates.items()
        ],
    }
    storage.write_text(evaluation.judging.output, json.dumps(written, indent=1, allow_nan=False))
    if evaluation.judging.question.tfma:
        tfma_results.write(evaluation.folder, evaluation.judging, reports, evaluation.rules.decide_on, decision.blessed)
    return Outcome(chosen, decision, report, reports)


def _row(name: str, candidate: Candidate, report: Figures, decision: Decision, chosen: bool) -> Figures:
    """A candidate's row of the table of all."""
    metrics = [metric.name for metric in METRICS[report["task"]]]
    return {
        "name": name,
        "model": candidate.digest,
        "family": ModelContract.load(candidate.uri).family,
        "overall": {
            split: {metric: found["overall"][metric] for metric in metrics} for split, found in report["splits"].items()
        },
        "passed": decision.blessed,
        "reasons": list(decision.reasons),
        "chosen": chosen,
    }
