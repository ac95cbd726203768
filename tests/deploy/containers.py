"""Images that buildah has built, run as a runtime of containers would: by their own settings, closed, on this network.

Namespaces and mounts are those of util-linux; no daemon takes part.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.deploy.running import PATIENCE_S, Process, awaited

# $1: the root. The rest: what is mounted there, as pairs; then --, and what runs, which becomes the first process.
_RUN = """
set -eu
root=$1; shift
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")"; touch "$root$2"; fi
    mount --bind "$1" "$root$2"; mount -o remount,bind,ro "$root$2"; shift 2
done
shift
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/cache"
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"""


def buildah(store: Path, *arguments: str | Path) -> str:
    """What buildah says about a store of images."""
    command = ["buildah", "--root", store / "images", "--runroot", store / "run", "--storage-driver", "vfs"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    """An image, its files unpacked."""

    root: Path
    settings: Mapping[str, Any]  # as Docker names them: User, Env, Entrypoint, Healthcheck

    @classmethod
    def of(cls, store: Path, name: str) -> Image:
        """An image of a store."""
        settings = json.loads(buildah(store, "inspect", "--type", "image", name))["Docker"]["config"]
        return cls(Path(buildah(store, "mount", buildah(store, "from", "--pull-never", name))), settings)

    @property
    def packages(self) -> dict[str, int]:
        """Bytes of everything that was installed, by its name in the folder of packages; "" for the rest."""
        top, sizes = self.root / "opt" / "graft", dict[str, int]()
        (site,) = top.glob("lib/python3*/site-packages")
        for path in top.rglob("*"):
            if not path.is_symlink() and path.is_file():
                name = path.relative_to(site).parts[0] if path.is_relative_to(site) else ""
                sizes[name] = sizes.get(name, 0) + path.stat().st_size
        return sizes

    def closed(self, command: list[str], environment: Mapping[str, str]) -> list[str]:
        """A command as the user of the image, without privileges, in its environment."""
        user = self.settings["User"]
        variables = [*self.settings["Env"], *(f"{name}={value}" for name, value in environment.items())]
        return [
            "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
            "--bounding-set=-all", "env", "-i", *variables, *command,
        ]  # fmt: skip


class Container:
    """A running image: its entry point with some arguments, folders of this machine mounted, and variables."""

    def __init__(
        self,
        image: Image,
        log: Path,
        *arguments: str,
        mounts: Mapping[Path, str] | None = None,
        **variables: str,
    ) -> None:
        self._image, self._variables = image, variables
        pairs = [str(word) for pair in (mounts or {}).items() for word in pair]
        self.process = Process(
            log, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _RUN, "sh", image.root, *pairs,
            "--", *image.closed([*image.settings["Entrypoint"], *arguments], variables),
        )  # fmt: skip
        parent = self.process.running.pid
        children = Path(f"/proc/{parent}/task/{parent}/children")
        self.pid = int(awaited("the container has begun", lambda: children.read_text().split())[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # unshare ends with what it has begun. It does not end that itself: the change of user undoes `--kill-child`.
        with contextlib.suppress(ProcessLookupError):
            if self.process.running.poll() is None:
                os.kill(self.pid, signal.SIGKILL)
        self.process.running.wait(PATIENCE_S)

    def healthy(self) -> tuple[int, str]:
        """Exit code and words of the health check of the image, in the container."""
        test = self._image.settings["Healthcheck"]["Test"]
        assert test[0] == "CMD"
        return self.run(*test[1:])

    def run(self, *command: str) -> tuple[int, str]:
        """Exit code and words of another command in the container, as `docker exec` runs it."""
        inside = [
            "nsenter", f"--target={self.pid}", "--mount", "--pid", "chroot", str(self._image.root),
            *self._image.closed(list(command), self._variables),
        ]  # fmt: skip
        done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        return done.returncode, done.stdout + done.stderr

    def libraries(self) -> set[str]:
        """The files that its first process has loaded, by their names."""
        lines = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        return {Path(line.split(maxsplit=5)[5]).name for line in lines if line.count("/")}

    def stop(self) -> int:
        """Tell it to stop, as `docker stop` does; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.running.wait(PATIENCE_S)

    def status(self) -> dict[str, str]:
        """What the system says of its first process: users, capabilities."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
