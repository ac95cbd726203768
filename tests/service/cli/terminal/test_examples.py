"""Help ends with examples, of every command, with options that there are; a command that is misspelt is guessed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from service.cli import main
from service.cli.terminal.examples import EXAMPLES
from service.cli.terminal.lazy import LazyGroup
from tests.service.running import Run


def commands(
    group: LazyGroup, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, click.Command]]:
    """Path, module and command, of all below a group."""
    for name, (module, _) in group.table.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield (*path, name), module, command
        if isinstance(command, LazyGroup):
            yield from commands(command, (*path, name))


ALL = list(commands(main))  # type: ignore[arg-type]


def test_every_command_has_examples_and_no_other() -> None:
    assert {module for _, module, _ in ALL} == set(EXAMPLES)


@pytest.mark.parametrize(("path", "command"), [(path, command) for path, _, command in ALL])
def test_help_ends_with_them(path: tuple[str, ...], command: click.Command, graft: Run) -> None:
    shown = graft(*path, "--help").stdout
    assert "Examples:\n" in shown
    first = shown.split("Examples:\n")[1].splitlines()[0].strip()
    assert first.startswith("graft " + path[0])


def test_their_options_are_those_of_the_commands() -> None:
    by_path = {path: command for path, _, command in ALL}
    for line in (line for lines in EXAMPLES.values() for line in lines):
        words = shlex.split(line.partition(">")[0])[1:]
        path = tuple(words[:2]) if tuple(words[:2]) in by_path else tuple(words[:1])
        known = {
            flag
            for parameter in by_path[path].params
            for flag in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word for word in words if word.startswith("-")} <= known, line


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("clasify", "x"), "classify"),
        (("train", "x"), "finetune"),
        (("predict",), "classify"),
        (("models", "lst"), "list"),
        (("models", "download"), "pull"),
        (("dataset", "inspct"), "inspect"),
    ],
)
def test_a_misspelt_command_is_guessed(graft: Run, arguments: tuple[str, ...], meant: str) -> None:
    result = graft(*arguments)
    assert result.exit_code == 2
    assert f"Did you mean {meant}" in result.stderr.replace("'", "")


def test_another_word_is_not(graft: Run) -> None:
    assert "Did you mean" not in graft("xyzzy").stderr
