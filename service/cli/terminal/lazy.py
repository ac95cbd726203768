"""A group of commands whose modules are imported only when they are called."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click

from service.cli.terminal.examples import EXAMPLES

# What other programs call such a command.
_MEANT = {
    **dict.fromkeys(("train", "fit", "tune", "learn"), ("finetune",)),
    **dict.fromkeys(("predict", "infer", "recognise", "recognize", "label"), ("classify",)),
    **dict.fromkeys(("embed", "extract", "vectors", "encode"), ("features",)),
    **dict.fromkeys(("test", "validate", "score", "measure"), ("evaluate",)),
    **dict.fromkeys(("run", "start", "server"), ("serve",)),
    **dict.fromkeys(("download", "get", "fetch"), ("pull", "models")),
    **dict.fromkeys(("convert", "add"), ("import", "models")),
    **dict.fromkeys(("ls", "show"), ("list", "info", "models")),
}


class LazyGroup(click.Group):
    """A group that knows its commands by a table: name -> (module, short help).

    The command of a module is its attribute `command`; `examples`, by the module, stand at the end of its help.
    """

    def __init__(
        self,
        *args: Any,
        table: Mapping[str, tuple[str, str]],
        examples: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.table, self.examples = table, EXAMPLES if examples is None else examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command; None for an unknown name."""
        if cmd_name not in self.table:
            return None
        command: click.Command = importlib.import_module(self.table[cmd_name][0]).command
        command.name = cmd_name
        if (examples := self.examples.get(self.table[cmd_name][0])) is not None:
            lines = "\n".join(f"  {line}" for line in examples)
            command.epilog = f"\b\nExamples:\n{lines}"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called; of an unknown one the error names those that sound like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            name = args[0] if args else ""
            meant = [command for command in _MEANT.get(name, ()) if command in self.table]
            close = meant or difflib.get_close_matches(name, self.table, 3, 0.5)
            if close and not getattr(
                exc, "possibilities", None
            ):  # click itself names some of them from 8.4 on
                raise click.UsageError(f"{exc.message} Did you mean {' or '.join(close)}?", ctx) from exc
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of the group from the table, without an import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in self.table.items()])
