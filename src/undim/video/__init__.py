"""Enhancing video: one look that changes slowly, in a file that keeps its sound, its times and its format."""
