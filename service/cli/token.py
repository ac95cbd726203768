"""`graft token`: make an API token for the service."""

from __future__ import annotations

import os
from pathlib import Path

import click

from models.errors import OutputError
from models.files import disk_error
from service.cli.terminal.messages import print_note
from service.tokens import SCOPES, Token, new_token, read_tokens


@click.command()
@click.argument("scopes", nargs=-1, required=True, type=click.Choice(SCOPES), metavar="infer|admin...")
@click.option("--name", default="", metavar="TEXT", help="What the token is for, a note in the file.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="File of tokens that the line is added to; made for its owner alone.  [default: the line is printed]",
)  # fmt: skip
def command(scopes: tuple[str, ...], name: str, out: Path | None) -> None:
    """Make an API token for `graft serve --tokens FILE`.

    The token is printed once and kept nowhere: give it to who is to have it. The file knows its SHA-256. `infer` lets
    its bearer classify and the like, `admin` load and unload models.
    """
    token, known = new_token(scopes, name)
    if out is None:
        click.echo(f"token          {token}\nline for FILE  {known}")
        return
    _append(out, known)
    click.echo(token)
    print_note(
        f"{out}: the line was added; the token itself is nowhere but here. Send it as: Authorization: Bearer"
    )


def _append(file: Path, known: Token) -> None:
    """Add a line to a file of tokens, or make one.

    Raises:
        InputError: the file is another one.
        OutputError: it cannot be written.
    """
    before = b""
    if file.exists() and file.stat().st_size:
        read_tokens(file)
        before = file.read_bytes()
    line = b"" if before.endswith(b"\n") or not before else b"\n"
    try:
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "ab") as stream:
            stream.write(line + f"{known}\n".encode())
    except OSError as exc:
        raise OutputError(f"{file}: {disk_error(exc, file)}") from exc
