"""Chooses the columns that carry the signal, and says why each was kept or not."""
