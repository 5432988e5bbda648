"""How a model on a hub is named: `hf:owner/name@revision`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from undim.errors import ModelError

PREFIX = "hf:"
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REFERENCE = re.compile(rf"(?:{PREFIX})?({_WORD})/({_WORD})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?")
_TWICE = re.compile(r"([.-])\1|//")
"""What the hub does not allow in a name."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Reference:
    """A repository of models, and a revision of it.

    Examples:
        >>> one = Reference.read("hf:someone/night@v1")
        >>> one.repository, one.revision, one.is_pinned
        ('someone/night', 'v1', False)
        >>> str(one.at("0" * 40)) == "hf:someone/night@" + "0" * 40
        True
    """

    repository: str
    """owner/name."""
    revision: str = ""
    """A commit, of 40 hexadecimal digits; or a tag or branch; empty for the branch that the hub shows."""

    @classmethod
    def read(cls, text: str) -> Reference:
        """What a text names, with or without `hf:` before it.

        Raises:
            ModelError: if it has another form.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None or _TWICE.search(text):
            raise ModelError(
                f"A model on a hub is named hf:owner/name@revision, the revision being a commit, tag or branch. Got"
                f" {text!r}.",
                subject=text,
            )
        return cls(f"{found[1]}/{found[2]}", found[3] or "")

    @property
    def is_pinned(self) -> bool:
        """Whether it names a commit, which never changes."""
        return _COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str) -> Reference:
        """The same repository at another revision."""
        return Reference(self.repository, revision)

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}{'@' if self.revision else ''}{self.revision}"


def names_hub(model: object) -> bool:
    """Whether a model's name says that it comes from a hub."""
    return isinstance(model, str) and model.startswith(PREFIX)
