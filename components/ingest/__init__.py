"""The step that reads a source."""
