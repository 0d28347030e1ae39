"""The columns of a table of predictions, and the columns that a model needs for them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from beam_jobs.errors import listed
from components import encoding
from components.errors import StepError
from components.model_contract import ModelContract

PREDICTION, PROBABILITY, CONTRIBUTION, BIAS = "prediction", "probability_", "contribution_", "contribution_bias"
NOT_FINITE = "predictions that are not finite"
UNSEEN = "unseen label "


@dataclass(frozen=True)
class Wanted:
    """What a table of predictions holds.

    Attributes:
      passed: columns of the scored rows that are handed on.
      contributions: whether each feature's contribution is told.
      label: whether the rows bear the label, of which values that training never saw are counted.
    """

    passed: tuple[str, ...] = ()
    contributions: bool = False
    label: bool = False


def schema_of(contract: ModelContract, wanted: Wanted, rows: pa.Schema) -> pa.Schema:
    """The columns of the predictions.

    For a binary task `prediction` is the probability of the positive class, for a regression the value; for several
    classes it is the likeliest, and each class has its probability beside it.

    Args:
      rows: the schema of the scored rows.

    Raises:
      StepError: two columns would have one name.
    """
    fields = [rows.field(name) for name in wanted.passed]
    if contract.task == "multiclass":
        fields.append(pa.field(PREDICTION, pa.array(contract.classes).type))
        fields += [pa.field(f"{PROBABILITY}{value}", pa.float32()) for value in contract.classes]
    else:
        fields.append(pa.field(PREDICTION, pa.float32()))
    if wanted.contributions:
        fields += [pa.field(f"{CONTRIBUTION}{name}", pa.float32()) for name in contract.names]
        fields.append(pa.field(BIAS, pa.float32()))
    names = Counter(field.name for field in fields)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise StepError(
            f"The predictions would have two columns called '{twice[0]}'.",
            f"Their own are: {listed([f.name for f in fields[len(wanted.passed) :]], 20)}. Pass on a column of another name.",
        )
    return pa.schema(fields)


def tally_words(tally: Mapping[str, int], label: str, most: int = 10) -> list[str]:
    """What was counted while scoring, in sentences, the most frequent first."""
    unseen = {what.removeprefix(UNSEEN): rows for what, rows in tally.items() if what.startswith(UNSEEN)}
    sentences = []
    if unseen:
        values = listed((f"'{value}' ({rows:,} rows)" for value, rows in unseen.items()), most)
        sentences.append(f"The label '{label}' has values that training never saw: {values}.")
    if tally.get(NOT_FINITE):
        sentences.append(f"{tally[NOT_FINITE]:,} {NOT_FINITE}.")
    return sentences


def check_features(contract: ModelContract, rows: pa.Schema, columns: Sequence[str] = ()) -> None:
    """Refuses rows that a model cannot read.

    Args:
      columns: more columns that must be there.

    Raises:
      StepError: names the first feature that is missing, or of another kind than in training.
    """
    for name in (*contract.names, *columns):
        if name not in rows.names:
            raise StepError(f"The rows to score have no column '{name}'.", f"They have: {listed(rows.names, 40)}.")
    for feature in contract.features:
        found = rows.field(feature.name).type
        if not pa.types.is_null(found) and encoding.kind_of(found) != feature.kind:
            raise StepError(
                f"Feature '{feature.name}' comes out as {found}; the model was trained on {feature.type} ({feature.kind}).",
                "Give the table's columns the types that they had in training.",
            )
