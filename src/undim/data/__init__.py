"""Data sets: one entry each, with its layouts, splits and licence, and their loading for training."""
