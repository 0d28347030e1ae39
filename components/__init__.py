"""The pipeline's steps as TFX sees them: contracts, executors, and the ML work they call."""
