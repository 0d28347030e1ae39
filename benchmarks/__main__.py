"""Runs the benchmarks named, or all: `python -m benchmarks [data_job training taxi memory]`."""

import importlib
import sys

ALL = ("data_job", "training", "taxi")

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        importlib.import_module(f"benchmarks.{name}").main()
