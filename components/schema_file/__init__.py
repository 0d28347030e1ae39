"""The schema that the data must fit: the user's file, inferred once."""
