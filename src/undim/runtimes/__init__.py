"""Runs a model file: a runtime is one file, and one row of the table."""
