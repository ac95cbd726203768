"""The top of the command line: help, version, exit codes, and what is imported when."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from service import cli
from service.cli.terminal.lazy import LazyGroup
from tests.fixtures import plain
from tests.service.running import Run

ROOT = Path(__file__).parents[3]
HEAVY = ("numpy", "onnxruntime", "onnx", "PIL", "flask", "sklearn", "rich", "h11")


def process(*code: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, in the root of the sources."""
    return subprocess.run(
        [sys.executable, "-W", "error", *code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )  # type: ignore[call-overload, no-any-return]


def imported_by(*arguments: str | Path) -> set[str]:
    """Which heavy packages a command has imported when it is done."""
    given = [str(argument) for argument in arguments]
    script = (
        f"import sys; from graft.__main__ import main; main({given!r}, standalone_mode=False); "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = process("-c", script)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    done = process("-m", "graft", "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in cli.COMMANDS)
    script = (
        "import sys, graft.__main__ as c; print(*[m for m in {!r} if m in sys.modules]); c.main(['--help'])"
    )
    assert process("-c", script.format(HEAVY)).stdout.splitlines()[0] == ""


def test_help_of_fine_tuning_imports_nothing_heavy() -> None:
    assert imported_by("finetune", "--help") == set()


def test_classifying_imports_neither_onnx_nor_what_serves_or_trains(tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(plain("red"))
    assert imported_by("classify", "--model", tiny_path, tmp_path / "red.png") == {
        "numpy",
        "onnxruntime",
        "PIL",
    }


def commands(group: LazyGroup, prefix: str = "graft") -> Iterator[tuple[str, str, click.Command]]:
    """Each command with its whole name and the help of its row in the table, groups and what is in them too."""
    for name, (module, short) in group.table.items():
        command = importlib.import_module(module).command
        yield f"{prefix} {name}", short, command
        if isinstance(command, LazyGroup):
            yield from commands(command, f"{prefix} {name}")


EVERY_COMMAND = [pytest.param(*row, id=row[0]) for row in commands(cli.main)]


@pytest.mark.parametrize(("name", "short", "command"), EVERY_COMMAND)
def test_table_tells_the_truth_about_each_command(name: str, short: str, command: click.Command) -> None:
    assert isinstance(command, click.Command)
    assert command.help
    assert short.endswith("."), name


@pytest.mark.parametrize(("name", "short", "command"), EVERY_COMMAND)
def test_what_is_written_goes_to_out(name: str, short: str, command: click.Command) -> None:
    for option in command.params:
        if {"-o", "--output"} & set(option.opts):
            assert "--out" in option.opts, name


def test_version(graft: Run) -> None:
    result = graft("--version")
    assert result.exit_code == 0
    assert result.output.startswith("graft ")


@pytest.mark.parametrize(
    "arguments",
    [["clasify"], ["classify"], ["classify", "x", "--top-k", "0"], ["models", "gone"], ["--nope"]],
)
def test_wrong_usage_is_code_2_without_a_traceback(graft: Run, arguments: list[str]) -> None:
    result = graft(*arguments)
    assert result.exit_code == 2
    assert "Usage: graft" in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_error_is_one_message_and_code_2(graft: Run, tmp_path: Path) -> None:
    result = graft("classify", "--model", "bultin", tmp_path)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: model 'bultin' is not known: neither a name from `graft models list` nor a file. "
        "Did you mean builtin?\n"
    )


def test_error_that_quotes_a_hostile_name_does_not_reach_the_terminal(graft: Run, tmp_path: Path) -> None:
    broken = tmp_path / "a\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m.onnx"
    broken.write_text("no model")
    result = graft("models", "info", broken)
    assert result.exit_code == 2
    assert "a??[31m.onnx: not a valid ONNX model" in result.stderr


def test_csv_has_marks_for_what_the_stream_cannot_write(tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(plain("red"))
    (tmp_path / "l.jsonl").write_text('{"path": "a.png", "id": "\\ud800é"}', encoding="utf-8")
    arguments = ["classify", "--csv", "-k", "1", "-m", str(tiny_path), str(tmp_path / "l.jsonl")]
    done = process("-m", "graft", *arguments, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.stdout.splitlines()[1].startswith("??,1,")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [("classify", "--csv"), ("classify",)])
def test_full_disk_is_one_message(tiny_path: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "a.png").write_bytes(plain("red"))
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-u", "-m", "graft", *arguments, "-m", tiny_path, tmp_path / "a.png"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the disk is full" in done.stderr


def test_debug_shows_the_traceback(graft: Run, tmp_path: Path) -> None:
    broken = tmp_path / "text.onnx"
    broken.write_text("no model")
    for options in ({"env": {"GRAFT_DEBUG": "1"}}, {}):
        arguments = ["classify", "--model", broken, tmp_path]
        result = graft(*(arguments if options else ["--debug", *arguments]), **options)
        assert type(result.exception).__name__ == "ModelError"


def test_ctrl_c_is_quiet(graft: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.cli.models.listing.terminal_width", interrupt)
    result = graft("models", "list")
    assert (result.exit_code, result.output) == (130, "")


def test_library_warnings_stay_inside(graft: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> int:
        warnings.warn("an old way of calling", DeprecationWarning, stacklevel=1)
        return 80

    expected = graft("models", "list").output
    monkeypatch.setattr("service.cli.models.listing.terminal_width", warn)
    assert graft("models", "list").output == expected


@pytest.mark.skipif(os.name == "nt", reason="no SIGPIPE on Windows")
def test_closed_pipe_is_quiet(tiny_path: Path, tmp_path: Path) -> None:
    for i in range(300):
        (tmp_path / f"{i}.png").write_bytes(plain("red"))
    command = [sys.executable, "-m", "graft", "classify", "--model", str(tiny_path), str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""
        running.wait(120)
    assert running.returncode in (0, 1, -signal.SIGPIPE)
