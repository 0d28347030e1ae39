"""Searches for a trainer's parameters."""
