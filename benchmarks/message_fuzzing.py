"""Messages of gRPC that no client sends, against what reads them: nothing but our own error may come out.

    python -m benchmarks.message_fuzzing --inputs 1000000 --seed 0

A message of the Open Inference Protocol or of TensorFlow Serving is made of a good one: fields are replaced by hostile
values, raw contents and the message's own bytes are changed, cut off, doubled or added. The same seed makes the same
messages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import DecodeError

from benchmarks.fuzzing import PIXELS, SIZE, check_pixels, run, scrambled
from models.errors import GraftError
from service.bodies.memory import Memory, Share
from service.grpc.infer_messages import REQUEST, read_infer
from service.grpc.messages import message_class
from service.grpc.tensor_protos import read_tensor
from service.grpc.tensorflow_serving import files_of
from service.protocols.tensors import DATATYPES, InferRequest

PREDICT, CLASSIFY = "tensorflow.serving.PredictRequest", "tensorflow.serving.ClassificationRequest"
_SHAPE = [1, *SIZE, 3]
_WHOLE = (0, 1, -1, 2, 3, 12, 255, 256, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63))
_TEXTS = ("", "image", "BYTES", "UINT8", "FP16", "FP32", "NaN", "\x00", "ä", "x" * 300, "shared_memory_region",
          "binary_data_size", "timeout", "classification", "sequence_id")  # fmt: skip
_FIELDS = ("bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents", "fp32_contents",
           "fp64_contents", "bytes_contents")  # fmt: skip
_TYPES = range(25)


def _infer(rng: random.Random) -> Any:
    message = message_class(REQUEST)(model_name="tiny", id="1")
    datatype = rng.choice([*DATATYPES, "BYTES"])
    if datatype == "BYTES":
        contents = b"".join(len(one).to_bytes(4, "little") + one for one in (b"one", b"", b"three"))
        message.inputs.add(name="image", datatype=datatype, shape=[3])
    else:
        contents = PIXELS * DATATYPES[datatype].itemsize
        message.inputs.add(name="image", datatype=datatype, shape=_SHAPE)
    if rng.random() < 0.7:
        message.raw_input_contents.append(contents)
    else:
        held = getattr(message.inputs[0].contents, rng.choice(_FIELDS))
        held.extend(
            [b"one", b"", b"three"] if held is message.inputs[0].contents.bytes_contents else [1] * 12
        )
    return message


def _hostile_infer(message: Any, rng: random.Random) -> None:
    tensor = rng.choice(message.inputs) if message.inputs else message.inputs.add()
    match rng.randrange(9):
        case 0:
            tensor.name = rng.choice(_TEXTS)
        case 1:
            tensor.datatype = rng.choice(_TEXTS)
        case 2:
            tensor.shape[:] = [rng.choice(_WHOLE) for _ in range(rng.choice((0, 1, 2, 4, 40)))]
        case 3:
            message.inputs.add(name=rng.choice(_TEXTS), datatype="UINT8", shape=_SHAPE)
        case 4:
            place = rng.choice((tensor, message)).parameters[rng.choice(_TEXTS)]
            setattr(place, rng.choice(("int64_param", "uint64_param")), abs(rng.choice(_WHOLE)) % 2**63)
        case 5:
            rng.choice((tensor, message)).parameters[rng.choice(_TEXTS)].string_param = rng.choice(_TEXTS)
        case 6:
            output = message.outputs.add(name=rng.choice(_TEXTS))
            output.parameters[rng.choice(_TEXTS)].int64_param = rng.choice(_WHOLE)
        case 7 if message.raw_input_contents:
            place = rng.randrange(len(message.raw_input_contents))
            message.raw_input_contents[place] = scrambled(message.raw_input_contents[place], rng)
        case _:
            message.raw_input_contents.append(rng.randbytes(rng.choice((0, 1, 12))))


def _predict(rng: random.Random) -> Any:
    message = message_class(PREDICT)()
    message.model_spec.name = "tiny"
    tensor = message.inputs["image"]
    tensor.dtype = rng.choice((1, 4, 7))
    for size in [2] if tensor.dtype == 7 else _SHAPE:
        tensor.tensor_shape.dim.add(size=size)
    if tensor.dtype == 7:
        tensor.string_val.extend([b"one", b"two"])
    elif rng.random() < 0.5:
        tensor.tensor_content = PIXELS * (4 if tensor.dtype == 1 else 1)
    else:
        (tensor.float_val if tensor.dtype == 1 else tensor.int_val).extend(range(12))
    return message


def _hostile_predict(message: Any, rng: random.Random) -> None:
    tensor = message.inputs["image"]
    match rng.randrange(6):
        case 0:
            tensor.dtype = rng.choice(_TYPES)
        case 1:
            tensor.tensor_shape.dim.add(size=rng.choice(_WHOLE))
        case 2:
            for dim in tensor.tensor_shape.dim:
                dim.size = rng.choice(_WHOLE)
        case 3:
            tensor.tensor_content = scrambled(tensor.tensor_content, rng)
        case 4:
            tensor.half_val.extend(rng.choice(_WHOLE) % 2**31 for _ in range(3))
            tensor.double_val.extend([float("nan"), float("inf"), 1e308])
        case _:
            tensor.tensor_shape.unknown_rank = rng.random() < 0.5


def _classify(rng: random.Random) -> Any:
    message = message_class(CLASSIFY)()
    for name in rng.choice((("image",), ("image/encoded", "image"), ("x",))):
        example = message.input.example_list.examples.add()
        example.features.feature[name].bytes_list.value.append(b"file")
    return message


def _hostile_classify(message: Any, rng: random.Random) -> None:
    message.input.example_list.examples.add().features.feature[rng.choice(_TEXTS)].float_list.value.append(
        1.0
    )


_KINDS: tuple[tuple[str, Callable[[random.Random], Any], Callable[[Any, random.Random], None]], ...] = (
    (REQUEST, _infer, _hostile_infer),
    (PREDICT, _predict, _hostile_predict),
    (CLASSIFY, _classify, _hostile_classify),
)


def messages(seed: int) -> Iterator[tuple[str, bytes]]:
    """Messages without end: the full name of what each should be, and its bytes."""
    rng = random.Random(seed)
    while True:
        name, good, hostile = rng.choices(_KINDS, (6, 3, 1))[0]
        message = good(rng)
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            hostile(message, rng)
        data = message.SerializeToString()
        yield name, scrambled(data, rng) if rng.random() < 0.3 else data


def read(name: str, data: bytes) -> None:
    """Read a message as the service does, its tensors as pixels where they have numbers.

    Raises:
        GraftError: something is wrong with it.
        DecodeError: it is no message, which the service says.
    """
    message, share = message_class(name).FromString(data), Share(Memory(1 << 30))
    if name == CLASSIFY:
        files_of(message.input)
        return
    asked: InferRequest = (
        read_infer(message, share) if name == REQUEST else read_tensor(message.inputs["image"], None, share)
    )
    check_pixels(asked)


if __name__ == "__main__":
    run(__doc__, messages, read, (GraftError, DecodeError))
