"""Which addresses a webhook may reach.

A webhook's address is the caller's choice, and the service stands inside the hospital: without a
rule it would knock at any door there (server-side request forgery). So only public addresses are
reached, and networks that the operator names. A name is resolved once, when the connection is made,
and the address found is the one that is checked and connected to: a name that resolves to something
else a moment later (DNS rebinding) gains nothing.
"""

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Self
from urllib.parse import urlsplit

import httpcore

from dlb_core.errors import BadOption

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2000
NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""Prefixes behind which translators reach IPv4 addresses."""


class AddressRefused(Exception):
    """A webhook's name leads to no address that may be reached."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be reached.

    Parameters
    ----------
    networks : tuple of networks
        Named by the operator: reached although they are private, and without TLS too.
    """

    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read networks as they stand in a setting, e.g. `10.1.0.0/16, 127.0.0.1`.

        Raises
        ------
        ValueError
        """
        return cls(tuple(ip_network(part.strip()) for part in text.split(",") if part.strip()))

    def allows(self, address: Address, *, encrypted: bool) -> bool:
        """Whether a connection to this address may be made."""
        if any(address in network for network in self.networks):
            return True
        return encrypted and is_public(address)

    def check_url(self, url: str) -> None:
        """Look at an address before it is kept; what it leads to is looked at again, later.

        Raises
        ------
        BadOption
        """
        fault = self._fault(url)
        if fault is not None:
            raise BadOption(f"the webhook's address cannot be used: {fault}", fields={"url": fault})

    def _fault(self, url: str) -> str | None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "it is no URL"
        if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
            return "it is no URL"
        if parts.scheme != "https" and not (parts.scheme == "http" and self.networks):
            return "it must begin with https://"
        if not parts.hostname or port == 0:
            return "it names no host"
        if parts.username is not None or parts.password is not None or parts.fragment:
            return "leave out user names, passwords and fragments"
        encrypted = parts.scheme == "https"
        try:
            self.resolve(parts.hostname, port or 443, encrypted=encrypted)
        except AddressRefused as refusal:
            return str(refusal)
        return None

    def resolve(self, host: str, port: int, *, encrypted: bool) -> list[Address]:
        """Addresses of a host that may be reached.

        Raises
        ------
        AddressRefused
            There is none.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise AddressRefused("its host has no address") from error
        addresses = dict.fromkeys(_address(entry[4][0]) for entry in found)
        allowed = [each for each in addresses if self.allows(each, encrypted=encrypted)]
        if not allowed:
            raise AddressRefused("its host is not one that may be reached from here")
        return allowed


def is_public(address: Address) -> bool:
    """Whether an address lies in the open internet, also where it stands inside another."""
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            # Deprecated (RFC 3879), and still some houses' own; Python counts them as global.
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in prefix for prefix in NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _address(text: object) -> Address:
    # A link-local address carries the name of its interface.
    return ip_address(str(text).partition("%")[0])


class GuardedBackend(httpcore.NetworkBackend):
    """Connects only where the policy lets it, and ends what takes too long in all.

    Parameters
    ----------
    policy : AddressPolicy
    encrypted : bool
        Whether TLS follows.
    limit_s : float
        From the connection's making to the answer.
    """

    def __init__(self, policy: AddressPolicy, *, encrypted: bool, limit_s: float) -> None:
        self._policy, self._encrypted = policy, encrypted
        self._deadline = time.monotonic() + limit_s
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check, and connect to what was checked."""
        fault: Exception = httpcore.ConnectError("no address")
        for address in self._policy.resolve(host, port, encrypted=self._encrypted):
            try:
                stream = self._inner.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
            else:
                return _Hurried(stream, self._deadline)
        raise fault

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Refuse: no webhook lives in a file."""
        raise AddressRefused("its host is not one that may be reached from here")


class _Hurried(httpcore.NetworkStream):
    """A stream with one deadline for all: a byte a minute must not hold a sender for hours."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._left())
        return _Hurried(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("too slow")
        return left
