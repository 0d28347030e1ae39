"""The step that scores a table with a trained model."""
