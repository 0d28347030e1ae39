"""Small pictures as SVG inside the page: bars, dots with whiskers, a curve of trials. Their numbers also stand in tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.markup import Html, element
from pipeline.report.words import number

_LABEL, _PLOT, _LINE, _MARGIN = 190, 420, 22, 14
_LONGEST_LABEL = 28
_NEARLY = 1e-9  # what dividing floats may miss by


@dataclass(frozen=True)
class Dot:
    """A figure of one slice.

    Attributes:
      note: said in place of a figure that cannot be told.
      other: what it is compared with, the champion's.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    note: str = ""
    other: float | None = None


def bar(value: float, most: float, width: int = 160) -> Html:
    """A bar from zero; one that is negative has another look."""
    length = 0.0 if most <= 0 else min(1.0, abs(value) / most) * width
    look = "bar down" if value < 0 else "bar"
    rect = element("rect", x=0, y=2, width=_at(length), height=12, class_=look)
    return element("svg", rect, width=width, height=16, viewBox=f"0 0 {width} 16", aria_hidden="true")


def dots(found: Sequence[Dot], overall: float | None, title: str) -> Html:
    """A line for each slice: a dot with the whiskers of its interval; a dashed line at the value over all rows."""
    ends = [v for dot in found for v in (dot.value, dot.low, dot.high, dot.other) if v is not None]
    ends += [] if overall is None else [overall]
    scale = _Scale.over(ends)
    height = _LINE * len(found) + 2 * _MARGIN + 10
    bottom = _LINE * len(found) + _MARGIN
    parts = [_grid(scale, bottom)]
    if overall is not None:
        x = scale.at(overall)
        parts.append(element("line", x1=_at(x), x2=_at(x), y1=4, y2=bottom, class_="overall"))
    parts += [_dot(dot, scale, _MARGIN + _LINE * place + _LINE / 2) for place, dot in enumerate(found)]
    return _picture(parts, height, title)


def _dot(dot: Dot, scale: "_Scale", y: float) -> Html:
    parts = [element("text", _short(dot.label), x=_LABEL - 8, y=_at(y + 4), class_="name", text_anchor="end")]
    if dot.value is None:
        parts.append(element("text", dot.note or "not told", x=_LABEL + 4, y=_at(y + 4), class_="note"))
        return element("g", *parts)
    if dot.low is not None and dot.high is not None:
        low, high = scale.at(dot.low), scale.at(dot.high)
        parts.append(element("line", x1=_at(low), x2=_at(high), y1=_at(y), y2=_at(y), class_="whisker"))
        for x in (low, high):
            parts.append(element("line", x1=_at(x), x2=_at(x), y1=_at(y - 4), y2=_at(y + 4), class_="whisker"))
    if dot.other is not None:
        parts.append(element("circle", cx=_at(scale.at(dot.other)), cy=_at(y), r=4, class_="other"))
    parts.append(element("circle", cx=_at(scale.at(dot.value)), cy=_at(y), r=4.5, class_="dot"))
    told = f"{dot.label}: {number(dot.value)}"
    if dot.low is not None and dot.high is not None:
        told += f" [{number(dot.low)}, {number(dot.high)}]"
    return element("g", element("title", told), *parts)


def trials(values: Sequence[tuple[int, float | None, str]], best: int, title: str) -> Html:
    """A dot for each trial, by its number and its value; those that did not go through are hollow.

    Args:
      values: number, value and state of each.
      best: the number of the one that was chosen.
      title: what it shows.
    """
    known = [value for _, value, _ in values if value is not None]
    if not known:
        return Html("")
    scale, last, height = _Scale.over(known), max(number for number, _, _ in values), 180
    left, right, top, bottom = 70, _LABEL + _PLOT, 12, 150
    parts = []
    for tick in scale.ticks:
        y = bottom - (tick - scale.low) / scale.width * (bottom - top)
        parts.append(element("line", x1=left, x2=right, y1=_at(y), y2=_at(y), class_="grid"))
        parts.append(element("text", scale.word(tick), x=left - 6, y=_at(y + 4), text_anchor="end", class_="tick"))
    for place, value, state in values:
        if value is None:
            continue
        x = left + 10 + place / max(1, last) * (right - left - 20)
        y = bottom - (value - scale.low) / scale.width * (bottom - top)
        look = "dot best" if place == best else "dot" if state in ("", "complete") else "other"
        hover = element("title", f"trial {place}, {state or 'complete'}: {number(value, 5)}")
        parts.append(
            element("g", hover, element("circle", cx=_at(x), cy=_at(y), r=6 if place == best else 4, class_=look))
        )
    parts.append(element("text", "trial", x=right, y=bottom + 20, text_anchor="end", class_="tick"))
    return _picture(parts, height, title)


@dataclass(frozen=True)
class _Scale:
    """An axis from `low` to `high` with its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]
    digits: int

    @classmethod
    def over(cls, values: Sequence[float]) -> "_Scale":
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        if high - low < 1e-12:
            low, high = low - 0.5, high + 0.5
        step = _step((high - low) / 4)
        first, last = math.floor(low / step + _NEARLY), math.ceil(high / step - _NEARLY)
        ticks = tuple(round(place * step, 12) for place in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks, max(0, -math.floor(math.log10(step))))

    @property
    def width(self) -> float:
        return self.high - self.low

    def at(self, value: float) -> float:
        return _LABEL + (value - self.low) / self.width * _PLOT

    def word(self, tick: float) -> str:
        return f"{tick:,.{self.digits}f}"


def _step(wanted: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that is no smaller."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= wanted * 0.999))


def _grid(scale: _Scale, bottom: float) -> Html:
    parts = []
    for tick in scale.ticks:
        x = _at(scale.at(tick))
        parts.append(element("line", x1=x, x2=x, y1=4, y2=bottom, class_="grid"))
        parts.append(element("text", scale.word(tick), x=x, y=bottom + 14, text_anchor="middle", class_="tick"))
    return element("g", *parts)


def _picture(parts: Sequence[Html], height: float, title: str) -> Html:
    width = _LABEL + _PLOT + 30
    return element(
        "svg", *parts, class_="chart", viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=title
    )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _at(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
