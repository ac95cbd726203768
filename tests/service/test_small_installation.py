"""The service and the commands without the packages that the image `serve` leaves out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.extras import LEFT_OUT
from tests.fixtures import plain
from tests.models.nets import residual_net

ROOT = Path(__file__).parents[2]
# As if they were not there, in a process of its own: this one has imported them.
WITHOUT = f"""
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(module for modules in LEFT_OUT.values() for module in modules)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Nothing())
"""
ASK = """
import json
from service.app import create_app
from service.config import RuntimeConfig, ServiceConfig
from service.registry import Registry

models, photo = sys.argv[1:]
config = ServiceConfig(models=(models,), runtime=RuntimeConfig(device="cpu", threads=1), measure_s=0.0)
registry, refused = Registry(config), {}
registry.load(lambda source, error: refused.update({source.name: str(error)}))
client = create_app(registry=registry).test_client()
photo = open(photo, "rb").read()

def ask(rule, **rest):
    address = rule.rule.replace("<name>", "tiny").replace("<int:version>", "1").replace("<version>", "1")
    method = "POST" if "POST" in rule.methods else "GET" if "GET" in rule.methods else min(rule.methods)
    body = {"data": photo, "content_type": "image/png"} if method == "POST" else {}
    answer = client.open(address, method=method, **body, **rest)
    return f"{method} {address}", [answer.status_code, answer.get_data(as_text=True)[:600]]

answers = dict(ask(rule) for rule in client.application.url_map.iter_rules())
print(json.dumps({"refused": refused, "answers": answers}))
"""


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT + code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)


def graft(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return python("from service.cli import main\nmain(prog_name='graft')", *arguments)


def test_service_answers_and_what_needs_more_names_the_image_that_has_it(
    tiny_path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "tiny.onnx").write_bytes(tiny_path.read_bytes())
    residual_net(folder / "without_card.onnx", classes=3)
    (tmp_path / "photo.png").write_bytes(plain("blue"))
    done = python(ASK, folder, tmp_path / "photo.png")
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout.splitlines()[-1])
    assert list(given["refused"]) == ["without_card"]
    assert "without a model card needs the package onnx" in given["refused"]["without_card"]
    assert "`graft models import` writes a file that runs here" in given["refused"]["without_card"]
    answers = given["answers"]
    status, text = answers["POST /v1/classify"]
    assert (status, json.loads(text)["results"][0]["predictions"][0]["label"]) == (200, "blue")
    assert {address for address, (status, _) in answers.items() if status in (500, 502, 503)} == set()
    for address in ("POST /v1/features", "POST /v1/explain"):
        status, text = answers[address]
        error = json.loads(text)["error"]
        assert (status, error["type"]) == (501, "LibraryError")
        assert "needs the package onnx, which is not installed here" in error["message"]
        assert "image `cpu` has it" in error["message"]


def test_commands_that_need_more_say_so(tmp_path: Path, tiny_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(plain("red"))
    done = graft("classify", "--model", tiny_path, "--json", tmp_path / "photo.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"red"' in done.stdout
    for arguments in (
        ("finetune", tmp_path),
        ("features", tmp_path / "photo.png", "--out", tmp_path / "out"),
        ("serve", tiny_path, "--workspace", tmp_path / "workspace", "--port", "0"),
    ):
        done = graft(*arguments)
        assert done.returncode == 2
        assert "Error: this command needs the package" in done.stderr
        assert "Traceback" not in done.stderr


def test_module_that_is_missing_by_mistake_stays_a_fault() -> None:
    from models.extras import full_installation

    with (
        pytest.raises(ModuleNotFoundError, match=r"No module named 'models\.nothing'"),
        full_installation("a test"),
    ):
        __import__("models.nothing")
