"""Bodies of inference requests that no client sends, against what parses them: nothing but our own error may come out.

    python -m benchmarks.tensor_fuzzing --inputs 1000000 --seed 0

A body is made of a good one: values of its JSON are replaced, bytes are changed, cut off, doubled or added, and the
header says another length. The same seed makes the same bodies.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import random
import struct
import time
from collections.abc import Iterator
from typing import Any

from models.errors import GraftError
from service.bodies.json_images import parse_json
from service.bodies.memory import Memory, Share
from service.protocols.tensors import DATATYPES, InferRequest, parse_infer, split
from service.protocols.views import to_pixels

SIZE = (2, 2)
_PIXELS = bytes(range(12))
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
            ({"inputs": [{**tensor, "parameters": {"binary_data_size": size}}]}, _PIXELS * kind.itemsize)
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


def scrambled(data: bytes, rng: random.Random) -> bytes:
    """Bytes with some changed, cut off, doubled or added."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(len(made) + 1)
        match rng.randrange(4):
            case 0 if position < len(made):
                made[position] = rng.randrange(256)
            case 1:
                del made[position:]
            case 2:
                made[position:position] = rng.randbytes(rng.choice((1, 4, 9)))
            case _:
                made += made[:position]
    return bytes(made)


def parse(body: bytes, header_length: str | None) -> InferRequest:
    """A request as the service reads it, its first tensor as pixels where it has numbers.

    Raises:
        GraftError: something is wrong with it.
    """
    header, data = split(body, header_length)
    asked = parse_infer(parse_json(header, Share(Memory(1 << 30)), "a request", 1_000_000), data)
    for tensor in asked.inputs:
        if tensor.datatype != "BYTES":
            to_pixels(tensor.values, SIZE, tensor.name, whole=tensor.is_whole)
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcomes: collections.Counter[str] = collections.Counter()
    began, made = time.monotonic(), bodies(given.seed)
    for place in range(given.inputs):
        body, header_length = next(made)
        try:
            parse(body, header_length)
            outcomes["parsed"] += 1
        except GraftError as exc:
            outcomes[type(exc).__name__] += 1
        except BaseException:
            print(f"input {place} of seed {given.seed}: {body!r}, {header_length!r}")
            raise
    print(f"{given.inputs:,} inputs in {time.monotonic() - began:.0f} s: {dict(outcomes)}")


if __name__ == "__main__":
    main()
