"""Options that several commands have, and how a model is opened with them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from finetune.dataset.list_options import ListOptions
from models.config import DEFAULT_MODEL, MODEL_HELP, RuntimeConfig
from models.errors import InputError
from models.settings import Setting, settings_of
from service.cli.terminal.messages import print_guesses
from service.cli.terminal.progress import download_progress

if TYPE_CHECKING:
    from models.model import Model

Command = TypeVar("Command", bound=Callable[..., Any])


class HeadedOption(click.Option):
    """An option that help shows under a heading."""

    def __init__(self, *names: Any, heading: str = "", **attributes: Any) -> None:
        super().__init__(*names, **attributes)
        self.heading = heading


class GroupedCommand(click.Command):
    """Shows its options under headings: there are too many for one list."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, the first headings for everybody and the last for those who tune."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "heading", ""), []).append(record)
        for heading in sorted(groups, key=lambda heading: not heading):
            with formatter.section(heading or "Running"):
                formatter.write_dl(groups[heading])


class _Value(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """What a setting takes, refused with the sentence that Python code is refused with."""

    def __init__(self, setting: Setting) -> None:
        self.name, self._setting = setting.name, setting

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._setting.parse(value) if isinstance(value, str) else value
        except InputError as exc:
            self.fail(str(exc), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(word) for word in self._setting.choices if word.startswith(incomplete)]


def setting_options(
    kind: type, *chosen: str, flags: Mapping[str, Sequence[str]] = MappingProxyType({}), **attributes: Any
) -> Callable[[Command], Command]:
    """A decorator that adds the options of a dataclass's settings, all or those chosen.

    `flags`: short names for some, or other long ones; `attributes`: of click's options, in place of those derived.
    """
    settings = settings_of(kind)

    def decorate(command: Command) -> Command:
        for name in reversed(chosen or list(settings)):
            names = flags.get(name, ())
            if not any(flag.startswith("--") for flag in names):
                names = (_long(settings[name]), *names)
            command = click.option(*names, name, cls=HeadedOption, **(_derived(settings[name]) | attributes))(
                command
            )
        return command

    return decorate


def _long(setting: Setting) -> str:
    dashed = setting.name.replace("_", "-")
    return f"--{dashed}/--no-{dashed}" if setting.kind is bool and setting.default else f"--{dashed}"


def _derived(setting: Setting) -> dict[str, Any]:
    """What click's option takes."""
    common = {"default": setting.default, "help": setting.described, "heading": setting.heading}
    if setting.kind is bool:
        return common | {"is_flag": True}
    name = setting.placeholder
    return common | {"type": _Value(setting), "metavar": f"[{name}]" if "|" in name else name}


model_option = click.option(
    "--model", "-m", default=DEFAULT_MODEL, show_default=True, metavar="MODEL", help=MODEL_HELP
)
outside_option = click.option(
    "--outside",
    is_flag=True,
    help="Let a list name files outside its own folder.",
    cls=HeadedOption,
    heading="Images",
)
_LIST_HELP = {one.name: one.metadata["help"] for one in dataclasses.fields(ListOptions)}


def allow_urls_option(command: Command) -> Command:
    """Add --allow-urls, a tuple of hosts as `allow_urls`."""
    option = click.option(
        "--allow-urls", default="", metavar="HOST,HOST", help=_LIST_HELP["allow_urls"], show_default="none",
        callback=lambda ctx, param, value: tuple(filter(None, value.split(","))),
        cls=HeadedOption, heading="Images",
    )  # fmt: skip
    return option(command)


def list_options(command: Command) -> Command:
    """Add --outside, --images, --path-column and the others of `ListOptions`: `outside`, and the rest as `lists`."""

    @functools.wraps(command)
    def with_lists(*arguments: Any, **options: Any) -> Any:
        lists = ListOptions(**{one.name: options.pop(one.name) for one in dataclasses.fields(ListOptions)})
        return command(*arguments, lists=lists, **options)

    decorated: Any = allow_urls_option(with_lists)
    columns = (("label_separator", "SIGN"), ("label_column", "NAME"), ("path_column", "NAME"))
    for name, metavar in (*columns, ("images", "FOLDER")):
        flag = f"--{name.replace('_', '-')}"
        decorated = click.option(
            flag, name, metavar=metavar, help=_LIST_HELP[name], cls=HeadedOption, heading="Images"
        )(decorated)
    return outside_option(decorated)  # type: ignore[no-any-return]


cache_option = click.option(
    "--cache/--no-cache", default=True, show_default=True, help="Remember features by the image's content."
)
device_option = setting_options(RuntimeConfig, "device")
device_options = setting_options(RuntimeConfig, "device", "threads")


def open_model(spec: str, device: str, threads: int | None, *, outputs: Sequence[str] | None = None) -> Model:
    """Open a model for many images; what had to be guessed about it goes to standard error.

    Raises:
        GraftError: as `Model.open`.
    """
    from models.model import Model  # help needs no onnxruntime

    config = RuntimeConfig(device, threads)
    with download_progress() as progress:
        model = Model.open(spec, config, outputs=outputs, progress=progress)
    print_guesses(spec, model.notes)
    return model
