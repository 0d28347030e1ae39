"""Hands a blessed model over to where it serves."""
