"""Judges models and their champion on labelled rows, and blesses the best or says why not."""
