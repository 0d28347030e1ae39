"""The data strand: Beam jobs over Arrow record batches, with DuckDB SQL inside the worker."""
