"""The step that holds a table to be scored against what its model was trained on."""
