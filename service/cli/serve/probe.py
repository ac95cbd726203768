"""`python -m service.cli.serve.probe`: is the service of this container ready? The health check of the images.

Where it listens, and whether by TLS, say the command line of the first process and the environment, as they do for it.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from models.errors import GraftError
from service.cli.serve.command import command, given_settings
from service.config import ServiceConfig
from service.configuration import read_configuration

_FIRST = Path("/proc/1/cmdline")
_WAIT_S = 3.0
_ANY = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # what listens on all addresses does so there


def main(first: Path = _FIRST) -> int:
    """0 where the service is ready, else 1, with the reason on standard output."""
    try:
        url = readiness_url(_settings(_words(first), os.environ))
        # It is this machine that is asked, and only whether it is ready: the certificate is for other names.
        trusting = ssl.create_default_context()
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),  # no proxy that the environment names leads to this machine
            urllib.request.HTTPSHandler(context=trusting),
        )
        with opener.open(url, timeout=_WAIT_S) as answer:
            print(answer.read().decode(errors="replace").strip())
        return 0
    except (GraftError, click.ClickException, OSError) as exc:  # URLError and HTTPError are OSErrors
        text = exc.read().decode(errors="replace") if isinstance(exc, urllib.error.HTTPError) else ""
        print(f"{exc} {text}".strip())
        return 1


def readiness_url(config: ServiceConfig) -> str:
    """The address of `/readyz` on this machine."""
    host = _ANY.get(config.host, config.host)
    scheme = "https" if config.cert is not None else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{config.port}/readyz"


def _settings(words: Sequence[str], environment: Mapping[str, str]) -> ServiceConfig:
    """The settings of the service that was started with a command line and an environment.

    Raises:
        InputError, ClickException: they hold what the service would refuse.
    """
    # `graft serve ...`, perhaps behind `docker-init --`; where a shell stands first, the environment has to do.
    arguments = list(words[words.index("serve") + 1 :]) if "serve" in words else []
    with command.make_context("serve", arguments) as ctx:
        options = dict(ctx.params)
        file, _ = options.pop("file"), options.pop("only_check")
        return read_configuration(given_settings(ctx, options), environment, file).config


def _words(file: Path) -> list[str]:
    """The command line of a process; nothing where the system does not tell."""
    try:
        return [os.fsdecode(word) for word in file.read_bytes().split(b"\0")]
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
