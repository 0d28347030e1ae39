"""Explainer: what each feature adds to the predictions of a sample of rows."""
