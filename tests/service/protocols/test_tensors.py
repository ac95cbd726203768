"""Tensors in JSON and in bytes: what is there is read, and whatever is not right is said."""

from __future__ import annotations

import itertools
import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from benchmarks import tensor_fuzzing
from benchmarks.fuzzing import outcomes_of
from models.errors import GraftError, InputError
from service.protocols.tensor_answers import classes_of, datatype_of, write_answer
from service.protocols.tensors import (
    DATATYPES,
    Tensor,
    Wanted,
    numbers,
    parse_infer,
    split,
)

SHAPE = [1, 2, 2, 3]
PIXELS = bytes(range(12))


def request(behind: bytes = b"", **fields: Any) -> Tensor:
    """The one tensor of a request."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": SHAPE, **fields}
    asked = parse_infer({"inputs": [tensor]}, memoryview(behind))
    return asked.inputs[0]


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def size(count: Any) -> dict[str, Any]:
    return {"binary_data_size": count}


@pytest.mark.parametrize("datatype", DATATYPES)
def test_binary_tensors_of_every_datatype(datatype: str) -> None:
    values = np.arange(12).reshape(SHAPE).astype(DATATYPES[datatype])
    read = request(values.tobytes(), datatype=datatype, parameters=size(values.nbytes))
    np.testing.assert_array_equal(read.values, values)
    assert (read.datatype, read.shape) == (datatype, (1, 2, 2, 3))


@pytest.mark.parametrize("data", [list(range(12)), [[[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]]])
def test_json_tensors_flat_and_nested(data: list[Any]) -> None:
    np.testing.assert_array_equal(request(data=data).values, np.arange(12).reshape(SHAPE))


def test_elements_of_bytes() -> None:
    data = packed(b"one", b"", b"three")
    read = request(data, datatype="BYTES", shape=[3, 1], parameters=size(len(data)))
    assert read.values == [b"one", b"", b"three"]
    assert request(datatype="BYTES", shape=[2], data=["b25l", ""]).values == ["b25l", ""]


def test_several_tensors_follow_each_other() -> None:
    first = {"name": "a", "datatype": "UINT8", "shape": [2], "parameters": size(2)}
    second = {"name": "b", "datatype": "INT16", "shape": [1], "parameters": size(2)}
    middle = {"name": "c", "datatype": "FP32", "shape": [1], "data": [1.5]}
    asked = parse_infer({"inputs": [first, middle, second]}, memoryview(b"\x01\x02\x03\x00"))
    assert [tensor.values.tolist() for tensor in asked.inputs] == [[1, 2], [1.5], [3]]


def test_what_is_asked_beside_tensors() -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1], "data": [1]}
    outputs = [
        {"name": "a"},
        {"name": "b", "parameters": {"binary_data": False}},
        {"name": "c", "parameters": {"classification": 3}},
    ]
    parameters = {"binary_data_output": True, "timeout": 1500, "sequence_id": 0, "priority": 0}
    asked = parse_infer(
        {"id": "ä", "inputs": [tensor], "outputs": outputs, "parameters": parameters}, memoryview(b"")
    )
    assert asked.outputs == (Wanted("a", True), Wanted("b", False), Wanted("c", True, 3))
    assert (asked.id, asked.binary, asked.timeout_s) == ("ä", True, 0.0015)
    assert parse_infer({"inputs": [tensor], "outputs": []}, memoryview(b"")).outputs is None


@pytest.mark.parametrize(
    ("fields", "data", "reason"),
    [
        ({"parameters": size(12)}, PIXELS[:-1], "binary_data_size of 'image' is 12, and 11 bytes are left"),
        ({"parameters": size(12)}, PIXELS + b"x", "1 bytes stand behind the last binary tensor"),
        ({"parameters": size(11)}, PIXELS, r"UINT8 \[1, 2, 2, 3\], which takes 12 bytes; its binary_data_size is 11"),
        ({"parameters": size(-12)}, PIXELS, "binary_data_size of 'image' is -12"),
        ({"parameters": size("12")}, PIXELS, "binary_data_size of 'image' is '12'"),
        ({"parameters": size(True)}, PIXELS, "binary_data_size of 'image' is True"),
        ({"parameters": size(1 << 70)}, PIXELS, "is a number of more than 64 bits, and 12 bytes are left"),
        ({}, PIXELS, "has no data nor binary_data_size"),
        ({"data": [1], "parameters": size(1)}, b"x", "has both data and binary_data_size"),
        ({"shape": [1, -1, 2, 3], "data": []}, b"", r"shape of 'image' is a list of 4: 1, -1, 2, 3"),
        ({"shape": [1 << 62, 1 << 62], "parameters": size(12)}, PIXELS, "takes more than 2.64 bytes"),
        ({"shape": [0, 1 << 62, 4], "data": []}, b"", "expected sizes that a tensor can have"),
        ({"shape": [256, 2**31 - 1, 0, 1 << 62], "parameters": size(0)}, b"", "expected sizes that a tensor can have"),
        ({"shape": [1 << 63], "data": []}, b"", "shape of 'image' is a list of 1: 9223372036854775808"),
        ({"shape": [1] * 33, "data": [1]}, b"", "expected 1 to 32 whole numbers"),
        ({"shape": [], "data": []}, b"", "expected 1 to 32 whole numbers"),
        ({"shape": [1.0], "data": [1]}, b"", "shape of 'image' is a list of 1: 1.0"),
        ({"datatype": "BF16", "data": [1]}, b"", "datatype of 'image' is 'BF16'; expected BYTES, BOOL"),
        ({"datatype": ["UINT8"], "data": [1]}, b"", "datatype of 'image' is a list of 1: 'UINT8'"),
        ({"name": 3, "data": [1]}, b"", r"name of inputs\[0\] is 3"),
        ({"surplus": 1, "data": [1]}, b"", r"inputs\[0\] is an object of 5"),
        ({"parameters": {"shared_memory_region": "x"}}, b"", "there is no shared memory here"),
        ({"parameters": {"content_type": "np"}}, b"", "the parameter 'content_type' of .* is not known"),
        ({"parameters": [1]}, b"", r"parameters of inputs\[0\] are a list of 1: 1"),
        ({"data": list(range(11))}, b"", r"has the shape \[11\]; expected \[1, 2, 2, 3\], or all in one list"),
        ({"data": [[1, 2], [3]]}, b"", "the data of 'image' is no tensor"),
        ({"data": [1, [2]]}, b"", "the data of 'image' holds a list of 2: 1, ...; expected lists of whole numbers"),
        ({"data": ["1"] * 12}, b"", "the data of 'image' holds a list of 12: '1'"),
        ({"data": [True] * 12}, b"", "holds a list of 12: True"),
        ({"data": [None] * 12}, b"", "holds a list of 12: None"),
        ({"data": [1.5] * 12}, b"", "holds a list of 12: 1.5, .* expected lists of whole numbers"),
        ({"data": [10**400] * 12}, b"", "the data of 'image' is no tensor"),
        ({"data": "x" * 12}, b"", "holds 'xxxxxxxxxxxx'"),
        ({"datatype": "BYTES", "shape": [2], "data": ["x"]}, b"", "a list of 1: 'x'; expected 2 texts"),
        ({"datatype": "BYTES", "shape": [1], "data": [1]}, b"", "a list of 1: 1; expected 1 texts"),
        ({"datatype": "BYTES", "shape": [1], "parameters": size(3)}, b"abc", "1 elements, which take 4 bytes each"),
        ({"datatype": "BYTES", "shape": [1 << 62], "parameters": size(3)}, b"abc", "which take 4 bytes each at least"),
        ({"datatype": "BYTES", "shape": [1], "parameters": size(6)}, b"\x03\0\0\0ab", "it has 3 bytes, and 2"),
        ({"datatype": "BYTES", "shape": [1], "parameters": size(6)}, b"\x01\0\0\0ab", "1 bytes stand behind the last"),
        ({"datatype": "BYTES", "shape": [2], "parameters": size(9)}, b"\x02\0\0\0abxyz", "element 1 of 'image' is cut"),
    ],
)  # fmt: skip
def test_inputs_that_are_refused(fields: dict[str, Any], data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        request(data, **fields)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "the request is a list of 0"),
        ({}, "expected an object with inputs, and perhaps id, model_name"),
        ({"inputs": []}, "inputs is a list of 0: ; expected a list of 1 to 16 tensors"),
        ({"inputs": [{}] * 17}, "inputs is a list of 17"),
        ({"inputs": [1]}, r"inputs\[0\] is 1; expected an object"),
        ({"inputs": [{}], "id": 3}, "id is 3; expected text"),
        ({"inputs": [{}], "parameters": {"timeout": -1}}, "timeout is -1"),
        ({"inputs": [{}], "parameters": {"sequence_id": 7}}, "there are no sequences and no priorities here"),
        ({"inputs": [{}], "parameters": {"binary_data_output": 1}}, "binary_data_output of the request is 1"),
        (
            {"inputs": [{}], "parameters": {"temperature": 1}},
            "the parameter 'temperature' of the request is not",
        ),
    ],
)
def test_requests_that_are_refused(values: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_infer(values, memoryview(b""))


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (
            [{"name": "a"}, {"name": "a"}],
            r"the name of outputs\[1\] is 'a'; expected a text that no other one has",
        ),
        ([{"name": "a", "parameters": {"classification": -1}}], "classification is -1"),
        ([{"name": "a", "parameters": {"binary_data": 1}}], r"binary_data of outputs\[0\] is 1"),
        ("a", "outputs is 'a'; expected a list of 1 to 16 tensors"),
    ],
)
def test_outputs_that_are_refused(outputs: Any, reason: str) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1], "data": [1]}
    with pytest.raises(InputError, match=reason):
        parse_infer({"inputs": [tensor], "outputs": outputs}, memoryview(b""))


@pytest.mark.parametrize("length", ["", "-1", "+1", " 1", "1.0", "1_0", "٣", "9" * 20])
def test_header_lengths_that_are_none(length: str) -> None:
    with pytest.raises(InputError, match="expected the bytes of the JSON before the binary tensors"):
        split(b"{}", length)


def test_body_is_split_where_its_header_says() -> None:
    assert split(b"{}", None) == (b"{}", b"")
    assert split(b"{}abc", "2") == (b"{}", b"abc")
    with pytest.raises(InputError, match="is 6, and the body has 5 bytes once it is unpacked"):
        split(b"{}abc", "6")


def test_texts_among_numbers_are_refused_before_an_array_of_texts_is_made() -> None:
    data = ["x" * (1 << 20), *([1] * 1000)]
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="expected lists of numbers"):
            numbers(data, "image")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_twenty_thousand_bodies_that_nobody_sends_raise_nothing_but_errors_of_ours() -> None:
    inputs = itertools.islice(tensor_fuzzing.bodies(seed=1), 20_000)
    outcomes = outcomes_of(inputs, tensor_fuzzing.parse, (GraftError,))
    assert min(outcomes["read"], outcomes.total() - outcomes["read"]) > 1000


def test_a_fault_that_is_not_ours_shows_its_input(capsys: pytest.CaptureFixture[str]) -> None:
    def read(text: str) -> int:
        return int(text)

    with pytest.raises(ValueError, match="invalid literal"):
        outcomes_of([("1",), ("no number",)], read, (GraftError,))
    assert capsys.readouterr().out == "input 1: ('no number',)\n"


class TestAnswers:
    VALUES = np.array([[0.25, 0.5, 0.25]], np.float32)

    def test_json(self) -> None:
        body, length = write_answer({"id": "\ud800"}, [(Wanted("p"), self.VALUES)])
        assert length is None
        output = {"name": "p", "datatype": "FP32", "shape": [1, 3], "data": [0.25, 0.5, 0.25]}
        assert json.loads(body) == {"id": "\ud800", "outputs": [output]}

    def test_binary_beside_json(self) -> None:
        best = classes_of(self.VALUES, 2, ["a", "b", "c"])
        outputs = [
            (Wanted("p", binary=True), self.VALUES),
            (Wanted("q"), best),
            (Wanted("r", binary=True), best),
        ]
        body, length = write_answer({}, outputs)
        assert length is not None
        first, second, third = json.loads(body[:length])["outputs"]
        assert first["parameters"] == {"binary_data_size": 12}
        assert (second["datatype"], second["shape"], second["data"]) == (
            "BYTES", [1, 2], ["0.500000:1:b", "0.250000:0:a"],
        )  # fmt: skip
        assert third["parameters"] == {"binary_data_size": 32}
        assert body[length:] == self.VALUES.tobytes() + packed(b"0.500000:1:b", b"0.250000:0:a")

    def test_classes_without_names_and_more_of_them_than_there_are(self) -> None:
        assert classes_of(self.VALUES, 9, []) == [[b"0.500000:1", b"0.250000:0", b"0.250000:2"]]

    @pytest.mark.parametrize("datatype", DATATYPES)
    def test_every_dtype_has_its_name(self, datatype: str) -> None:
        kind = np.dtype(np.bool_) if datatype == "BOOL" else DATATYPES[datatype]
        assert datatype_of(kind) == datatype
