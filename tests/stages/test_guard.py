"""Addresses inside our own network, however they are written, are not connected to unless the recipe allows it.

No name is looked up and no packet leaves 127/8: the tests bring their own resolver.
"""

from __future__ import annotations

import socket

import pytest

from stages.faults import Fault
from stages.guard import AddressGuard, networks

PRIVATE = [
    *("127.0.0.66", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "255.255.255.255"),
    *("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"),  # clouds' own services
    *("224.0.0.1", "240.0.0.1", "198.18.0.1", "203.0.113.5", "192.88.99.1"),
    *(
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "2001::1",
        "64:ff9b:1::1",
    ),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::a00:1"),
    *("not an address", ""),
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
#: Hosts that are addresses in disguise: what the system's resolver makes of them is 127.0.0.1 or 10.0.0.1.
DISGUISED = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "012.0.0.1", "127.0.0.1", "[::1]", "0"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str):
    assert not AddressGuard().allows(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str):
    assert AddressGuard().allows(address)


def test_the_recipe_allows_networks_and_nothing_beside_them():
    guard = AddressGuard(["127.0.0.1/32", "10.0.0.0/8", "fd00::/16"])
    allowed = ["127.0.0.1", "::ffff:127.0.0.1", "10.9.9.9", "2002:a00:1::1", "fd00::7", "8.8.8.8"]
    assert all(guard.allows(address) for address in allowed)
    assert not any(guard.allows(address) for address in ["127.0.0.66", "192.168.0.1", "fd01::7", "169.254.169.254"])


def test_a_network_that_is_none_is_told():
    with pytest.raises(ValueError, match=r"such as 127\.0\.0\.1/32"):
        networks(["localhost"])


@pytest.mark.parametrize("host", DISGUISED)
def test_addresses_in_disguise_are_refused_by_name_and_when_connecting(host: str):
    guard = AddressGuard()
    for ask in (guard.check_name, lambda host: guard.connect((host.strip("[]"), 9), 1.0)):
        with pytest.raises(Fault) as caught:
            ask(host)
        assert caught.value.reason == "refused_address"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "router", "a.localhost", "metadata.google.internal", "x.lan"]
)
def test_names_of_our_own_are_refused_where_a_proxy_would_resolve_them(host: str):
    with pytest.raises(Fault, match="refused_address"):
        AddressGuard().check_name(host)
    AddressGuard().check_name("example.org")
    AddressGuard(["127.0.0.0/8"]).check_name("127.1")


def test_the_address_that_was_looked_at_is_the_one_connected_to():
    """A name that answers a public address first and a private one later (rebinding) is resolved only once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked: list[str] = []

        def changing(host: str, port: int, *_: int):
            asked.append(host)
            address = "127.0.0.1" if len(asked) == 1 else "127.0.0.66"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        guard = AddressGuard(["127.0.0.1/32"], changing)
        with guard.connect(("rebinding.example", port), 1.0) as connected:
            assert connected.getpeername() == ("127.0.0.1", port)
        assert asked == ["rebinding.example"]
        with pytest.raises(Fault, match="refused_address"):
            guard.connect(("rebinding.example", port), 1.0)


def test_of_several_answers_only_allowed_ones_are_tried():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answers = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.66", "10.0.0.1", "127.0.0.1")
        ]
        guard = AddressGuard(["127.0.0.1/32"], lambda *_: answers)
        with guard.connect(("mixed.example", port), 1.0) as connected:
            assert connected.getpeername()[0] == "127.0.0.1"


def test_a_name_without_an_address_is_the_networks_fault():
    with pytest.raises(OSError, match="no address"):
        AddressGuard((), lambda *_: []).connect(("nobody.example", 80), 1.0)


def test_a_hostile_host_is_shown_in_plain_letters():
    with pytest.raises(Fault) as caught:
        AddressGuard().check_name("\x1b[31m\u202e" + "x" * 10_000)
    assert caught.value.detail.isascii()
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 200
