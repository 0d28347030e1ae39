"""Which steps run: against a reading of the rules, path by path, on random pipelines."""

from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RunError
from pipeline.selection import Mode, Selection, modes

FLIGHTS = {
    "flights": [],
    "weather": [],
    "departures": ["flights", "weather"],
    "statistics": ["departures"],
    "train": ["departures", "statistics"],
    "push": ["train"],
}
Graph = Mapping[str, Collection[str]]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Steps in an order in which they can run, each right after some of those before it."""
    graph: dict[str, list[str]] = {}
    for number in range(draw(st.integers(1, 9))):
        graph[f"s{number}"] = draw(st.lists(st.sampled_from(sorted(graph)), unique=True)) if graph else []
    return graph


@st.composite
def selected(draw: st.DrawFn) -> tuple[dict[str, list[str]], Selection]:
    """A pipeline and options that name steps of it, or none."""
    graph = draw(graphs())
    steps = st.sampled_from(["", *graph])
    return graph, Selection(first=draw(steps), last=draw(steps), only=draw(st.one_of(st.just(""), steps)))


def leads(graph: Graph, start: str, end: str) -> bool:
    """Whether a path leads from one step to another, by trying all of them."""
    return start == end or any(leads(graph, start, before) for before in graph[end])


def as_told(graph: Graph, selection: Selection, step: str) -> Mode:
    """The rules of the three options, word by word."""
    if selection.only:
        if step == selection.only:
            return Mode.FORCE
        return Mode.REUSE if leads(graph, step, selection.only) else Mode.LEAVE
    if selection.last and not leads(graph, step, selection.last):
        return Mode.LEAVE
    if selection.first and leads(graph, selection.first, step):
        return Mode.FORCE
    return Mode.RUN


@given(selected())
def test_the_rules(drawn: tuple[dict[str, list[str]], Selection]) -> None:
    graph, selection = drawn
    is_refused = (selection.only and (selection.first or selection.last)) or (
        selection.first and selection.last and not leads(graph, selection.first, selection.last)
    )
    if is_refused:
        with pytest.raises(RunError):
            modes(selection, graph)
        return
    found = modes(selection, graph)
    assert list(found) == list(graph)
    assert found == {step: as_told(graph, selection, step) for step in graph}


@given(selected())
def test_every_input_of_a_step_is_there(drawn: tuple[dict[str, list[str]], Selection]) -> None:
    graph, selection = drawn
    try:
        found = modes(selection, graph)
    except RunError:
        return
    for step, mode in found.items():
        if mode is not Mode.LEAVE:
            assert all(found[before] is not Mode.LEAVE for before in graph[step])
        if mode in (Mode.RUN, Mode.REUSE):
            assert all(found[before] is not Mode.FORCE for before in graph[step]), "its input is made anew"


@pytest.mark.parametrize(
    ("selection", "message", "hint"),
    [
        (
            Selection(first="departure"),
            "--from: the pipeline has no step 'departure'. Did you mean 'departures'?",
            "Its steps: flights, weather, departures, statistics, train, push.",
        ),
        (Selection(last="x"), "--to: the pipeline has no step 'x'.", "Its steps: "),
        (Selection(only="x", first="y"), "--from: the pipeline has no step 'y'.", "Its steps: "),
        (Selection(only="train", last="push"), "--only goes with neither --from nor --to.", "the one step that runs"),
        (
            Selection(first="push", last="train"),
            "Step 'train' (--to) does not depend on 'push' (--from), so nothing would run again.",
            "Steps before 'train': flights, weather, departures, statistics.",
        ),
        (
            Selection(first="weather", last="flights"),
            "Step 'flights' (--to) does not depend on 'weather' (--from)",
            "Steps before 'flights': none.",
        ),
    ],
)
def test_what_cannot_be_met_is_told(selection: Selection, message: str, hint: str) -> None:
    with pytest.raises(RunError) as told:
        modes(selection, FLIGHTS)
    assert message in str(told.value)
    assert hint in told.value.hint


@pytest.mark.parametrize(
    ("selection", "options", "forcing"),
    [
        (Selection(), [], ""),
        (Selection(resume="r"), [], ""),
        (Selection(first="a", last="b"), ["--from", "a", "--to", "b"], "--from a"),
        (Selection(last="b"), ["--to", "b"], ""),
        (Selection(only="a"), ["--only", "a"], "--only a"),
    ],
)
def test_the_options_are_told_as_they_were_typed(selection: Selection, options: list[str], forcing: str) -> None:
    assert (selection.options, selection.forcing) == (options, forcing)
