"""A gRPC client over the messages of the service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import numpy as np

from service.grpc.messages import message_class
from tests.service.serving import Serving

INFERENCE = "inference.GRPCInferenceService"
PATIENCE_S = 60.0
RED = np.tile(np.array([255, 0, 0], np.uint8), (1, 16, 16, 1))


class Client:
    """Calls methods by their names: `client.call("ServerLive")`."""

    def __init__(self, address: str, credentials: Any = None) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def method(self, name: str, service: str = INFERENCE, answer: str | None = None) -> Any:
        """What calls a method of one message, which is given as bytes."""
        parse = message_class(answer or f"{service.rpartition('.')[0]}.{name}Response").FromString
        return self.channel.unary_unary(f"/{service}/{name}", None, parse)

    def call(
        self, name: str, message: Any = None, /, metadata: Any = (), compression: Any = None, **values: Any
    ) -> Any:
        """The answer of a method of the Open Inference Protocol."""
        message = message_class(f"inference.{name}Request")(**values) if message is None else message
        options = {"timeout": PATIENCE_S, "metadata": metadata, "compression": compression}
        return self.method(name)(message.SerializeToString(), **options)

    def refused(self, name: str, message: Any = None, /, **values: Any) -> tuple[grpc.StatusCode, str]:
        """Status code and sentence of a call that fails."""
        try:
            self.call(name, message, **values)
        except grpc.RpcError as exc:
            return exc.code(), exc.details()
        raise AssertionError(f"{name} was answered")

    def stream(self, messages: Iterable[Any], metadata: Any = ()) -> Iterator[Any]:
        """The answers of a stream of requests."""
        parse = message_class("inference.ModelStreamInferResponse").FromString
        method = self.channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer", None, parse)
        answers: Iterator[Any] = method(
            (one.SerializeToString() for one in messages), timeout=PATIENCE_S, metadata=metadata
        )
        return answers


def infer(
    values: Any = RED, datatype: str = "UINT8", model: str = "tiny", shape: Any = None, **fields: Any
) -> Any:
    """A request with one input in raw contents."""
    message = message_class("inference.ModelInferRequest")(model_name=model, **fields)
    raw = values if isinstance(values, bytes) else values.tobytes()
    message.inputs.add(name="image", datatype=datatype, shape=values.shape if shape is None else shape)
    message.raw_input_contents.append(raw)
    return message


def elements(*contents: bytes) -> bytes:
    """BYTES as raw contents have them."""
    return b"".join(len(one).to_bytes(4, "little") + one for one in contents)


def numbers(response: Any) -> Any:
    """The first output of an answer."""
    (output, *_), (raw, *_) = response.outputs, response.raw_output_contents
    return np.frombuffer(raw, "<f4").reshape(list(output.shape))


def metric(service: Serving, line: str) -> float:
    """A figure of /metrics by its name and labels."""
    _, text = service.over_http("/metrics")
    return sum(float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line))
