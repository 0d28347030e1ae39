import json

import pytest

from components.errors import StepError
from components.evaluator.decision import decide
from components.evaluator.rules import Bound, ChampionRule, Rules

NO_CHAMPION = "There is none yet."


def figure(value: float | None, reason: str = "") -> dict:
    return {"value": value, "low": None, "high": None, **({"reason": reason} if reason else {})}


def report(auc: float | None, champion: float | None = None, log_loss: float = 0.5, reason: str = "") -> dict:
    overall = {"rows": 100, "auc": figure(auc, reason), "log_loss": figure(log_loss)}
    if champion is not None:
        difference = None if auc is None else auc - champion
        overall["champion"] = {"auc": figure(champion), "log_loss": figure(0.4)}
        overall["difference"] = {"auc": figure(difference), "log_loss": figure(log_loss - 0.4)}
    return {"task": "binary", "splits": {"test": {"overall": overall}}}


def test_a_threshold_that_is_kept_blesses_and_its_bounds_are_included():
    rules = Rules(thresholds={"auc": Bound(min=0.7), "log_loss": Bound(max=0.5)}, champion=None)
    decision = decide(report(0.7), rules, NO_CHAMPION)
    assert decision.blessed
    assert decision.reasons[0] == "On 'test', auc is 0.7 (too few rows for an interval); it had to be at least 0.7."


def test_every_threshold_that_is_not_kept_is_a_reason():
    rules = Rules(thresholds={"auc": Bound(min=0.7), "log_loss": Bound(min=0.1, max=0.4)}, champion=None)
    decision = decide(report(0.65), rules, NO_CHAMPION)
    assert not decision.blessed
    assert decision.reasons == (
        "On 'test', auc is 0.65 (too few rows for an interval); it must be at least 0.7.",
        "On 'test', log_loss is 0.5 (too few rows for an interval); it must be at least 0.1 and at most 0.4.",
    )


def test_a_metric_that_cannot_be_told_keeps_no_threshold():
    rules = Rules(thresholds={"auc": Bound(min=0.0)}, champion=None)
    decision = decide(report(None, reason="no row has the label 'late'"), rules, NO_CHAMPION)
    assert not decision.blessed and "no row has the label 'late'" in decision.reasons[0]


def test_a_first_model_whose_metric_cannot_be_told_is_not_blessed():
    decision = decide(report(None, reason="only one class"), Rules(champion=ChampionRule("auc", 0.0)), NO_CHAMPION)
    assert not decision.blessed
    assert decision.reasons == ("On 'test', auc cannot be told (only one class).",)


@pytest.mark.parametrize(("auc", "blessed"), [(0.72, True), (0.7, True), (0.695, True), (0.68, False)])
def test_a_model_may_be_worse_than_the_champion_by_so_much(auc, blessed):
    decision = decide(report(auc, 0.7), Rules(champion=ChampionRule("auc", 0.01)), NO_CHAMPION)
    assert decision.blessed == blessed
    assert "the champion's on the same rows 0.7" in decision.reasons[0]


@pytest.mark.parametrize(("log_loss", "blessed"), [(0.39, True), (0.405, True), (0.42, False)])
def test_less_is_better_where_it_is(log_loss, blessed):
    rules = Rules(champion=ChampionRule("log_loss", 0.01))
    assert decide(report(0.7, 0.7, log_loss), rules, NO_CHAMPION).blessed == blessed


def test_without_a_champion_the_thresholds_decide_and_it_is_said():
    rules = Rules(thresholds={"auc": Bound(min=0.6)})
    passed, failed = (decide(report(auc), rules, NO_CHAMPION) for auc in (0.7, 0.5))
    assert passed.blessed and "Not compared with a champion: There is none yet." in passed.reasons
    assert not failed.blessed


@pytest.mark.parametrize("thresholds", [{}, {"auc": Bound()}])
def test_a_model_that_nothing_was_asked_of_is_not_blessed(thresholds):
    decision = decide(report(0.99), Rules(thresholds=thresholds, champion=None), NO_CHAMPION)
    assert not decision.blessed and "nothing to bless by" in decision.reasons[0]


def test_the_pipelines_configuration_parses():
    text = {
        "slices": ["carrier"],
        "thresholds": {"auc": {"min": 0.68, "max": None}},
        "champion": {"metric": "", "at_most_worse": 0.01},
    }
    rules = Rules.parse(json.dumps(text)).check("binary")
    assert rules == Rules(("carrier",), {"auc": Bound(0.68)}, ChampionRule("", 0.01), ("eval", "test"), "test")
    assert rules.champion_metric("binary").name == "auc" and rules.champion_metric("regression").name == "rmse"
    assert Rules.parse('{"champion": null}').champion is None
    assert Rules.parse("") == Rules()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"thresold": {}}, "no setting 'thresold'. Did you mean 'thresholds'"),
        ({"thresholds": {"auc": {"least": 1}}}, "thresholds: auc has no setting 'least'"),
        ({"thresholds": {"auc": {"min": "0.7"}}}, 'min must be a number, not "0.7"'),
        ({"slices": "carrier"}, 'slices must be a list of names, not "carrier"'),
        ({"decide_on": "train"}, "decide_on is 'train'"),
        ({"champion": {"at_most_worse": -1}}, "at_most_worse is -1"),
        ({"champion": {"metric": "auk"}}, "champion: 'auk' is not a metric of a binary model. Did you mean 'auc'"),
        ({"champion": {"metric": "base_rate"}}, "of 'base_rate' neither more nor less is better"),
        ({"thresholds": {"rmse": {"max": 1}}}, "thresholds: 'rmse' is not a metric of a binary model"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(config, message):
    with pytest.raises(StepError) as caught:
        Rules.parse(json.dumps(config)).check("binary")
    assert message in str(caught.value)


def test_the_hint_lists_the_metrics_of_the_task():
    with pytest.raises(StepError) as caught:
        Rules(thresholds={"auc": Bound(min=1)}).check("multiclass")
    assert "macro_auc" in caught.value.hint and "macro_f1" in caught.value.hint


@pytest.mark.parametrize(("auc", "blessed"), [(0.51, True), (0.5, False), (0.33, False)])
def test_without_threshold_and_champion_a_model_must_be_better_than_guessing(auc, blessed):
    decision = decide(report(auc), Rules(), NO_CHAMPION)
    assert decision.blessed == blessed
    assert "guessing has 0.5" in decision.reasons[-1]
