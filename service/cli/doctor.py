"""`graft doctor`: what is here, what is missing?"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import click
import onnxruntime

from models.cores import cores
from models.devices import PROVIDERS, choose_device, missing_for_cuda
from models.errors import GraftError
from models.extras import LEFT_OUT, how_to_install
from models.model import Model
from models.processor import processor
from models.runtime import RuntimeConfig
from models.store import cache_folder
from models.version import __version__
from models.wording import percent, size
from models.zoo import BUILTIN, find
from service.cli.terminal.text import clean, columns
from service.monitoring.proving import proven

_PACKAGES = ("numpy", "onnx", "pillow", "scikit-learn", "flask", "h11", "prometheus-client", "safetensors")
# package: what for, and the extra of pyproject.toml that brings it
OPTIONAL = {
    "pillow-heif": ("reads HEIC and HEIF photos", "heif"),
    "grpcio": ("answers gRPC", "grpc"),
    "h5py": ("reads Keras weights", "keras"),
    "pyarrow": ("reads and writes Parquet files", "parquet"),
    "s3fs": ("reads and writes s3://", "stores"),
    "gcsfs": ("reads and writes gs://", "stores"),
    "huggingface_hub": ("reads and writes hf://", "stores"),
    "ray": ("makes parts of an extraction", "ray"),
    "pyspark": ("makes parts of an extraction", "spark"),
    "distributed": ("makes parts of an extraction", "dask"),
    "opentelemetry-sdk": ("makes traces of requests", "tracing"),
    "tensorboardX": ("writes curves for TensorBoard", "tensorboard"),
}

# What processors have on which OpenVINO was measured to be faster; docs/devices.md has the figures.
_FASTER_WITH_OPENVINO = {"x86_64", "avx512_vnni"}


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--device", default="auto", show_default=True, help="Device to look at: auto, cpu, cuda, ...")
@click.pass_context
def command(ctx: click.Context, models: tuple[str, ...], device: str) -> None:
    """Tell versions, devices and what is missing.

    MODEL is a name or a file: does it compute here what it computed where it was written? The exit code is 1 where one
    does not, or the built-in model does not run on the chosen device.
    """
    works, model = _builtin(device)
    named = [(spec, *_named(spec, device)) for spec in models]
    rows = [
        *_software(),
        ("", ""),
        *_devices(device),
        ("", ""),
        ("cache", _cache()),
        ("built-in model", model),
        *((clean(spec), clean(what)) for spec, _, what in named),
    ]
    click.echo(columns(rows))
    if not works or not all(holds for _, holds, _ in named):
        ctx.exit(1)


def _software() -> Iterator[tuple[str, str]]:
    yield "graft", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    few = f", of which this process may use {cores()}" if cores() != os.cpu_count() else ""
    yield "platform", f"{platform.platform()}, {os.cpu_count()} cores{few}"
    yield "processor", processor()
    installed = [
        name for name in ("onnxruntime-gpu", "onnxruntime", "onnxruntime-openvino") if _version(name)
    ]
    note = "; two packages write to one folder: uninstall both, install one" if len(installed) > 1 else ""
    yield "onnxruntime", f"{onnxruntime.__version__} ({', '.join(installed) or 'built by hand'}){note}"
    for name in _PACKAGES:
        left_out = "not installed; the image `serve` is made without it, `cpu` has it"
        yield name, _version(name) or (left_out if name in LEFT_OUT else "missing; install Graft again")
    for name, (use, extra) in OPTIONAL.items():
        yield name, _version(name) or f"not installed; {use}: {how_to_install(extra)}"


def _devices(device: str) -> Iterator[tuple[str, str]]:
    available = onnxruntime.get_available_providers()
    yield "providers", ", ".join(kind for kind, name in PROVIDERS.items() if name in available)
    missing = missing_for_cuda(0)
    yield "cuda", f"no: {missing}" if missing else "yes"
    if missing and (advice := _openvino(available)):
        yield "openvino", advice
    try:
        chosen = choose_device(device)
        yield "device", str(chosen) if missing and missing in chosen.reason else f"{chosen} ({chosen.reason})"
    except GraftError as exc:
        yield "device", str(exc)


def _openvino(providers: Sequence[str]) -> str:
    """What another build of onnxruntime would bring on this kind of processor, where that was measured."""
    if not _FASTER_WITH_OPENVINO.issubset(processor().split()):
        return ""
    faster = (
        "int8 networks run up to 1.4 times as fast with it on this kind of processor, others may be slower"
    )
    if PROVIDERS["openvino"] in providers:
        return f"yes; {faster}: --device openvino"
    return f"not installed; {faster}: docs/devices.md"


def _cache() -> str:
    folder = cache_folder()
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return f"{clean(str(folder))}, {len(files)} files, {size(sum(path.stat().st_size for path in files))}"


def _builtin(device: str) -> tuple[bool, str]:
    row = find(BUILTIN)
    path = row.file if row else Path(BUILTIN)
    try:
        model = Model.open(BUILTIN, RuntimeConfig(device, warm_up=True))
    except GraftError as exc:
        return False, str(exc)
    measured = f", top-1 {percent(model.card.accuracy[0].top1)}" if model.card.accuracy else ""
    return (
        True,
        f"runs on {model.session.device}; {len(model.card.labels)} classes{measured}, {size(path.stat().st_size)}",
    )


def _named(spec: str, device: str) -> tuple[bool, str]:
    """Whether a model runs and gives its stored answers, and what is said of it."""
    try:
        model = Model.open(spec, RuntimeConfig(device))
        proof = proven(model, spec)
    except GraftError as exc:
        return False, str(exc)
    return True, f"runs on {model.session.device}; proof: {proof.state}; {proof.note}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
