"""Tensors and photos by every protocol: beside tritonserver with the same network, and beside /v1/classify.

    python -m benchmarks.serving.protocols --triton PYTHON [--model builtin] [--rounds 3] [--seconds 3]
        [--part tensors|photos]

PYTHON is an interpreter whose environment has nvidia-pytriton and onnxruntime. Its wheel carries the Python backend
alone, so onnxruntime is called from there, with Triton's dynamic batcher. Pixels go as binary tensors, uint8, over HTTP
and gRPC; photos as JPEG files in whatever form each protocol has for them. All take their turn in every round.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import dataclasses
import json
import struct
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.load import Outcome, load_by, middle, photos, post, run_client
from benchmarks.serving.servers import free_port, graft, running
from benchmarks.timing import table
from models.locating import locate
from models.model import Model
from models.runtime import RuntimeConfig
from service.grpc.messages import message_class

REFERENCE = Path(__file__).parents[2] / "scripts" / "triton_reference.py"
INFER = "/inference.GRPCInferenceService/ModelInfer"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass(frozen=True)
class Way:
    """A server, and what is sent to it: HTTP requests, or messages for a method of gRPC."""

    port: int
    requests: bytes
    method: str = ""
    server: int = 0  # the group of its processes

    def run(self, concurrency: int, seconds: float) -> Outcome:
        if not self.method:
            return run_client(self.port, self.requests, concurrency, seconds, server=self.server)
        command = [sys.executable, "-m", "benchmarks.serving.grpc_client", str(self.port), self.method]
        return load_by([*command, str(concurrency), str(seconds)], self.requests, self.server)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--triton")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--part", choices=("tensors", "photos"), default="tensors")
    args = parser.parse_args()
    name = Model.open(args.model, RuntimeConfig("cpu", threads=1)).card.name
    port, grpc_port = free_port(), free_port()
    command = [*graft([args.model], port), "--grpc-port", str(grpc_port)]
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(running(command, f"http://127.0.0.1:{port}/readyz")).pid
        if args.part == "photos":
            print(photos_by(name, port, grpc_port, ours, args))
            return
        rivals = {"Graft": (name, port, grpc_port, ours)}
        if args.triton:
            rivals["Triton"] = stack.enter_context(triton(args.triton, args.model))
        print(tensors_by(rivals, args))


@contextlib.contextmanager
def triton(python: str, model: str) -> Iterator[tuple[str, int, int, int]]:
    """The network behind tritonserver: its name there, the ports of HTTP and gRPC, and its process."""
    port, grpc_port, file = free_port(), free_port(), locate(model)
    with tempfile.TemporaryDirectory(prefix="triton-") as folder:
        served = Path(folder) / "net.onnx"
        served.symlink_to(Path(file).resolve())
        command = [python, str(REFERENCE), str(served), "--port", str(port), "--grpc-port", str(grpc_port)]
        with running(command, f"http://127.0.0.1:{port}/v2/health/ready") as process:
            yield "net", port, grpc_port, process.pid


def tensors_by(rivals: dict[str, tuple[str, int, int, int]], args: argparse.Namespace) -> str:
    """Binary tensors over HTTP and gRPC, one image and eight, by one client and eight."""
    height, width = Model.open(args.model, RuntimeConfig("cpu", threads=1)).card.preprocessing.size
    rng = np.random.default_rng(0)
    rows = []
    for wire in ("HTTP", "gRPC"):
        for batch in (1, 8):
            pixels = rng.integers(0, 256, (batch, height, width, 3), np.uint8)
            for concurrency in (1, 8):
                ways = {
                    rival: (
                        Way(port, tensor_request(name, pixels), server=pid)
                        if wire == "HTTP"
                        else Way(grpc_port, _framed([tensor_message(name, pixels)]), INFER, pid)
                    )
                    for rival, (name, port, grpc_port, pid) in rivals.items()
                }
                outcomes = in_turns(ways, concurrency, args)
                base = middle(outcomes["Triton"] if "Triton" in outcomes else outcomes["Graft"])
                for rival, spells in outcomes.items():
                    figures = middle(spells)
                    rows.append([wire, str(batch), str(concurrency), rival, *_figures(figures, base, batch)])
    return table(
        [
            "wire",
            "images",
            "clients",
            "server",
            "images/s",
            "of Triton",
            "p50 ms",
            "p99 ms",
            "CPU ms/image",
            "failed",
        ],
        rows,
    )


def photos_by(name: str, port: int, grpc_port: int, pid: int, args: argparse.Namespace) -> str:
    """JPEG files by each protocol, beside /v1/classify."""
    files = photos(100)
    texts = [base64.b64encode(file).decode() for file in files]
    json_type = "application/json"

    def as_json(path: str, bodies: Sequence[object]) -> Way:
        return Way(port, post(path, [json.dumps(body).encode() for body in bodies], json_type))

    def oip(text: str) -> object:
        return {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}]}

    ways = {
        "/v1/classify": Way(port, post("/v1/classify", files)),
        "Open Inference, HTTP, binary": Way(port, b"".join(file_request(name, file) for file in files)),
        "Open Inference, HTTP, JSON": as_json(f"/v2/models/{name}/infer", [oip(text) for text in texts]),
        "Open Inference, gRPC": Way(grpc_port, _framed([file_message(name, file) for file in files]), INFER),
        "TensorFlow Serving, REST": as_json(
            f"/v1/models/{name}:predict", [{"instances": [{"b64": text}]} for text in texts]
        ),
        "TensorFlow Serving, gRPC": Way(
            grpc_port, _framed([predict_message(name, file) for file in files]), PREDICT
        ),
        "Hugging Face": Way(port, post(f"/models/{name}", files)),
    }
    measured = {name: dataclasses.replace(way, server=pid) for name, way in ways.items()}
    rows = []
    for concurrency in (1, 8):
        outcomes = in_turns(measured, concurrency, args)
        base = middle(outcomes["/v1/classify"])
        for way, spells in outcomes.items():
            rows.append([way, str(concurrency), *_figures(middle(spells), base, 1)])
    return table(
        ["protocol", "clients", "images/s", "of classify", "p50 ms", "p99 ms", "CPU ms/image", "failed"], rows
    )


def in_turns(ways: dict[str, Way], concurrency: int, args: argparse.Namespace) -> dict[str, list[Outcome]]:
    """Spells of all ways, one a round, the order turned round every time; a short one beforehand warms each."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in ways}
    for way in ways.values():
        way.run(concurrency, 0.3)
    for turn in range(args.rounds):
        for name in list(ways) if turn % 2 == 0 else list(reversed(ways)):
            outcomes[name].append(ways[name].run(concurrency, args.seconds))
    return outcomes


def _figures(one: Outcome, base: Outcome, batch: int) -> list[str]:
    cpu = 1e3 * (one.cpu - one.client_cpu) / batch  # of the server: where others take cores, this is steadier
    times = f"{1e3 * one.p50:.1f}", f"{1e3 * one.p99:.1f}"
    return [
        f"{one.rate * batch:.0f}", f"{one.rate / base.rate:.2f}", *times, f"{cpu:.2f}", str(one.failed + one.refused)
    ]  # fmt: skip


# Requests


def tensor_request(name: str, pixels: np.ndarray) -> bytes:
    entry = {"name": "image", "shape": list(pixels.shape), "datatype": "UINT8"}
    return _binary(name, entry, pixels.tobytes())


def file_request(name: str, file: bytes) -> bytes:
    entry = {"name": "image", "shape": [1], "datatype": "BYTES"}
    return _binary(name, entry, struct.pack("<I", len(file)) + file)


def _binary(name: str, entry: dict[str, object], raw: bytes) -> bytes:
    """A request with Triton's binary extension, as its client sends it."""
    entry = {**entry, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    lines = (
        f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: {len(head)}\r\n"
        f"Content-Length: {len(head) + len(raw)}\r\n\r\n"
    )
    request = lines.encode() + head + raw
    return b"%d\n" % len(request) + request


def tensor_message(name: str, pixels: np.ndarray) -> bytes:
    message = message_class("inference.ModelInferRequest")(model_name=name)
    message.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    message.raw_input_contents.append(pixels.tobytes())
    return bytes(message.SerializeToString())


def file_message(name: str, file: bytes) -> bytes:
    message = message_class("inference.ModelInferRequest")(model_name=name)
    message.inputs.add(name="image", datatype="BYTES", shape=[1])
    message.raw_input_contents.append(struct.pack("<I", len(file)) + file)
    return bytes(message.SerializeToString())


def predict_message(name: str, file: bytes) -> bytes:
    message = message_class("tensorflow.serving.PredictRequest")()
    message.model_spec.name = name
    tensor = message.inputs["image"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(file)
    return bytes(message.SerializeToString())


def _framed(messages: Sequence[bytes]) -> bytes:
    return b"".join(b"%d\n" % len(message) + message for message in messages)


if __name__ == "__main__":
    main()
