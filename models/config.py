"""How models run. Nothing heavy is imported: help of commands reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from models.settings import fresh_setting, setting, settings

DEFAULT_MODEL = "builtin"
MODEL_HELP = "A name from `graft models list`, or an ONNX file."


@settings
class RuntimeConfig:
    """How sessions run. For devices see `models.devices`."""

    device: str = setting("auto", "auto, cpu, cuda, cuda:1, ...", metavar="DEVICE")
    threads: int | None = setting(None, "Threads of one run of the model.", unset="one a core", least=1)
    spinning: bool = setting(
        False,
        "Let threads that wait for work keep a core busy, which takes it from those that decode: only for a network "
        "that has the machine to itself.",
    )
    warm_up: bool = setting(False, "Run each new session once, so that no caller pays for it.")
    profile: Path | None = setting(
        None, "Where onnxruntime writes a profile.", unset="nowhere", metavar="FILE"
    )
    memory_pattern: bool = setting(
        True, "Plan the memory of a run as one block, beside what the first run took."
    )
    optimized: bool = setting(True, "Let onnxruntime fuse and replace nodes, which changes the last bits.")
    provider_options: Mapping[str, str] = fresh_setting(
        dict, "Options of the execution provider, as they are."
    )
    session_options: Mapping[str, str] = fresh_setting(dict, 'onnxruntime\'s "session.*" entries.')
