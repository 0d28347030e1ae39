"""Scoring: a model that was trained here, applied to new tables and rows as it was trained."""
