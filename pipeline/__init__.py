"""Composes, runs and inspects pipelines; owns configuration and the command line."""
