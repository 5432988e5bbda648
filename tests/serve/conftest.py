"""A service for all tests of what it answers. Being here also puts `running_service` on the import path."""

from pathlib import Path

import pytest
from running_service import running

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="session")
def service(tmp_path_factory, gain):
    """One that offers a tiny model and a shipped one."""
    with running(
        tmp_path_factory.mktemp("service"), "--model", f"gain={gain}", "--model", "tiny", "--patience", "2"
    ) as service:
        yield service


@pytest.fixture(scope="session")
def cat():
    """Content of a small PNG."""
    return (EXAMPLES / "cat.png").read_bytes()
