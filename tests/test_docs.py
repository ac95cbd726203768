"""Every block of commands in the README and in docs/ runs, in a folder as a reader might have it."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from finetune.classifiers.families import CLASSIFIERS, REGRESSORS
from models.zoo import ZOO
from tests.fixtures import reserved_port
from tests.models.nets import residual_net

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos, a labelled set, and a network of the reader's own."""
    photos = Path(skimage.__file__).parent / "data"
    (tmp_path / "photos").mkdir()
    for name in ("coffee.png", "chelsea.png", "rocket.jpg"):
        shutil.copy(photos / name, tmp_path / "photos")
    for label, name in (("cup", "coffee.png"), ("cat", "chelsea.png"), ("rocket", "rocket.jpg")):
        (tmp_path / "test_set" / label).mkdir(parents=True)
        shutil.copy(photos / name, tmp_path / "test_set" / label)
    for label, name in (("cup", "coffee.png"), ("cat", "chelsea.png"), ("rocket", "rocket.jpg")):
        views(Image.open(photos / name).convert("RGB"), tmp_path / "my_photos" / label)
    residual_net(tmp_path / "my_network.onnx", classes=3)
    (tmp_path / "my_labels.txt").write_text("cat\ncup\nrocket\n", encoding="utf-8")
    return tmp_path


def views(photo: Image.Image, folder: Path, count: int = 16) -> None:
    """Parts of a photo as photos of their own: a small labelled set."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        side = int(min(photo.size) * rng.uniform(0.4, 0.8))
        left, top = (int(rng.integers(0, length - side)) for length in photo.size)
        photo.crop((left, top, left + side, top + side)).save(folder / f"{i:02}.jpg", quality=90)


@pytest.mark.smoke
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page: Path, folder: Path) -> None:
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    # What runs in the background, a server, ends before the shell does.
    script = ["set -euo pipefail", "trap 'jobs -p | xargs -r kill; wait' EXIT"]
    for i, (language, text) in enumerate(blocks):
        if language == "python":
            (folder / f"block{i}.py").write_text(text, encoding="utf-8")
            text = f"python block{i}.py\n"
        script.append(text)
    scripts = sysconfig.get_path("scripts")
    environment = os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        # A service measures no model before it is ready, and lets no load balancer hear of its end.
        "GRAFT_SERVE_MEASURE_S": "0",
        "GRAFT_SERVE_DRAIN_S": "0",
    }
    log = folder / "output.txt"
    with (
        reserved_port() as port,
        log.open("w") as output,
        subprocess.Popen(
            ["bash", "-c", re.sub(r"\b8000\b", str(port), "\n".join(script))],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as shell,
    ):
        try:
            code = shell.wait(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing was left
                os.killpg(shell.pid, signal.SIGKILL)
    assert code == 0, log.read_text()


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


LISTS: dict[str, set[str]] = {
    "models.md": {row.name for row in ZOO},
    "finetune.md": {*CLASSIFIERS, *REGRESSORS},
}


@pytest.mark.parametrize("name", LISTS)
def test_page_names_all_that_there_is(name: str) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert set(re.findall(r"`(?:--classifier )?([^`\n]+)`", text)) >= LISTS[name]


PLACE = re.compile(
    r"^(?:models|feature_extraction|finetune|service|graft|tests|scripts|examples|docs)/[\w./-]*$"
)
DOTTED = re.compile(r"^(?:models|feature_extraction|finetune|service|graft)(?:\.\w+)+$")


@pytest.mark.parametrize("name", ["docs/design.md", "CONTRIBUTING.md"])
def test_files_folders_and_modules_that_are_named_exist(name: str) -> None:
    words = re.findall(r"`([^`\n]+)`", (ROOT / name).read_text(encoding="utf-8"))
    places = [word for word in words if PLACE.match(word)]
    assert len(places) > 5
    assert [place for place in places if not (ROOT / place).exists()] == []
    for word in filter(DOTTED.match, words):
        pkgutil.resolve_name(word)


def test_rooms_of_the_house_plan_are_all_rooms_and_hold_what_they_name() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").partition("## The house plan")[2]
    rows = re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", text, re.M)
    named = {room for room, _ in rows} | set(re.findall(r"`([\w/]+)/`", text))
    packages = {
        path.parent.relative_to(ROOT).as_posix()
        for package in ("models", "feature_extraction", "finetune", "service")
        for path in (ROOT / package).glob("*/__init__.py")
    }
    assert packages <= named
    for room, held in rows:
        for module in re.findall(r"`(\w+)/?`", held):
            assert (ROOT / room / module).is_dir() or (ROOT / room / f"{module}.py").is_file(), (
                f"{room}/{module}"
            )


def test_five_walks_have_eight_hops_at_most_each_at_a_file() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    walks = re.split(r"^\*\*", text.partition("## Five walks")[2].partition("\n## ")[0], flags=re.M)[1:]
    assert len(walks) == 5
    for walk in walks:
        hops = re.findall(r"^(\d)\. (`[\w/]+\.py`)?", walk, re.M)
        assert [int(number) for number, _ in hops] == list(range(1, len(hops) + 1))
        assert 3 <= len(hops) <= 8
        assert all(file for _, file in hops), walk


@pytest.mark.skipif(sys.platform == "win32", reason="make is not part of Windows")
def test_readme_names_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M))
    assert named
    assert named <= targets


def test_each_target_with_tests_is_run_by_ci_and_named_to_contributors() -> None:
    """But for those that it cannot run, which CI says."""
    texts = {
        name: (ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", ".ci/run", "CONTRIBUTING.md")
    }
    targets = set(re.findall(r"^((?:image-)?test[a-z-]*|check):", texts["Makefile"], re.M))
    assert {"test", "test-clients", "image-test", "check"} <= targets
    run = set(re.findall(r"^ *step make ([a-z-]+)", texts[".ci/run"], re.M))
    left_out = set(re.findall(r"^# Not here: ([a-z-]+),", texts[".ci/run"], re.M))
    assert run | left_out == targets
    assert not run & left_out
    assert targets <= set(re.findall(r"^make ([a-z-]+)", texts["CONTRIBUTING.md"], re.M))
