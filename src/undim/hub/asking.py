"""Asking a hub through huggingface_hub, and what its failures mean, in one line each."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from undim.errors import HubError, UsageError
from undim.hub.reference import Reference
from undim.installed import add_extra
from undim.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG_IN = "log in (hf auth login, or HF_TOKEN in the environment)"


def open_hub() -> HfApi:
    """The hub at `$HF_ENDPOINT`, else huggingface.co, with the user's own token if there is one.

    Raises:
        UsageError: if huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError as error:
        raise UsageError(
            f"Pulling and pushing need huggingface_hub, which is not installed: {add_extra('hub')}."
        ) from error
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="undim", library_version=__version__)


@contextlib.contextmanager
def asking(api: HfApi, reference: Reference) -> Iterator[None]:
    """A block that asks a hub: what goes wrong in it is one line.

    Raises:
        HubError: for whatever the hub or the way to it refuses.
    """
    from huggingface_hub import errors

    with quiet():
        try:
            yield
        except errors.OfflineModeIsEnabled as error:
            raise HubError(
                f"{reference} was not fetched: HF_HUB_OFFLINE is set. What was pulled before works without a network.",
                code="offline",
                subject=str(reference),
            ) from error
        except (errors.HTTPError, OSError, ValueError, RuntimeError, errors.EntryNotFoundError) as error:
            raise HubError(_explain(error, api.endpoint, reference), code="hub", subject=str(reference)) from error


def _explain(error: BaseException, endpoint: str, reference: Reference) -> str:
    from huggingface_hub import errors

    answer = _answer_of(error)
    status = getattr(answer, "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return f"{endpoint} gives {reference} to those alone who accepted its terms: do so on its page, and {LOG_IN}."
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{reference.repository} has no revision {reference.revision!r}: see its page at {endpoint} for those there"
            " are."
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return f"{endpoint} has no model {reference.repository}, or it is private: check the name, or {LOG_IN}."
    if status in (401, 403):
        return f"{endpoint} refuses {reference.repository} (status {status}): {LOG_IN} with a token that may do this."
    if status is not None:
        return f"{endpoint} answered {reference} with status {status}{_words(answer)}: try again later."
    return f"{endpoint} did not give {reference}: {_first_line(error)}. Check the connection and try again."


def _answer_of(error: BaseException | None) -> object:
    """The hub's answer behind an error, or behind what caused it; None where there was none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        answer = getattr(error, "response", None)
        if answer is not None:
            return answer
        error = error.__cause__ or error.__context__
    return None


def _words(answer: object) -> str:
    """What the hub says for people, if it does."""
    told = getattr(answer, "headers", {}).get("X-Error-Message", "")
    return f" ({told[:200]})" if told else ""


def _first_line(error: BaseException) -> str:
    """The first line of the innermost cause that says something."""
    causes = [error]
    while causes[-1].__cause__ is not None and len(causes) < 10:
        causes.append(causes[-1].__cause__)
    told = next((str(one) for one in reversed(causes) if str(one).strip()), type(error).__name__)
    return told.strip().splitlines()[0].rstrip(".:")[:300]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without bars and log lines of huggingface_hub, whose failures are told above."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub")
    level, shown = logger.level, not are_progress_bars_disabled()
    logger.setLevel(logging.CRITICAL)
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if shown:
            enable_progress_bars()
