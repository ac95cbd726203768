"""Ends `graft features` with SIGKILL at random moments, resumes it until it is done, and compares every byte.

python -m tests.feature_extraction.killing --model builtin --rounds 100
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fixtures import encoded, photo

ROOT = Path(__file__).parents[2]
FORMATS = ("npy", "npz", "parquet", "jsonl")
IMAGES = 200
# The command itself, with parts of 16 images: so there are many files and lines of the manifest to be ended in. It
# ends itself instead of the step to the disk with the given number.
_COMMAND = """
import os, signal
from feature_extraction import part_files
left = int(os.environ.get("KILL_AT_STEP", -1))
def counted(real):
    def step(*args):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*args)
    return step
os.fsync, os.replace = counted(os.fsync), counted(os.replace)
part_files.PART_IMAGES = 16
from service.cli import main
main(prog_name="graft")
"""


@dataclass
class Outcome:
    """How often a process was ended before it was done, and with how many parts in the manifest."""

    kills: int = 0
    parts: Counter[int] = field(default_factory=Counter)
    leftovers: int = 0  # files that a killed process had not finished


def photos(folder: Path) -> Path:
    """A folder of small JPEGs, three of them broken."""
    folder.mkdir()
    for i in range(IMAGES):
        (folder / f"{i:03}.jpg").write_bytes(encoded(photo((80, 60), seed=i), "JPEG", quality=90))
    for name in ("000.jpg", "100.jpg", "199.jpg"):
        (folder / name).write_bytes((folder / name).read_bytes()[:300])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def start(arguments: list[str], cache: Path, step: int = -1) -> subprocess.Popen[bytes]:
    """`graft features` as a process of its own, which is killed at a step (fsync or rename) unless it is negative."""
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "features", *arguments],
        cwd=ROOT,
        env=os.environ | {"GRAFT_CACHE": str(cache), "KILL_AT_STEP": str(step)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def kill_until_done(
    arguments: list[str], out: Path, cache: Path, longest: float, dice: random.Random
) -> Outcome:
    """Start, kill after some time and start again with `--resume`, until a run ends by itself.

    `longest`: seconds after which a process is killed at the latest; it grows, so that there is an end.
    """
    outcome = Outcome()
    while True:
        process = start([*arguments, "--out", str(out), "--resume"], cache)
        try:
            _, errors = process.communicate(timeout=dice.uniform(0, longest * 1.1**outcome.kills))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            if process.returncode == -signal.SIGKILL:
                outcome.kills += 1
                manifest = out / "manifest.jsonl"
                outcome.parts[manifest.read_bytes().count(b"\n") if manifest.exists() else 0] += 1
                outcome.leftovers += any(out.glob(".part*"))
                continue
            errors = b""
        assert process.returncode == 1, errors.decode()  # three images are broken
        return outcome


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dice = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = str(photos(folder / "photos"))
        whole, longest = {}, 0.0
        for form in FORMATS:
            began = time.monotonic()
            command = [source, "--model", args.model, "--format", form]
            whole_run = start([*command, "--no-cache", "--out", str(folder / form)], folder / "none")
            _, errors = whole_run.communicate()
            assert whole_run.returncode == 1, errors.decode()
            longest = max(longest, time.monotonic() - began)
            whole[form] = contents(folder / form)
        total = Outcome()
        for number in range(args.rounds):
            form = FORMATS[number % len(FORMATS)]
            out, cache = folder / f"out{number}", folder / f"cache{number % 5}"
            command = [source, "--model", args.model, "--format", form]
            command += ["--no-cache"] if number % 3 == 0 else []
            outcome = kill_until_done(command, out, cache, longest, dice)
            assert contents(out) == whole[form], f"round {number}, {form}: the bytes differ"
            total.kills += outcome.kills
            total.parts += outcome.parts
            total.leftovers += outcome.leftovers
        print(
            f"{args.rounds} rounds, {total.kills} kills, {total.leftovers} half-written files, all bytes equal"
        )
        print("lines of the manifest when killed:", dict(sorted(total.parts.items())))


if __name__ == "__main__":
    main()
