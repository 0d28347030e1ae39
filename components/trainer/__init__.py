"""Trains an XGBoost model on the kept columns."""
