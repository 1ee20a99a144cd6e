"""Which addresses only this machine reaches."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine and nobody else's way in.

    Parameters
    ----------
    host : str
        A name, an IPv4 or an IPv6 address, the latter with or without its brackets.
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
