"""A certificate and its key, for connections that are encrypted."""

from __future__ import annotations

import ssl
from pathlib import Path

from models.errors import InputError
from service.config import ServiceConfig


def tls_of(config: ServiceConfig) -> ssl.SSLContext | None:
    """What a configuration names; None where connections are not encrypted.

    Raises:
        InputError: as `tls_context`.
    """
    if config.cert is None or config.key is None:
        return None
    return tls_context(Path(config.cert), Path(config.key))


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with a certificate (PEM, followed by those that lead to its root) and its private key.

    Raises:
        InputError: a file cannot be read, is no PEM, has a passphrase, or the two do not belong together.
    """
    for file, what in ((cert, "CERTIFICATE"), (key, "PRIVATE KEY")):
        if f"{what}-----".encode() not in _content(file):
            raise InputError(f"{file}: expected PEM with -----BEGIN {what}-----.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])

    def passphrase() -> str:
        raise InputError(
            f"{key}: the key has a passphrase, which nobody is there to type. Take it off: "
            f"openssl pkey -in {key} -out NEW (chmod 600 NEW), or keep the key where only the service reads it."
        )

    try:
        context.load_cert_chain(cert, key, passphrase)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            message = f"{key} is not the key of {cert}: a certificate and its own key go together."
        else:
            message = f"{cert} and {key} cannot be used ({exc.reason or exc}). Expected a certificate and its key, PEM."
        raise InputError(message) from exc
    return context


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise InputError(
            f"{file}: cannot be read ({exc.strerror}). Check the path and its permissions."
        ) from exc
