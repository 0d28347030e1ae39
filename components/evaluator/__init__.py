"""Judges a model and its champion on labelled rows, and blesses it or says why not."""
