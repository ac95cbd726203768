"""The command line: `graft COMMAND ...`.

Exit codes: 0 all fine; 1 some of the images failed, the others are answered; 2 wrong usage, or nothing could be
done. Nothing heavy is imported here: each command has its module, imported when it is called.
"""

from __future__ import annotations

import errno
import warnings
from typing import Any

import click

from models.errors import GraftError
from models.extras import lacking
from service.cli.terminal.interrupting import interrupts_outside_imports
from service.cli.terminal.lazy import LazyGroup
from service.cli.terminal.messages import print_error

COMMANDS = {
    "classify": ("service.cli.classify", "Say what is on images."),
    "dataset": ("service.cli.dataset", "Look at labelled images before training."),
    "evaluate": ("service.cli.evaluate.command", "Measure a model's accuracy on labelled images."),
    "explain": ("service.cli.explain", "Show what in a photo speaks for a class."),
    "features": ("service.cli.features.command", "Turn images into feature vectors."),
    "finetune": ("service.cli.finetune.command", "Teach a model your own classes."),
    "models": ("service.cli.models", "List, inspect, download and import models."),
    "report": ("service.cli.report", "Make the report of a run that was made without one."),
    "serve": ("service.cli.serve.command", "Answer over HTTP."),
    "teach": ("service.cli.teach", "Open a page on which a model learns your own classes."),
    "token": ("service.cli.token", "Make an API token for the service."),
    "cache": ("service.cli.cache", "Look at the features that are remembered, or forget them."),
    "doctor": ("service.cli.doctor", "Tell versions, devices and what is missing."),
}


class _Main(LazyGroup):
    """The group at the top, where errors become one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        debug = ctx.params.get("debug", False)
        try:
            with warnings.catch_warnings(), interrupts_outside_imports():
                if not debug:  # warnings of libraries are for developers
                    warnings.simplefilter("ignore")
                return super().invoke(ctx)
        except GraftError as exc:
            if debug:
                raise
            print_error(exc)
            ctx.exit(2)
        except ModuleNotFoundError as exc:
            missing = lacking(exc, "this command")
            if debug or missing is None:
                raise
            print_error(missing)
            ctx.exit(2)
        except OSError as exc:
            if debug or exc.errno != errno.ENOSPC:
                raise
            print_error("the answers cannot be written, the disk is full. Free some space and run again.")
            ctx.exit(2)
        except KeyboardInterrupt:
            ctx.exit(130)


def _version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from models.version import __version__  # reads package metadata, for this one option

        click.echo(f"graft {__version__}")
        ctx.exit()


@click.group(
    cls=_Main,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try: graft classify photo.jpg",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@click.option(
    "--debug", is_flag=True, envvar="GRAFT_DEBUG", help="Show tracebacks of errors (or set GRAFT_DEBUG=1)."
)
def main(debug: bool) -> None:
    """Classify images, extract features, teach a pretrained network your own classes, and serve it."""
