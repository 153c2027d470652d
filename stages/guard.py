"""Which network addresses a run may connect to: public ones, and those that the recipe allows.

    guard = AddressGuard(["127.0.0.1/32"])               # `ytdlp.allow_private_addresses`
    sock = guard.connect(("example.org", 443), 30.0)     # Fault("refused_address") for what is not allowed

A page, a redirect, a playlist or a plan may name any host: this machine's own services, a router, a cloud's metadata
address. So the check sits where the connection is made: the name is resolved once, the answers are looked at, and the
socket is connected to one of those that may be, so that a name which answers differently a moment later gains
nothing. However an address is written (`0x7f.1`, `2130706433`, `::ffff:10.0.0.1`), what is looked at is what it means.

Through a proxy it is the proxy that resolves: there only the name itself can be looked at (`check_name`).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from stages.faults import Fault

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
#: As socket.getaddrinfo: (host, port, family, kind) -> its list of answers.
Resolve = Callable[..., Sequence[tuple[Any, ...]]]

#: Refused beyond what the `ipaddress` module knows as private.
_ALSO_REFUSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # a cloud's own services, on a public address
        "192.0.0.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # Teredo, benchmarks, ORCHID
        "2001:db8::/32",
        "3fff::/20",
    )
)
#: IPv6 that is routed to a public host at all.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa", "lan")
_SHOWN = 100


class AddressGuard:
    """`allowed`: networks that may be connected to although they are not public. `resolve` is for tests."""

    def __init__(self, allowed: Sequence[str] = (), resolve: Resolve | None = None) -> None:
        self._allowed = networks(allowed)
        self._resolve = resolve or socket.getaddrinfo

    def allows(self, address: str) -> bool:
        """Whether this address, as a resolver gives it, may be connected to."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        meant = _meant(ip)
        if any(one.version == net.version and one in net for one in (ip, meant) for net in self._allowed):
            return True
        return _is_public(meant)

    def connect(
        self, address: tuple[str, int], timeout_s: float | None, source_address: tuple[str, int] | None = None
    ) -> socket.socket:
        """A socket connected to one of the host's addresses that may be. Fault when it has none, else OSError."""
        host, port = address
        answers = self._resolve(host, port, 0, socket.SOCK_STREAM)
        allowed = [answer for answer in answers if self.allows(str(answer[4][0]))]
        if answers and not allowed:
            raise refused(host)
        failed: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
        for family, kind, protocol, _, where in allowed:
            try:
                return _connected(family, kind, protocol, where, timeout_s, source_address)
            except OSError as error:
                failed = error
        raise failed

    def check_name(self, host: str) -> None:
        """Fault for a host that by its very name is no public one: an address in any spelling, `localhost`."""
        name = host.strip("[]").rstrip(".").lower()
        written = _as_written(name)
        if written is not None:
            if not self.allows(written):
                raise refused(host)
        elif "." not in name or name.endswith(tuple(f".{suffix}" for suffix in _LOCAL_NAMES)):
            raise refused(host)


def networks(texts: Sequence[str]) -> tuple[IPNetwork, ...]:
    """The networks that these are; ValueError, with a sentence, for one that is none."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ValueError(f"{text!r} is no address or network such as 127.0.0.1/32: {error}") from error
    return tuple(found)


def refused(host: str) -> Fault:
    """The fault of a host that must not be asked."""
    shown = "".join(char if char.isascii() and char.isprintable() else "?" for char in host)[:_SHOWN]
    return Fault("refused_address", f"{shown} is no public address (ytdlp.allow_private_addresses)")


def _connected(
    family: int,
    kind: int,
    protocol: int,
    where: Any,
    timeout_s: float | None,
    source_address: tuple[str, int] | None,
) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(timeout_s)
        if source_address is not None:
            sock.bind(source_address)
        sock.connect(where)
    except BaseException:
        sock.close()
        raise
    return sock


def _meant(ip: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _is_public(ip: IPAddress) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    if any(ip.version == net.version and ip in net for net in _ALSO_REFUSED):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _as_written(name: str) -> str | None:
    """The address that a host's text is, as the system's resolver would read it; None for a name."""
    try:
        return str(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except (OSError, UnicodeError):
        return None
