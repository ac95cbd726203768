"""The network behind Triton with its dynamic batcher, by the server that NVIDIA's own wheel carries.

    python triton_app.py MODEL.onnx HTTP_PORT

That wheel (nvidia-pytriton 0.7, tritonserver 2.51) has the Python backend alone, so onnxruntime is called from there.
A photo comes as BYTES and is decoded in the backend.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytriton

CONFIG = """
name: "net"
backend: "python"
max_batch_size: 8
dynamic_batching { max_queue_delay_microseconds: 2000 }
input [ { name: "image" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "classes" data_type: TYPE_INT64 dims: [ 5 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""


def main() -> None:
    here = Path(pytriton.__file__).parent / "tritonserver"
    folder = Path(tempfile.mkdtemp(prefix="triton-"))
    repository, backends = folder / "models", folder / "backends"
    (repository / "net" / "1").mkdir(parents=True)
    (repository / "net" / "config.pbtxt").write_text(CONFIG)
    shutil.copy(Path(__file__).with_name("triton_model.py"), repository / "net" / "1" / "model.py")
    shutil.copytree(here / "backends", backends)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(here / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    libraries = [
        str(here.parents[1] / "nvidia_pytriton.libs"),
        f"{sys.base_prefix}/lib",
        os.environ.get("LD_LIBRARY_PATH", ""),
    ]
    os.environ |= {
        "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
        "SERVED_PACKAGES": f"{Path(pytriton.__file__).parents[1]}:{Path(__file__).parent}",
        "PYTHONHOME": sys.base_prefix,
        "SERVED_MODEL": sys.argv[1],
    }
    port = int(sys.argv[2])
    os.execv(
        here / "bin" / "tritonserver",
        [
            "tritonserver", f"--model-repository={repository}", f"--backend-directory={backends}",
            f"--http-port={port}", "--allow-grpc=false", "--allow-metrics=false", "--log-info=false",
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
