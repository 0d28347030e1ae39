"""The gate that lets examples pass only when they fit the schema."""
