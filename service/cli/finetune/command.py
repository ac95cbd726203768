"""`graft finetune`: teach a pretrained network your own classes."""

from __future__ import annotations

import dataclasses
import json
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from service.cli.terminal.options import device_options, model_option
from service.cli.terminal.text import clean, columns, percent, size, terminal_width

if TYPE_CHECKING:
    from finetune.job.run import Outcome
    from finetune.report.findings import Findings
    from finetune.report.summary import Summary

Command = TypeVar("Command", bound=Callable[..., Any])

_NAMES = {
    "What learns": "model method classifier cut unfreeze views flip quantize seed",
    "Images": "task outside val test",
    "Trust": "unknown keep previous",
    "Training (head and blocks)": "epochs block_epochs batch_size optimizer learning_rate block_learning_rate "
    "rate_factor schedule hidden dropout weight_decay label_smoothing class_weights patience clip_norm",
}
_HEADINGS = {name: heading for heading, names in _NAMES.items() for name in names.split()}

CLASSIFIERS = "logistic, linear-svm, rbf-svm, knn, forest, nearest-mean"


def _data_options(command: Command) -> Command:
    """Options about the images."""
    for option in reversed(
        [
            click.option(
                "--task", type=click.Choice(["classification", "regression"]), default="classification",
                show_default=True, help="A class for each image, or a number from a list's column `target`.",
            ),
            click.option("--outside", is_flag=True, help="Let a list name files outside its own folder."),
            click.option("--val", type=float, default=0.15, show_default=True, help="Part for validation."),
            click.option("--test", type=float, default=0.15, show_default=True, help="Part for the test."),
            click.option(
                "--unknown", metavar="SOURCE", help="Images that are no class, to measure the threshold."
            ),
            click.option("--keep", type=float, default=0.95, show_default=True, help="Part of known images to accept."),
            click.option("--previous", metavar="MODEL", help="An older model to compare with."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def _method_options(command: Command) -> Command:
    """Options about what is learned, and how."""
    for option in reversed(
        [
            click.option(
                "--method", type=click.Choice(["sklearn", "head", "blocks"]), default="head", show_default=True,
                help="A scikit-learn classifier, a head, or a head and the top blocks of the network.",
            ),
            click.option("--classifier", metavar="NAME", help=f"For sklearn: {CLASSIFIERS}.  [default: the first]"),
            click.option("--cut", metavar="NAME", help="Where features are taken.  [default: the model's own place]"),
            click.option(
                "--unfreeze", metavar="CUT", help="For blocks: train what lies behind it.  [default: the last block]"
            ),
            click.option("--views", type=int, help="Versions of each training image.  [default: 4; sklearn: 1]"),
            click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror some of the versions."),
            click.option("--quantize", is_flag=True, help="Run the frozen part in int8: faster, slightly less exact."),
            click.option("--seed", type=int, default=0, show_default=True, help="Of everything drawn at random."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def _training_options(command: Command) -> Command:
    """Options that go to `finetune.training.settings.Settings` under the same names."""
    for option in reversed(
        [
            click.option("--epochs", type=int, help="Of the head, at most.  [default: 50]"),
            click.option("--block-epochs", type=int, help="Of head and blocks together, at most.  [default: 8]"),
            click.option("--batch-size", type=int, help="Images in a step.  [default: 32]"),
            click.option("--optimizer", metavar="NAME", help="adamw, adam, momentum, sgd, ...  [default: adamw]"),
            click.option("--learning-rate", type=float, help="Highest rate of the head.  [default: found by a sweep]"),
            click.option("--block-learning-rate", type=float, help="Highest rate in the second phase."),
            click.option("--rate-factor", type=float, help="How much slower blocks learn.  [default: 0.1]"),
            click.option("--schedule", metavar="NAME", help="cosine, one_cycle, exponential, constant."),
            click.option("--hidden", metavar="N,N", help="Units of hidden layers, such as 256.  [default: none]"),
            click.option("--dropout", type=float, help="Part that is dropped.  [default: 0]"),
            click.option("--weight-decay", type=float, help="[default: 0.01]"),
            click.option("--label-smoothing", type=float, help="[default: 0]"),
            click.option("--class-weights", type=click.Choice(["balanced"]), help="Let rare classes count more."),
            click.option("--patience", type=int, help="End after so many epochs without gain.  [default: 10]"),
            click.option("--clip-norm", type=float, help="Longest gradient.  [default: any]"),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


class _Grouped(click.Command):
    """Shows its options under headings: there are too many for one list."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, the first headings for everybody and the last for those who tune."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(_HEADINGS.get(str(parameter.name), "Running"), []).append(record)
        for heading in dict.fromkeys([*_HEADINGS.values(), "Running"]):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


@click.command(cls=_Grouped)
@click.argument("source")
@model_option
@_method_options
@_data_options
@_training_options
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Folder to write.  [default: SOURCE's name-model]"
)
@click.option("--resume", is_flag=True, help="Go on where an earlier run in the folder ended.")
@click.option(
    "--cache/--no-cache", default=True, show_default=True, help="Remember features by the image's content."
)
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
    as_json: bool,
    device: str,
    threads: int | None,
    outside: bool,
    unknown: str | None,
    previous: str | None,
    **options: Any,
) -> None:
    """Teach a pretrained network your own classes, and write one model file with a report.

    SOURCE is a folder with a folder of images for each class, a zip archive of one, or a list (.csv, .jsonl) with the
    columns path and label; folders train, val and test above the classes are respected. The folder that is written
    holds model.onnx, which `graft classify`, `serve` and `evaluate` take as it is, and report.html.
    """
    from finetune.dataset.opening import open_dataset
    from finetune.job.folder import PLAN, free_folder
    from finetune.job.run import finetune
    from service.cli.finetune.progress import watching

    recipe = _recipe(options)
    dataset = open_dataset(source, recipe.task, outside=outside)
    base = Path(f"{Path(source).resolve().stem or 'my'}-model")
    folder = out or (base if resume else free_folder(base))
    try:
        with watching() as observer:
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
                observer=observer,
            )
    except KeyboardInterrupt:  # in training it ends well; elsewhere there is nothing better to keep
        if (folder / PLAN).is_file():
            click.secho(f"Interrupted; what was done is kept. {_resumed(folder)}", err=True, fg="yellow")
        ctx.exit(130)
    if as_json:
        report = json.loads(outcome.report.with_suffix(".json").read_text(encoding="utf-8"))
        click.echo(json.dumps({"path": str(outcome.model), "page": str(outcome.report), **report}, indent=2))
    else:
        _print(outcome)
    if outcome.interrupted:
        click.secho(
            f"Interrupted: the model is the best until then. {_resumed(folder)}", err=True, fg="yellow"
        )
        ctx.exit(130)


def _resumed(folder: Path) -> str:
    return f"Go on with the same command and: --out {shlex.quote(str(folder))} --resume"


def _recipe(options: dict[str, Any]) -> Any:
    """The recipe that the options describe.

    Raises:
        InputError: settings that do not go together.
    """
    from finetune.job.recipe import Recipe
    from finetune.training.settings import Settings
    from models.errors import InputError

    names = {field.name for field in dataclasses.fields(Settings)}
    training = {name: options.pop(name) for name in list(options) if name in names - {"seed"}}
    given = {name: value for name, value in training.items() if value is not None}
    if "hidden" in given:
        try:
            given["hidden"] = tuple(int(units) for units in given["hidden"].split(",") if units)
        except ValueError as exc:
            raise InputError(
                f"--hidden is {given['hidden']!r}; expected whole numbers with commas, such as 256."
            ) from exc
    if given and options["method"] == "sklearn":
        raise InputError(
            f"{', '.join('--' + name.replace('_', '-') for name in given)}: for --method head or blocks; "
            "scikit-learn's classifiers choose their settings by cross-validation."
        )
    options["classifier"] = options["classifier"] or ""
    return Recipe(**options, training=Settings(**given, seed=options["seed"]))


def _print(outcome: Outcome) -> None:
    found = outcome.findings
    if found is None:
        click.echo(f"{outcome.model}: the run had finished; nothing was left to do.")
        return
    from finetune.report.summary import summarise
    from finetune.report.verdict import judge

    measured = summarise(found)
    verdict = judge(found, measured)
    click.echo("")
    for sentence in (verdict.figure, verdict.trust, verdict.advice, *_asked(found, measured)):
        click.echo(textwrap.fill(clean(sentence), terminal_width()))
    click.echo("")
    rows = [("model", f"{outcome.model} ({size(found.file_bytes or 0)})"), ("report", str(outcome.report))]
    if found.proof:
        same = f"a fresh process gives the same answers for {found.proof.images} images, to {found.proof.largest:.1g}"
        rows.append(("proof", same))
    rows.append(("time", ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in _longest(found.timings))))
    click.echo(columns(rows))
    click.echo("\nTry:")
    for line in found.commands[:3]:
        click.echo(f"  {line}")  # whole, to be copied


def _asked(found: Findings, measured: Summary) -> Iterator[str]:
    """Answers to what was asked with --previous and --unknown."""
    kinds = measured.classification or measured.regression
    if found.previous is not None and kinds is not None and kinds.comparison is not None:
        yield f"Compared with {found.previous.name}: {kinds.comparison.words()}"
    rejected = measured.classification.rejection if measured.classification else None
    if rejected is not None and rejected.unknown_rejected is not None and rejected.auroc is not None:
        unknown, known = rejected.unknown_rejected, rejected.known_rejected
        yield (
            f"None of these: {percent(unknown.value)} of {unknown.images:,} unknown images are told so, and "
            f"{percent(known.value)} of the test images (AUROC {rejected.auroc:.3f})."
        )


def _longest(timings: Mapping[str, float]) -> list[tuple[str, float]]:
    """The stages that took at least a second, in their order."""
    return [(stage, seconds) for stage, seconds in timings.items() if seconds >= 1]
