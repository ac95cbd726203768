"""`graft finetune`: teach a pretrained network your own classes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from finetune.dataset.list_options import ListOptions
from finetune.job.recipe import Recipe, chosen
from models.errors import GraftError
from models.wording import counted, percent, size
from service.cli.terminal.messages import print_note
from service.cli.terminal.options import (
    GroupedCommand,
    HeadedOption,
    cache_option,
    device_options,
    list_options,
    setting_options,
)
from service.cli.terminal.text import clean, columns, terminal_width

if TYPE_CHECKING:
    from finetune.dataset.examples import Dataset
    from finetune.job.run import Outcome
    from finetune.report.findings import Findings
    from finetune.report.summary import Summary


_ARGUMENTS = f"{__name__}.arguments"  # in a context's meta


class _Command(GroupedCommand):
    """Keeps its command line, by which a report is made later."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Command)
@click.argument("source")
@setting_options(Recipe, flags={"model": ["-m"], "candidates": ["--try"]})
@list_options
@click.option(
    "--unknown", metavar="SOURCE", help="Images that are no class, to measure the threshold.",
    cls=HeadedOption, heading="Trust",
)  # fmt: skip
@click.option(
    "--previous", metavar="MODEL", help="An older model to compare with.", cls=HeadedOption, heading="Trust"
)
@click.option(
    "--corrections", type=click.Path(path_type=Path), metavar="TABLE", cls=HeadedOption, heading="Trust",
    help="An earlier run's mistakes.csv, put right.",
)  # fmt: skip
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Folder to write.  [default: SOURCE's name-model]"
)
@click.option("--resume", is_flag=True, help="Go on where an earlier run in the folder ended.")
@cache_option
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N",
    help="Processes that share the work; needs mpi4py.  [default: those of mpiexec, else 1]",
)  # fmt: skip
@click.option(
    "--report/--no-report", default=True,
    help="Make a page and a learning curve; `graft report` makes them later.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@device_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    out: Path | None,
    resume: bool,
    cache: bool,
    workers: int | None,
    report: bool,
    as_json: bool,
    device: str,
    threads: int | None,
    outside: bool,
    lists: ListOptions,
    unknown: str | None,
    previous: str | None,
    corrections: Path | None,
    **options: Any,
) -> None:
    """Teach a pretrained network your own classes, and write one model file with a report.

    SOURCE is a folder with a folder of images for each class, an archive of one, or a list (.csv, .jsonl) with the
    columns path and label; folders train, val and test above the classes are respected. The folder that is written
    holds model.onnx, which `graft classify`, `serve` and `evaluate` take as it is, and report.html.
    """
    from finetune.dataset.naming import source_name
    from finetune.dataset.opening import open_dataset
    from finetune.job.folder import COMMAND, PLAN, WORK, free_folder, why_another
    from finetune.job.run import finetune
    from finetune.workers.mpi import program
    from finetune.workers.team import Team, work
    from service.cli.finetune.launching import launch
    from service.cli.finetune.progress import terminal_observer

    # At the end all that was imported is looked through for garbage: a sixth of a second for what ends anyway.
    atexit.register(gc.freeze)
    group = program(workers)
    if group is not None and group.rank:
        try:
            work(group)
        except GraftError:  # the first process says what it is
            ctx.exit(2)
        ctx.exit()
    with Team(group) if group is not None else contextlib.nullcontext() as team:
        recipe = _recipe(ctx, options)
        base = Path(f"{source_name(source)}-model")
        folder = out or (base if resume else free_folder(base))
        if out is None and folder != base:
            print_note(why_another(base, folder))
        if group is None and workers is not None and workers > 1:
            ctx.exit(launch(workers, sys.argv[1:], folder))
        dataset = open_dataset(source, recipe.task, outside=outside, lists=lists)
        earlier = None
        if corrections is not None:
            dataset, earlier = _corrected(dataset, corrections, previous)
        if (
            not (resume or recipe.candidates)
            and (advice := _better_backbone(recipe.model, source)) is not None
        ):
            print_note(advice)
        try:
            with terminal_observer() as observer:
                outcome = finetune(
                    dataset,
                    recipe,
                    folder,
                    device=device,
                    threads=threads,
                    cache=cache,
                    resume=resume,
                    unknown=unknown,
                    previous=previous,
                    earlier=earlier,
                    report=report,
                    observer=observer,
                    team=team,
                )
        except KeyboardInterrupt:  # in training it ends well; elsewhere there is nothing better to keep
            if (folder / PLAN).is_file():
                click.secho(f"Interrupted; what was done is kept. {_resumed(folder)}", err=True, fg="yellow")
            ctx.exit(130)
    if not report and not outcome.interrupted and outcome.findings is not None:
        _remember(folder / WORK / COMMAND, ctx.meta[_ARGUMENTS])
    if as_json:
        numbers = json.loads(outcome.report.with_suffix(".json").read_text(encoding="utf-8"))
        page = str(outcome.report) if report else None
        click.echo(json.dumps({"path": str(outcome.model), "page": page, **numbers}, indent=2))
    else:
        _print(outcome)
    if outcome.findings is None and (unknown or previous or corrections):
        print_note(
            "--unknown, --previous and --corrections change nothing in a run that had finished. Give another --out to "
            "use them."
        )
    if outcome.interrupted:
        click.secho(
            f"Interrupted: the model is the best until then. {_resumed(folder)}", err=True, fg="yellow"
        )
        ctx.exit(130)


def _remember(file: Path, arguments: Sequence[str]) -> None:
    """Write down the command line of a run, for `graft report`, which decides about some of it."""
    from models.files import write_atomically

    kept = [word for word in arguments if word not in ("--report", "--no-report", "--resume", "--json")]
    write_atomically(file, json.dumps({"folder": str(Path.cwd()), "arguments": kept}).encode())


def _corrected(dataset: Dataset, table: Path, previous: str | None) -> tuple[Dataset, Path | None]:
    """The images with corrections, and the report of the run that they are of, to compare with."""
    from finetune.dataset.corrections import corrected
    from finetune.report.page import NUMBERS

    if previous is not None:
        raise click.UsageError(
            "--corrections compares with the run whose mistakes they are, and --previous names another model. "
            "Leave one of them out."
        )
    right = corrected(dataset, table)
    print_note(right.words())
    report = table.with_name(NUMBERS)
    if report.is_file():
        return right.dataset, report
    print_note(f"No {NUMBERS} beside {table}: what the corrections bring is not compared with anything.")
    return right.dataset, None


def _resumed(folder: Path) -> str:
    return f"Go on with the same command and: --out {shlex.quote(str(folder))} --resume"


def _better_backbone(model: str, source: str) -> str | None:
    """What a pulled network would likely bring in place of the built-in one, and the command for it."""
    from models.zoo import BUILTIN, RECOMMENDED, find  # help needs no numpy

    row, better = find(model), find(RECOMMENDED)
    if row is None or row.name != BUILTIN or better is None:
        return None
    cost = "is on this machine" if better.file.is_file() else f"is one download of {size(better.octets or 0)}"
    return (
        f"The built-in network is small and has only seen 64 pixels a side. MobileNetV2 {cost} and is likely to be "
        "right more often (on 372 photos of clothes 81.5 % against 73.4 %, learned from 1,000): "
        f"graft finetune {shlex.quote(source)} --model {RECOMMENDED}"
    )


def _recipe(ctx: click.Context, options: dict[str, Any]) -> Recipe:
    """The recipe that the options describe.

    Raises:
        InputError: settings that do not go together.
    """
    given = (name for name in options if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT)
    return chosen({name: options[name] for name in given})


def _print(outcome: Outcome) -> None:
    findings = outcome.findings
    if findings is None:
        click.echo(f"{outcome.model}: the run had finished; nothing was left to do.")
        return
    from finetune.report.summary import summarise
    from finetune.report.verdict import judge

    measured = summarise(findings)
    verdict = judge(findings, measured)
    click.echo("")
    for sentence in (verdict.figure, verdict.trust, verdict.advice, *_asked(findings, measured)):
        click.echo(textwrap.fill(clean(sentence), terminal_width()))
    click.echo("")
    rows = [("model", f"{outcome.model} ({size(findings.file_bytes or 0)})"), ("report", str(outcome.report))]
    if (proof := findings.proof) is not None:
        same = f"a fresh process gives the same answers for {counted(proof.images, 'image')}, to {proof.largest:.1g}"
        rows.append(("proof", same))
    rows.append(
        ("time", ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in _longest(findings.timings)))
    )
    click.echo(columns(rows))
    click.echo("\nTry:")
    for line in findings.commands[:3]:
        click.echo(f"  {line}")  # whole, to be copied


def _asked(findings: Findings, measured: Summary) -> Iterator[str]:
    """Answers to what was asked with --previous and --unknown, and what is always asked: what strangers get."""
    from finetune.report.shown import shown_words

    kinds = measured.classification or measured.regression
    if findings.previous is not None and kinds is not None and kinds.comparison is not None:
        yield f"Compared with {findings.previous.name}: {kinds.comparison.words()}"
    rejected = measured.classification.rejection if measured.classification else None
    if rejected is not None and rejected.unknown_rejected is not None and rejected.auroc is not None:
        unknown, known = rejected.unknown_rejected, rejected.known_rejected
        yield (
            f"None of these: {percent(unknown.value)} of {unknown.images:,} unknown images are told so, and "
            f"{percent(known.value)} of the measured images (AUROC {rejected.auroc:.3f})."
        )
    if measured.classification and measured.classification.growths:
        yield f"What next: {measured.classification.growths[0].words()}."
    if words := shown_words(findings.strangers):
        yield words


def _longest(timings: Mapping[str, float]) -> list[tuple[str, float]]:
    """The stages that took at least a second, in their order."""
    return [(stage, seconds) for stage, seconds in timings.items() if seconds >= 1]
