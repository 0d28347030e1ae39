"""Selects features: screens the columns, sets provable leaks aside, ranks the rest and keeps those that count."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from beam_jobs import progress
from beam_jobs.errors import listed, nearest
from beam_jobs.table import Table
from components import encoding
from components.errors import StepError
from components.feature_selector import leaks, screening
from components.feature_selector.ranking import Measuring, Rows, Worth, worth_of
from components.feature_selector.sampling import SampleSize, sample
from components.importances import FeatureImportance, Importances
from components.model_contract import ModelContract
from components.target import LabelCounts, Target, count_labels, fit_target

TRAIN, EVAL = "train", "eval"
DEFAULT_SHARE = 0.99


@dataclass(frozen=True)
class SelectionConfig:
    """What the user may set of a selection.

    Attributes:
      label: the column to be predicted.
      task: 'auto', 'binary', 'multiclass' or 'regression'.
      keep: {"top": 20} for so many columns, or {"share": 0.99} for those that together carry that share of importance.
      exclude: columns that are never features.
      always: columns that are kept whatever they are worth.
      allow_leaks: columns that may be used though they alone predict the label.
      threads: XGBoost's threads; the result is the same for the same number.
      max_train_rows: rows to learn from, a sample spread over all.
      max_eval_rows: held-out rows to measure on.
      repeats: shuffles of each column.
    """

    label: str = ""
    task: str = "auto"
    keep: dict[str, Any] = field(default_factory=lambda: {"share": DEFAULT_SHARE})
    exclude: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    allow_leaks: tuple[str, ...] = ()
    threads: int = 2
    seed: int = 0
    max_train_rows: int = 200_000
    max_eval_rows: int = 50_000
    repeats: int = 5
    max_vocabulary: int = encoding.VOCABULARY_CAP

    def __post_init__(self) -> None:
        _check_keep(self.keep)
        for name in ("threads", "max_train_rows", "max_eval_rows", "repeats", "max_vocabulary"):
            if getattr(self, name) < 1:
                raise StepError(f"FeatureSelector: {name} is {getattr(self, name)}; 1 is the least.")


def _check_keep(keep: dict[str, Any]) -> None:
    hint = "Write keep: {top: 20} or keep: {share: 0.99}."
    if len(keep) != 1 or not keep.keys() <= {"top", "share"}:
        raise StepError(f"FeatureSelector: keep is {keep}.", hint)
    ((rule, bound),) = keep.items()
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise StepError(f"FeatureSelector: keep: {rule} is {bound!r}, which is no number.", hint)
    if (rule == "top" and (bound < 1 or bound != int(bound))) or (rule == "share" and not 0 < bound <= 1):
        allowed = "a whole number from 1" if rule == "top" else "above 0 and at most 1"
        raise StepError(f"FeatureSelector: keep: {rule} is {bound}; it must be {allowed}.", hint)


@dataclass(frozen=True)
class _Encoded:
    """The sampled rows of both splits as numbers, in the order of the contract's features."""

    contract: ModelContract
    train: Rows
    held_out: Rows

    def without(self, names: dict[str, str]) -> "_Encoded":
        places = [place for place, name in enumerate(self.contract.names) if name not in names]
        return _Encoded(
            replace(self.contract, features=tuple(self.contract.features[place] for place in places)),
            Rows(self.train.values[:, places], self.train.labels),
            Rows(self.held_out.values[:, places], self.held_out.labels),
        )


def select_features(table: Table, config: SelectionConfig) -> Importances:
    """Selects the features of a table of examples: reads the label of every row, the other columns of a sample.

    Raises:
      StepError: the label or the configuration does not fit the table, or nothing is left to learn from.
    """
    target = fit_target(table, config.label, config.task)
    _check_names(table, config)
    counts = {split: _counted(table, split, target) for split in (TRAIN, EVAL)}
    encoded, dropped = _screened(table, target, counts, config)
    leaking, told = _leaks(encoded, config.allow_leaks)
    encoded, dropped = encoded.without(leaking), dropped | leaking
    _some_left(encoded.contract.names, dropped)
    progress.note(f"measuring {len(encoded.contract.names)} columns")
    settings = Measuring(config.threads, config.seed, config.repeats)
    worths, metric = worth_of(encoded.contract, encoded.train, encoded.held_out, settings)
    ranked, weak = _keep(dict(zip(encoded.contract.names, worths, strict=True)), config)
    rest = [FeatureImportance(name, 0.0, 0.0, 0.0, None, False, dropped[name]) for name in sorted(dropped)]
    left_out = [warning for split in counts for warning in counts[split].warnings(split, target.label)]
    return Importances(
        label=target.label,
        task=target.task,
        classes=target.classes,
        features=(*ranked, *rest),
        warnings=(*left_out, *told, *weak),
        metric=metric,
        train_rows=len(encoded.train.labels),
        eval_rows=len(encoded.held_out.labels),
    )


def _screened(
    table: Table, target: Target, counts: dict[str, LabelCounts], config: SelectionConfig
) -> tuple[_Encoded, dict[str, str]]:
    """Samples both splits; returns the columns that may be features, encoded, and why the others may not."""
    dropped = dict.fromkeys(config.exclude, "excluded by configuration")
    names = [name for name in table.schema.names if name != target.label and name not in dropped]
    train_size = SampleSize(counts[TRAIN].labelled, config.max_train_rows, config.seed)
    progress.note(f"sampling {min(train_size.labelled, train_size.most):,} rows of '{TRAIN}'")
    train, labels = sample(table, TRAIN, names, target, train_size)
    dropped |= _screen(train, config.always)
    names = [name for name in names if name not in dropped]
    _some_left(names, dropped)
    train = train.select(names)
    eval_size = SampleSize(counts[EVAL].labelled, config.max_eval_rows, config.seed)
    held_out, held_labels = sample(table, EVAL, names, target, eval_size)
    contract = _contract(train, target, config.max_vocabulary)
    rows = Rows(encoding.matrix(train, contract), labels)
    return _Encoded(contract, rows, Rows(encoding.matrix(held_out, contract), held_labels)), dropped


def _check_names(table: Table, config: SelectionConfig) -> None:
    for setting in ("exclude", "always", "allow_leaks"):
        for name in getattr(config, setting):
            if name not in table.schema.names:
                raise StepError(
                    f"FeatureSelector: {setting} names a column '{name}' that the examples do not have."
                    f"{nearest(name, table.schema.names)}",
                    f"They have: {listed(table.schema.names)}.",
                )
            if setting != "exclude" and (name in config.exclude or name == config.label):
                other = "the label" if name == config.label else "also in 'exclude'"
                raise StepError(f"FeatureSelector: {setting} names '{name}', which is {other}.", "Take it out of one.")


def _counted(table: Table, split: str, target: Target) -> LabelCounts:
    counts = count_labels(table, split, target)
    if not counts.labelled:
        splits = listed(f"{name} ({rows:,} rows)" for name, rows in table.splits.items())
        raise StepError(
            f"The split '{split}' has no row with a usable label '{target.label}'. Splits: {splits}.",
            "Move the bounds of the splits; features are measured on 'eval'.",
        )
    return counts


def _screen(train: Any, always: tuple[str, ...]) -> dict[str, str]:
    reasons = {}
    for name in train.schema.names:
        column = train.column(name)
        reason = screening.unusable(column) or ("" if name in always else screening.uninformative(column))
        if reason and name in always:
            raise StepError(
                f"FeatureSelector: 'always' names '{name}', which has {reason}.", "Take it out of 'always'."
            )
        if reason:
            reasons[name] = reason
    return reasons


def _some_left(names: Sequence[str], dropped: dict[str, str]) -> None:
    if not names:
        reasons = listed((f"{name} ({reason})" for name, reason in dropped.items()), 8)
        raise StepError(f"No column is left to learn from: {reasons}.", "Prepare examples with columns that vary.")


def _contract(train: Any, target: Target, max_vocabulary: int) -> ModelContract:
    text = [field.name for field in train.schema if encoding.kind_of(field.type) == "category"]
    vocabularies = encoding.fit_vocabularies(train.to_batches(), text, max_vocabulary)
    features = encoding.features_of(train.schema, train.schema.names, vocabularies)
    return ModelContract(target.task, target.label, target.classes, features)


def _leaks(encoded: _Encoded, allowed: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """The columns to be left out as leaks, with the reason, and the warnings."""
    contract, train, held_out = encoded.contract, encoded.train, encoded.held_out
    if not leaks.testable(contract.task, held_out.labels):
        return {}, [f"'{EVAL}' has too few labelled rows ({len(held_out.labels):,}) to tell a leak from luck."]
    found: dict[str, str] = {}
    told: list[str] = []
    for place, feature in enumerate(contract.features):
        proof = leaks.leak(
            contract.task,
            len(contract.classes),
            (train.values[:, place], train.labels),
            (held_out.values[:, place], held_out.labels),
            feature.kind == "category",
        )
        if not proof:
            continue
        words = f"'{feature.name}' alone predicts '{contract.label}' on held-out rows ({proof})"
        if feature.name in allowed:
            told.append(f"{words}; it is used, as 'allow_leaks' names it.")
        else:
            told.append(f"{words}: a leak, left out. If it is known before the label is, name it in 'allow_leaks'.")
            found[feature.name] = f"leak: it alone predicts the label ({proof})"
    return found, told


def _keep(worths: dict[str, Worth], config: SelectionConfig) -> tuple[list[FeatureImportance], list[str]]:
    """Ranks the columns and decides on each.

    The importance is the mean of a column's share of the gain and its share of all that shuffling costs. A column whose
    shuffling costs nothing on held-out rows has none, unless that is so of every column.
    """
    helpful = sum(max(worth.mean, 0.0) for worth in worths.values())
    weak = [] if helpful else ["No column predicts the label of held-out rows; those with the most gain are kept."]
    importance = {
        name: (worth.gain + worth.mean / helpful) / 2 if helpful and worth.mean > 0 else 0.0 if helpful else worth.gain
        for name, worth in worths.items()
    }
    total = sum(importance.values())
    order = sorted(worths, key=lambda name: (-importance[name], -worths[name].gain, name))
    ranked, covered = [], 0.0
    for rank, name in enumerate(order, 1):
        share = importance[name] / total if total else 0.0
        kept, reason = _decide(rank, share, covered, config)
        if name in config.always:
            kept, reason = True, "named in 'always'"
        covered += share
        worth = worths[name]
        ranked.append(FeatureImportance(name, worth.gain, worth.mean, worth.std, rank, kept, reason))
    if not any(feature.kept for feature in ranked):
        ranked[0] = replace(ranked[0], kept=True, reason="the least that a model needs is one column")
    return ranked, weak


def _decide(rank: int, share: float, covered: float, config: SelectionConfig) -> tuple[bool, str]:
    if share <= 0:
        return False, "no importance on held-out rows"
    if "top" in config.keep:
        top = int(config.keep["top"])
        return rank <= top, f"{'among' if rank <= top else 'below'} the top {top}"
    wanted = float(config.keep["share"])
    if covered < wanted:
        return True, f"{share:.1%} of the importance"
    return False, f"the columns above it carry {wanted:.0%} of the importance"
