"""The address of the page that `undim serve` prints: other machines can open it."""

import socket

import httpx
import pytest
from running_service import running

from undim.cli import serve

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what the tests are about


@pytest.mark.slow
@pytest.mark.parametrize("host", EVERYWHERE)
def test_who_listens_everywhere_prints_an_address_of_this_machine(tmp_path, host):
    if host == "::" and not socket.has_ipv6:
        pytest.skip("This machine has no IPv6.")
    with running(tmp_path, "--host", host) as service:
        told = httpx.URL(service.url).host
        assert told not in EVERYWHERE
        assert "Undim" in httpx.get(service.url).text


@pytest.mark.parametrize(
    ("place", "family", "own", "wanted"),
    [
        ("http://0.0.0.0:8000", socket.AF_INET, "192.168.1.20", "http://192.168.1.20:8000"),
        ("http://[::]:8000", socket.AF_INET6, "2001:db8::7", "http://[2001:db8::7]:8000"),
        ("http://0.0.0.0:8000", socket.AF_INET, None, "http://night-pc:8000"),
        ("http://[::]:8000", socket.AF_INET6, None, "http://night-pc:8000"),
        ("http://127.0.0.1:8000", socket.AF_INET, "192.168.1.20", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", socket.AF_INET6, "2001:db8::7", "http://[::1]:8000"),
    ],
)
def test_the_address_is_the_one_on_the_way_out_else_the_name(monkeypatch, place, family, own, wanted):
    class Probe(socket.socket):
        """By UDP, on a machine that has this address, or no way out."""

        def connect(self, address):
            assert self.type == socket.SOCK_DGRAM
            if own is None:
                raise OSError(f"There is no way to {address}.")

        def getsockname(self):
            return own, 40000

    monkeypatch.setattr(serve.socket, "socket", Probe)
    monkeypatch.setattr(serve.socket, "gethostname", lambda: "night-pc")
    assert serve._for_others(place, family) == wanted
