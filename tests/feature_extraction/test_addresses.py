"""Where images may be fetched from: hosts of a list, at public addresses."""

from __future__ import annotations

import ipaddress

import pytest

from feature_extraction.addresses import allows, is_public


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
        "169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "198.18.0.1", "192.88.99.1",
        "::1", "::", "fe80::1", "fec0::1", "fd00:ec2::254", "fc00::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::", "2001:0:808:808:0:0:80ff:fffe",
    ],
)  # fmt: skip
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("cdn.example", "cdn.example", 443, True),
        ("CDN.example", "cdn.example", 443, True),
        ("cdn.example", "cdn.example", 8443, False),
        ("cdn.example:8443", "cdn.example", 8443, True),
        ("cdn.example:8443", "cdn.example", 443, False),
        ("cdn.example", "cdn.example.evil.org", 443, False),
        ("cdn.example", "a.cdn.example", 443, False),
        ("*.example", "cdn.example", 443, True),
        ("*.example", "example", 443, False),
        ("*.example", "evilexample", 443, False),
        ("*.example:81", "cdn.example", 81, True),
        ("*", "anything.org", 443, True),
        ("*", "anything.org", 22, False),
        ("2606:4700::1111", "2606:4700::1111", 443, True),
        ("[2606:4700::1111]:81", "2606:4700::1111", 81, True),
    ],
)
def test_hosts(entry: str, host: str, port: int, allowed: bool) -> None:
    assert allows((entry,), host, port, 443) is allowed


def test_no_host_is_on_an_empty_list() -> None:
    assert not allows((), "cdn.example", 443, 443)
