"""A model of ours behind a real Triton, so that the same client can ask both.

    pip install nvidia-pytriton onnxruntime
    python scripts/triton_reference.py tiny.onnx --port 8900 --grpc-port 8901
    GRAFT_TRITON=127.0.0.1:8900 python -m pytest -m clients tests/service/protocols
    GRAFT_TRITON_GRPC=127.0.0.1:8901 python -m pytest -m clients tests/service/grpc

nvidia-pytriton (0.7) carries a tritonserver (2.51) with the Python backend alone, so onnxruntime is called from there.
The file's name is the model's; it is shown with one input and one output as Graft shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import onnxruntime
import pytriton

CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 8
dynamic_batching {{ }}
input [ {{ name: "image" data_type: TYPE_UINT8 format: FORMAT_NHWC dims: [ {height}, {width}, 3 ] }} ]
output [ {{ name: "probabilities" data_type: TYPE_FP32 dims: [ {classes} ] label_filename: "labels.txt" }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
"""
# The stub's interpreter knows no virtual environment.
BACKEND = """
import sys
sys.path[:0] = [{packages!r}]
import numpy
import onnxruntime
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        self.session = onnxruntime.InferenceSession({model!r}, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        images = [utils.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        rows = self.session.run(["probabilities"], {{"image": numpy.concatenate(images)}})[0]
        parts = numpy.split(rows, numpy.cumsum([len(batch) for batch in images])[:-1])
        return [utils.InferenceResponse([utils.Tensor("probabilities", values)]) for values in parts]
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--grpc-port", type=int, default=8901)
    given = parser.parse_args()
    model, name = given.model.resolve(), given.model.stem
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    labels = json.loads(session.get_modelmeta().custom_metadata_map["graft.card"])["labels"]
    _, height, width, _ = session.get_inputs()[0].shape

    here, packages = Path(pytriton.__file__).parent / "tritonserver", str(Path(pytriton.__file__).parents[1])
    folder = Path(tempfile.mkdtemp(prefix="triton-"))
    repository, backends = folder / "models", folder / "backends"
    (repository / name / "1").mkdir(parents=True)
    text = CONFIG.format(name=name, height=height, width=width, classes=len(labels))
    (repository / name / "config.pbtxt").write_text(text)
    (repository / name / "labels.txt").write_text("".join(f"{label['name']}\n" for label in labels))
    (repository / name / "1" / "model.py").write_text(BACKEND.format(packages=packages, model=str(model)))
    shutil.copytree(here / "backends", backends)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(here / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    libraries = (
        f"{packages}/nvidia_pytriton.libs",
        f"{sys.base_prefix}/lib",
        os.environ.get("LD_LIBRARY_PATH", ""),
    )
    os.environ |= {"LD_LIBRARY_PATH": ":".join(filter(None, libraries)), "PYTHONHOME": sys.base_prefix}
    os.execv(
        here / "bin" / "tritonserver",
        [
            "tritonserver", f"--model-repository={repository}", f"--backend-directory={backends}",
            f"--http-port={given.port}", "--http-address=127.0.0.1", f"--grpc-port={given.grpc_port}",
            "--grpc-address=127.0.0.1", "--allow-metrics=false",
            "--log-info=false", "--model-control-mode=explicit", f"--load-model={name}",
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
