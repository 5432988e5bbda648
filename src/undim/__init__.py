"""Undim makes dark photographs clear."""

from undim.version import __version__

__all__ = ["__version__"]
