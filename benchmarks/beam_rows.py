"""Row functions of the row-at-a-time rival."""

from typing import Any

import pyarrow as pa

Row = dict[str, Any]
FLIGHT = (
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "carrier",
    "tailnum",
    "origin",
    "dest",
    "distance",
    "hour",
    "time_hour",
)
WEATHER = ("temp", "wind_speed", "precip", "visib")
TEXT = {"carrier", "tailnum", "origin", "dest", "hub"}
FLOAT = {"hundreds", *WEATHER}


def _type(name: str) -> pa.DataType:
    if name == "time_hour":
        return pa.timestamp("us", tz="UTC")
    if name == "late":
        return pa.bool_()
    return pa.string() if name in TEXT else pa.float64() if name in FLOAT else pa.int64()


OUTPUT = pa.schema(
    [(name, _type(name)) for name in (*FLIGHT, "late", "minute", "hundreds", "hub", *WEATHER, "seats", "built")]
)


def keyed(row: Row, columns: tuple[str, ...]) -> tuple[tuple[Any, ...], Row]:
    """The row under its key."""
    return tuple(row[column] for column in columns), row


def derive(flight: Row, weather: dict[tuple[Any, ...], Row], planes: dict[tuple[Any, ...], Row]) -> Row:
    """The joined and derived row."""
    hourly = weather.get((flight["origin"], flight["time_hour"]), {})
    plane = planes.get((flight["tailnum"],), {})
    return {
        **{name: flight[name] for name in FLIGHT},
        "late": None if flight["arr_delay"] is None else flight["arr_delay"] > 15,
        "minute": flight["dep_time"] % 100,
        "hundreds": flight["distance"] / 100.0,
        "hub": flight["carrier"] + flight["origin"],
        **{name: hourly.get(name) for name in WEATHER},
        "seats": plane.get("seats"),
        "built": plane.get("year"),
    }
