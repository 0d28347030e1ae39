"""Statistics of examples by TFDV, from Arrow batches."""
