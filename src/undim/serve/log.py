"""One line a request, as JSON or for people: no names, no pixels, no addresses."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["json", "text"]


class Log:
    """Writes lines to standard error.

    Args:
        form: `json`, one object a line, or `text`.
    """

    def __init__(self, form: LogFormat = "json") -> None:
        self._form = form

    def line(self, event: str, level: str = "info", **facts: object) -> None:
        """One line: the time in UTC, what happened and what is known of it."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {name: fact for name, fact in facts.items() if fact not in (None, "")}
        if self._form == "json":
            text = json.dumps({"time": now, "level": level, "event": event, **known})
        else:
            text = f"{now} {event} " + " ".join(f"{name}={_plain(fact)}" for name, fact in known.items())
        if sys.stderr is not None:
            sys.stderr.write(f"{text.rstrip()}\n")
            sys.stderr.flush()


def _plain(fact: object) -> str:
    if isinstance(fact, Mapping):
        return ",".join(f"{name}:{_plain(value)}" for name, value in fact.items())
    return f"{fact:.3f}" if isinstance(fact, float) else str(fact)


class LogHandler(logging.Handler):
    """What the server's own logger has to say, as lines of a `Log`."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line, with the fault's last line where there is one."""
        fault = "" if record.exc_info is None else repr(record.exc_info[1])
        self._log.line("server", "error", message=record.getMessage(), fault=fault)
