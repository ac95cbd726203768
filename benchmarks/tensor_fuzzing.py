"""Bodies of inference requests that no client sends, against what parses them: nothing but our own error may come out.

    python -m benchmarks.tensor_fuzzing --inputs 1000000 --seed 0

A body is made of a good one: values of its JSON are replaced, bytes are changed, cut off, doubled or added, and the
header says another length. The same seed makes the same bodies.
"""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Iterator
from typing import Any

from benchmarks.fuzzing import PIXELS, SIZE, check_pixels, run, scrambled
from models.errors import GraftError
from service.bodies.json_images import parse_json
from service.bodies.memory import Memory, Share
from service.protocols.tensors import DATATYPES, InferRequest, parse_infer, split

_HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 12, 255, 256, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**300, -(2**63),
    0.5, 1.0, -0.0, 1e308, "", "image", "BYTES", "UINT8", "FP32", "NaN", "\ud800", "\x00", "ä", "x" * 300,
    [], {}, [[]], [{}], [0], [1, 2, 2, 3], [-1, 2, 2, 3], [2**62, 4], [0, 2**63 - 1], [1] * 40, ["1"], [[1], [2, 3]],
    [1, [2]], {"name": "image"}, {"binary_data_size": -1}, {"shared_memory_region": "x"}, {"classification": -1},
)  # fmt: skip


def good_bodies() -> list[tuple[Any, bytes]]:
    """JSON of good requests, and the bytes behind it."""
    shape = [1, *SIZE, 3]
    made: list[tuple[Any, bytes]] = []
    for datatype, kind in DATATYPES.items():
        size = 12 * kind.itemsize
        tensor = {"name": "image", "datatype": datatype, "shape": shape}
        made.append(
            ({"inputs": [{**tensor, "parameters": {"binary_data_size": size}}]}, PIXELS * kind.itemsize)
        )
        made.append(({"id": "1", "inputs": [{**tensor, "data": list(range(12))}]}, b""))
    elements = b"".join(struct.pack("<I", len(text)) + text for text in (b"one", b"", b"three"))
    outputs = [{"name": "probabilities", "parameters": {"classification": 2, "binary_data": True}}]
    strings = {"name": "image", "datatype": "BYTES", "shape": [3]}
    binary = {**strings, "parameters": {"binary_data_size": len(elements)}}
    made.append(({"inputs": [binary], "outputs": outputs}, elements))
    made.append(({"inputs": [{**strings, "data": ["AA==", "BB==", ""]}], "parameters": {"timeout": 9}}, b""))
    nested = [[[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]]
    made.append(({"inputs": [{"name": "image", "datatype": "UINT8", "shape": shape, "data": nested}]}, b""))
    second = {
        "name": "b",
        "datatype": "BYTES",
        "shape": [3],
        "parameters": {"binary_data_size": len(elements)},
    }
    made.append(({"inputs": [binary, second]}, elements * 2))
    return made


def bodies(seed: int) -> Iterator[tuple[bytes, str | None]]:
    """Bodies without end, each with the value of its header Inference-Header-Content-Length."""
    rng, good = random.Random(seed), good_bodies()
    while True:
        values, data = copy.deepcopy(rng.choice(good))
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            _replace(values, rng)
        header = json.dumps(values).encode()
        if rng.random() < 0.3:
            header = scrambled(header, rng)
        if rng.random() < 0.3:
            data = scrambled(data, rng)
        length: str | None = str(len(header)) if data or rng.random() < 0.5 else None
        if rng.random() < 0.2:
            lies = (
                None,
                "",
                "-1",
                "+5",
                " 5",
                "٣",
                "1e3",
                "9" * 30,
                "0",
                str(rng.randrange(2 * len(header) + 1)),
            )
            length = rng.choice(lies)
        yield header + data, length


def _replace(values: Any, rng: random.Random) -> None:
    """Put something hostile in the place of a value, anywhere."""
    place = values
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        if isinstance(place, dict) and rng.random() < 0.2:
            del place[key]
        else:
            place[key] = copy.deepcopy(rng.choice(_HOSTILE))
        if isinstance(place, dict) and rng.random() < 0.1:
            place[rng.choice(("data", "parameters", "shape", "extra", "outputs"))] = copy.deepcopy(
                rng.choice(_HOSTILE)
            )
        if not values:
            values["inputs"] = []
        return


def parse(body: bytes, header_length: str | None) -> InferRequest:
    """A request as the service reads it, its tensors as pixels where they have numbers.

    Raises:
        GraftError: something is wrong with it.
    """
    header, data = split(body, header_length)
    asked = parse_infer(parse_json(header, Share(Memory(1 << 30)), "a request", 1_000_000), data)
    check_pixels(asked)
    return asked


if __name__ == "__main__":
    run(__doc__, bodies, parse, (GraftError,))
