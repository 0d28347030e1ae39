"""What is measured, against what, and how to run it again: `make bench`, or `python -m benchmarks NAME`."""
