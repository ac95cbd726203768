"""Certificates and keys: what cannot be used is refused in words."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from models.errors import InputError
from service.config import ServiceConfig
from service.tls import tls_context, tls_of
from tests.service.running import new_certificate, openssl


def test_a_pair_gives_tls_of_today(certificate: tuple[Path, Path]) -> None:
    context = tls_context(*certificate)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.get_ca_certs() == []
    assert isinstance(
        tls_of(ServiceConfig(cert=str(certificate[0]), key=str(certificate[1]))), ssl.SSLContext
    )
    assert tls_of(ServiceConfig()) is None


def test_a_key_of_another_certificate(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = new_certificate(tmp_path)
    with pytest.raises(InputError, match=r"key\.pem is not the key of .*cert\.pem"):
        tls_context(certificate[0], other)


def test_a_key_with_a_passphrase(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    openssl("pkey", "-in", certificate[1], "-aes256", "-passout", "pass:secret", "-out", locked)
    with pytest.raises(InputError, match=r"locked\.pem: the key has a passphrase.*openssl pkey"):
        tls_context(certificate[0], locked)


def test_files_that_are_none(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    with pytest.raises(InputError, match=r"gone\.pem: cannot be read \(No such file"):
        tls_context(tmp_path / "gone.pem", key)
    with pytest.raises(InputError, match=r"key\.pem: expected PEM with -----BEGIN CERTIFICATE-----"):
        tls_context(key, cert)
    damaged = tmp_path / "damaged.pem"
    damaged.write_bytes(cert.read_bytes()[:200] + b"\n-----END CERTIFICATE-----\n")
    with pytest.raises(InputError, match=r"damaged\.pem and .*key\.pem cannot be used"):
        tls_context(damaged, key)


@pytest.mark.parametrize(("given", "missing"), [("cert", "key"), ("key", "cert")])
def test_one_without_the_other(given: str, missing: str) -> None:
    with pytest.raises(InputError, match=f"{given} is given without {missing}; TLS needs both"):
        ServiceConfig(**{given: "a.pem"})  # type: ignore[arg-type]
