"""Which hosts and addresses of the network may be fetched from."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# What Python's tables count as public, some of its versions at least: Azure's own services on each machine
# (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16), addresses for protocols (RFC
# 6890), where Oracle's cloud has some too, and relays of 6to4 (RFC 7526).
_NOT_PUBLIC = tuple(map(ipaddress.IPv4Network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")))
# Public IPv4 addresses, seen from a network of IPv6 alone (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public network: not to this machine, its own network or a cloud's metadata.

    What an IPv6 address holds of an IPv4 one is looked at, too.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        # Tunnels: packets may go to the IPv4 addresses inside.
        inside = [address.sixtofour, *(address.teredo or ())]
        return address.is_global and _is_unicast(address) and all(is_public(one) for one in inside if one)
    return (
        address.is_global and _is_unicast(address) and not any(address in network for network in _NOT_PUBLIC)
    )


def _is_unicast(address: Address) -> bool:
    odd = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    return not odd and not getattr(address, "is_site_local", False)


def allows(hosts: Sequence[str], host: str, port: int, usual_port: int) -> bool:
    """Whether a list of hosts has this one: `name`, `name:port`, `*.domain` for all names below it, or `*`.

    A host without a port stands for the usual one.
    """
    return any(_allows(entry.lower(), host, port, usual_port) for entry in hosts)


def _allows(entry: str, host: str, port: int, usual_port: int) -> bool:
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal() and not (":" in name and not name.startswith("[")):
        entry = name.strip("[]")
        if port != int(number):
            return False
    elif port != usual_port:
        return False
    if entry.startswith("*."):
        return host.endswith(entry[1:])
    return entry in ("*", host)
