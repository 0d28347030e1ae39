"""Runs the benchmarks named, or all: `python -m benchmarks [second_run data_job training judge transform taxi lineage cache scoring portable]`."""

import importlib
import sys

ALL = ("second_run", "data_job", "training", "judge", "transform", "taxi", "lineage", "cache", "scoring", "portable")

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        importlib.import_module(f"benchmarks.{name}").main()
