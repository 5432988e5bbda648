"""Undim over HTTP: the service and its page. The work is done in `undim.jobs`."""

from undim.serve.app import make_app
from undim.serve.settings import Settings

__all__ = ["Settings", "make_app"]
