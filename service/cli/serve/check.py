"""`graft serve --check`: what would be served, without a socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from models.card import ModelCard
from models.errors import GraftError, InputError
from models.files import check_writable
from models.model import Model
from models.settings import Setting
from service.cli.terminal.messages import print_error, print_guesses, print_warning
from service.cli.terminal.text import clean, fit, width_of
from service.config import ServiceConfig, service_settings
from service.configuration import Configuration
from service.jobs.opening import learners
from service.lifecycle import require_grpc
from service.monitoring.proving import proven
from service.monitoring.shadow import check_pair
from service.monitoring.shadows import rules_of
from service.observing import open_tracing
from service.permissions import too_open
from service.planning import all_cores
from service.registry import STABLE
from service.safety import guard_of
from service.sources import Source, labels, sources
from service.tls import tls_of
from service.tokens import SCOPES, read_tokens

Thing = TypeVar("Thing")


def check(configuration: Configuration) -> bool:
    """Print what would be served and where each setting comes from. Returns whether all of it would work."""
    config, failures = configuration.config, list[GraftError]()
    scheme = "https" if config.cert is not None else "http"
    click.echo(f"Would listen on {clean(config.host)} port {config.port}, {scheme}")
    if config.grpc_port is not None:
        click.echo(f"Would listen on {clean(config.host)} port {config.grpc_port}, gRPC")
        _caught(lambda: [require_grpc()], failures)
    wanted = _caught(lambda: sources(config.models), failures)
    cards = dict[tuple[str, int], ModelCard]()
    _print("models", [_model(source, configuration, cards, failures) for source in wanted])
    stand = _caught(lambda: labels(config.labels), failures)
    for label in stand:
        if (label.name, label.version) not in {(source.name, source.version) for source in wanted}:
            failures.append(InputError(f"the label {label} stands for a version that is not served."))
    _check_shadows(config, cards, failures)
    if config.cert is not None and config.key is not None:
        _print("TLS", _certificate(config, failures))
    if config.tokens is not None:
        _print("tokens", _tokens(Path(config.tokens), failures))
    if config.workspace is not None:
        for guard in _caught(lambda: [guard_of(config)], []):  # tokens that cannot be read are told already
            click.echo(f"Would teach in {clean(config.workspace)}: {learners(guard)}")
        try:
            check_writable(Path(config.workspace) / "workspace.db")
        except GraftError as exc:
            failures.append(exc)
    failures += [
        InputError(f"{folder}: no folder; --{option} takes folders that exist.")
        for option, folders in (("repository", config.repository), ("datasets-root", config.datasets_root))
        for folder in folders
        if not Path(folder).is_dir()
    ]
    if config.tracing:
        _caught(lambda: [open_tracing()], failures)
    known = service_settings()
    _print(
        "settings",
        [
            (name, configuration.origins[name], _shown(known[name], value))
            for name, value in configuration.values.items()
        ],
    )
    for failure in failures:
        print_error(failure)
    return not failures


def _caught(call: Callable[[], list[Thing]], failures: list[GraftError]) -> list[Thing]:
    """What a call gives; nothing, and one failure, where it raises."""
    try:
        return call()
    except GraftError as exc:
        failures.append(exc)
        return []


def _model(
    source: Source,
    configuration: Configuration,
    cards: dict[tuple[str, int], ModelCard],
    failures: list[GraftError],
) -> tuple[str, str, str, str]:
    """The row of a version, whose card goes to `cards`; why it would not be served goes to `failures`."""
    try:
        what, cards[source.name, source.version] = _described(source, configuration)
    except GraftError as exc:
        failures.append(exc)
        what = "fails"
    return source.name, f"version {source.version}", what, source.spec


def _check_shadows(
    config: ServiceConfig, cards: Mapping[tuple[str, int], ModelCard], failures: list[GraftError]
) -> None:
    """Why a shadow would not be."""
    marked = {(one.name, one.label): one.version for one in _caught(lambda: labels(config.labels), [])}
    newest = dict(sorted(cards))
    rules = _caught(lambda: rules_of(config.shadows, config.shadow_share, config.shadow_threshold), failures)
    for rule in rules:
        first = rule.first, marked.get((rule.first, STABLE), newest.get(rule.first, 0))
        second = rule.second, rule.version or marked.get((rule.second, STABLE), newest.get(rule.second, 0))
        missing = [name for name, version in (first, second) if (name, version) not in cards]
        if missing or first == second:
            why = f"{missing[0]} is not served, or not that version" if missing else "a model answers itself"
            failures.append(InputError(f"the shadow {rule} cannot be: {why}."))
        else:
            try:
                check_pair(cards[first], cards[second])
            except GraftError as exc:
                failures.append(exc)


def _described(source: Source, configuration: Configuration) -> tuple[str, ModelCard]:
    """What a model is, opened as it would be served, and its card."""
    model = Model.open(source.spec, all_cores(configuration.config.runtime))
    print_guesses(source.name, model.notes)
    device, labels = model.session.device, model.card.labels
    classes = f", {len(labels):,} classes" if labels else ""
    proof = proven(model, source.spec, anyway=configuration.config.no_proof)
    if proof.state == "failed":
        print_warning(f"served all the same: {proof.note}")
    text = f"{model.card.task}{classes}, on {device} ({device.reason}), proof: {proof.state}"
    return text, model.card


def _certificate(config: ServiceConfig, failures: list[GraftError]) -> list[tuple[str, ...]]:
    try:
        tls_of(config)
    except GraftError as exc:
        failures.append(exc)
        return []
    if warning := too_open(Path(config.key or "")):
        print_warning(warning)
    return [("certificate", str(config.cert)), ("key", str(config.key))]


def _tokens(file: Path, failures: list[GraftError]) -> list[tuple[str, ...]]:
    """A row for each scope: how many tokens have it."""
    try:
        tokens = read_tokens(file)
    except GraftError as exc:
        failures.append(exc)
        return []
    if warning := too_open(file):
        print_warning(warning)
    return [(scope, f"{tokens.count(scope)}", str(file)) for scope in SCOPES]


def _shown(known: Setting, value: object) -> str:
    """A value of a setting as people write it."""
    if value in (None, ()):
        return known.unset or "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _print(heading: str, rows: list[tuple[str, ...]]) -> None:
    """Rows in columns that line up, without the breaks that would take paths apart."""
    if not rows:
        return
    cells = [tuple(map(clean, row)) for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)][:-1]
    click.echo(f"\n{heading}")
    for row in cells:
        click.echo("  ".join(["", *map(fit, row, widths), row[-1]]))
