"""What the commands about datasets have in common: their options, and how a source is inspected."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from finetune.dataset.list_options import ListOptions
from finetune.job.recipe import Recipe
from models.config import DEFAULT_MODEL
from service.cli.terminal.options import Command, device_options, list_options, setting_options
from service.cli.terminal.progress import download_progress, images_progress

if TYPE_CHECKING:
    from finetune.dataset.inspection import Inspection, Stage
    from finetune.dataset.task import Task

_OPTIONS = (
    click.argument("source"),
    click.option(
        "--model", "-m", default=DEFAULT_MODEL, show_default=True, metavar="MODEL",
        help="Whose features are compared: a name from `graft models list`, or an ONNX file.",
    ),
    click.option("--no-model", is_flag=True, help="Run no network: labels are not judged then."),
    setting_options(Recipe, "task"),
    list_options,
    device_options,
)  # fmt: skip


def source_options(command: Command) -> Command:
    """Add SOURCE, --model, --no-model, --task, --device, --threads, and what says how a list is read."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def inspected(
    source: str,
    model: str,
    no_model: bool,
    task: str,
    outside: bool,
    lists: ListOptions,
    device: str,
    threads: int | None,
) -> Inspection:
    """What is found in a source, with a bar of progress while it is looked at."""
    from finetune.dataset.inspection import inspect
    from finetune.dataset.opening import open_dataset
    from models.locating import locate
    from models.runtime import RuntimeConfig

    dataset = open_dataset(source, cast("Task", task), outside=outside, lists=lists)
    if not no_model:
        with download_progress() as download:
            locate(model, progress=download)
    total = len(dataset.examples)
    with images_progress((2 if no_model else 3) * total, then="comparing them") as bar:

        def stage(name: str) -> Stage:
            offset = total * ("read", "sharpness", "embed").index(name)
            return lambda done, _: bar(offset + done)

        return inspect(dataset, None if no_model else model, RuntimeConfig(device, threads), progress=stage)
