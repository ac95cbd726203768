"""`graft report`: the page about a run that was made without one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import click

from models.errors import OutputError


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.pass_context
def command(ctx: click.Context, run: Path) -> None:
    """Make the report of a run of `graft finetune --no-report`, with its learning curve.

    RUN is the folder that the run has written. Its images have to be where they were; features and training are not
    computed again, and the model file stays the same to the last byte.
    """
    from finetune.job.folder import COMMAND, MODEL, PLAN, WORK
    from finetune.report.page import PAGE
    from service.cli.finetune.command import command as finetune

    file = run / WORK / COMMAND
    if not file.is_file():
        if (run / PAGE).is_file():
            raise OutputError(f"{run}: has its report already, {run / PAGE}.")
        if (run / PLAN).is_file() and not (run / MODEL).is_file():
            raise OutputError(
                f"{run}: holds a run that has not finished. Go on with it by `graft finetune ... --resume` first."
            )
        raise OutputError(
            f"{run}: no run without a report. Expected a folder that `graft finetune --no-report` wrote."
        )
    stored = json.loads(file.read_text(encoding="utf-8"))
    folder = str(run.resolve())
    with contextlib.chdir(stored["folder"]):  # paths of the command line are relative to it
        code = finetune.main(
            [*stored["arguments"], "--report", "--resume", "--out", folder], "graft finetune",
            standalone_mode=False, parent=ctx.parent,
        )  # fmt: skip
    if code:
        ctx.exit(code)
