"""The life of a model after training: which version serves, going back to an earlier one, trying one over HTTP."""
