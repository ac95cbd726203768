"""inference.GRPCInferenceService, asked without a client's help."""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
import pytest

from models.version import __version__
from service.grpc.messages import message_class
from tests.fixtures import plain
from tests.service.grpc.client import RED, Client, elements, infer, numbers
from tests.service.grpc.conftest import ADMIN

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PROBABILITIES = [[0.9999092, 0.0000454, 0.0000454]]
AS_ADMIN = (("authorization", f"Bearer {ADMIN}"),)


def test_server(client: Client) -> None:
    assert client.call("ServerLive").live
    assert client.call("ServerReady").ready
    told = client.call("ServerMetadata")
    assert (told.name, told.version) == ("graft", __version__)
    assert {"binary_tensor_data", "classification", "model_repository"} < set(told.extensions)


def test_model(client: Client) -> None:
    assert client.call("ModelReady", name="tiny").ready
    assert client.call("ModelReady", name="tiny", version="1").ready
    assert not client.call("ModelReady", name="tiny", version="7").ready
    assert not client.call("ModelReady", name="none").ready
    told = client.call("ModelMetadata", name="tiny")
    (taken,), (given,) = told.inputs, told.outputs
    assert (taken.name, taken.datatype, list(taken.shape)) == ("image", "UINT8", [-1, 16, 16, 3])
    assert (given.name, given.datatype, list(given.shape)) == ("probabilities", "FP32", [-1, 3])
    config = client.call("ModelConfig", name="tiny").config
    assert (config.name, config.max_batch_size, config.backend) == ("tiny", 40, "onnxruntime")
    assert list(config.version_policy.specific.versions) == [1]
    assert (config.input[0].format, list(config.input[0].dims)) == (1, [16, 16, 3])
    assert config.output[0].label_filename == "labels.txt"


@pytest.mark.parametrize("name", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_model_that_is_not_served(client: Client, name: str) -> None:
    assert client.refused(name, name="none")[0] == NOT_FOUND
    code, text = client.refused(name, name="tiny", version="7")
    assert (code, "no version 7" in text) == (NOT_FOUND, True)
    assert client.refused(name, name="tiny", version="seven")[0] == NOT_FOUND


def test_raw_contents(client: Client) -> None:
    response = client.call("ModelInfer", infer(id="bär"))
    assert (response.id, response.model_name, response.model_version) == ("bär", "tiny", "1")
    assert (response.outputs[0].name, response.outputs[0].datatype) == ("probabilities", "FP32")
    np.testing.assert_allclose(numbers(response), PROBABILITIES, rtol=1e-3)


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("UINT8", "uint_contents"), ("INT32", "int_contents"), ("INT64", "int64_contents"),
        ("UINT64", "uint64_contents"), ("FP32", "fp32_contents"), ("FP64", "fp64_contents"),
    ],
)  # fmt: skip
def test_typed_contents(client: Client, datatype: str, field: str) -> None:
    message = infer(datatype=datatype)
    del message.raw_input_contents[:]
    getattr(message.inputs[0].contents, field).extend(RED.ravel().tolist())
    np.testing.assert_allclose(numbers(client.call("ModelInfer", message)), PROBABILITIES, rtol=1e-3)
    getattr(message.inputs[0].contents, field).append(1)
    assert client.refused("ModelInfer", message)[0] == INVALID


def test_image_files_are_decoded_here(client: Client) -> None:
    files = plain("red"), plain("blue", kind="JPEG")
    for shape in ([2], [2, 1]):
        response = client.call("ModelInfer", infer(elements(*files), "BYTES", shape=shape))
        assert numbers(response).argmax(axis=1).tolist() == [0, 2]
    typed = infer(b"", "BYTES", shape=[2])
    del typed.raw_input_contents[:]
    typed.inputs[0].contents.bytes_contents.extend(files)
    assert numbers(client.call("ModelInfer", typed)).argmax(axis=1).tolist() == [0, 2]


def test_classification(client: Client) -> None:
    message = infer()
    output = message.outputs.add(name="probabilities")
    output.parameters["classification"].int64_param = 2
    response = client.call("ModelInfer", message)
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == ("BYTES", [1, 2])
    assert response.raw_output_contents[0] == elements(b"0.999909:0:red", b"0.000045:1:green")


def test_none_of_the_classes(client: Client) -> None:
    files = elements(plain("red"), plain((200, 200, 200)))
    response = client.call("ModelInfer", infer(files, "BYTES", "tuned", [2]))
    assert json.loads(response.parameters["rejected"].string_param) == [False, True]


def test_statistics_grow(client: Client) -> None:
    def counts() -> tuple[int, int]:
        (row,) = client.call("ModelStatistics", name="tiny").model_stats
        return row.inference_count, row.inference_stats.success.count

    images, requests = counts()
    client.call("ModelInfer", infer(np.tile(RED, (3, 1, 1, 1))))
    assert counts() == (images + 3, requests + 1)
    assert {row.name for row in client.call("ModelStatistics").model_stats} >= {"tiny", "tuned"}


def test_repository(client: Client) -> None:
    def states() -> dict[str, str]:
        return {one.name: one.state for one in client.call("RepositoryIndex").models}

    assert states()["redness"] == "READY"
    code, text = client.refused("RepositoryModelUnload", model_name="redness")
    assert (code, "a token of the scope admin is needed" in text) == (grpc.StatusCode.UNAUTHENTICATED, True)
    for name, expected in (
        ("RepositoryModelLoad", "a model is loaded as it lies in its folder"),
        ("RepositoryModelUnload", "parameters are known by one name here: unload_dependents"),
    ):
        message = message_class(f"inference.{name}Request")(model_name="redness")
        message.parameters["config"].string_param = "{}"
        code, text = client.refused(name, message, metadata=AS_ADMIN)
        assert (code, expected in text) == (INVALID, True)
    message = message_class("inference.RepositoryModelUnloadRequest")(model_name="redness")
    message.parameters["unload_dependents"].bool_param = False
    client.call("RepositoryModelUnload", message, metadata=AS_ADMIN)
    assert states()["redness"] == "UNAVAILABLE"
    assert not client.call("ModelReady", name="redness").ready
    client.call("RepositoryModelLoad", model_name="redness", metadata=AS_ADMIN)
    assert states()["redness"] == "READY"
    assert client.refused("RepositoryIndex", repository_name="other")[0] == INVALID


def test_what_there_is_not(client: Client) -> None:
    code, text = client.refused("SystemSharedMemoryStatus")
    assert (code, text) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "there is no shared memory here. Send tensors in the request.",
    )
    assert client.refused("CudaSharedMemoryRegister", name="x")[0] == grpc.StatusCode.UNIMPLEMENTED
    assert not client.call("TraceSetting").settings
    assert not client.call("LogSettings").settings
    settings = message_class("inference.LogSettingsRequest")()
    settings.settings["log_verbose_level"].uint32_param = 3
    assert client.refused("LogSettings", settings)[0] == grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(
        grpc.RpcError, match=r"there is no method '/inference\.GRPCInferenceService/Nothing' here"
    ):
        client.method("Nothing", answer="inference.ServerLiveResponse")(b"")


def _with(**changes: Any) -> Any:
    message = infer()
    for name, value in changes.items():
        setattr(message.inputs[0], name, value)
    return message


def _parameter(name: str, place: str = "request", **value: Any) -> Any:
    message = infer()
    (message if place == "request" else message.inputs[0]).parameters[name].MergeFrom(
        message_class("inference.InferParameter")(**value)
    )
    return message


def _shaped(*shape: int) -> Any:
    return infer(shape=shape)


NAN = np.full((1, 16, 16, 3), np.nan, np.float32)
BAD = {
    "a datatype that is none": (_with(datatype="UINT9"), "the datatype of 'image' is 'UINT9'"),
    "another name": (_with(name="photo"), "the inputs are 'photo'"),
    "a shape that is too large": (_shaped(2, 16, 16, 3), "which takes 1,536 bytes"),
    "a shape below 0": (_shaped(-1, 16, 16, 3), "none below 0"),
    "a shape that overflows": (_shaped(2**62, 4, 16, 3), "more than 2^64 bytes"),
    "no shape": (_shaped(), "the shape of 'image'"),
    "another size": (infer(np.zeros((1, 8, 8, 3), np.uint8)), "expected [N, 16, 16, 3]"),
    "missing bytes": (infer(RED.tobytes()[:-1], shape=RED.shape), "which takes 768 bytes"),
    "surplus bytes": (infer(RED.tobytes() + b"x", shape=RED.shape), "which takes 768 bytes"),
    "NaN": (infer(NAN, "FP32"), "expected pixels from 0 to 255"),
    "scaled pixels": (infer((RED / 255).astype(np.float32), "FP32"), "expected pixels from 0 to 255"),
    "BOOL": (infer(RED, "BOOL"), "is BOOL"),
    "no image file": (infer(elements(b"no image"), "BYTES", shape=[1]), "image[0]"),
    "an element that lies": (infer(b"\xff\xff\xff\xff", "BYTES", shape=[1]), "says that it has 4,294,967,295 bytes"),
    "elements that there are not": (infer(elements(b""), "BYTES", shape=[2**40]), "4 bytes each at least"),
    "10,000 instances": (
        infer(elements(*[b"x"] * 10_000), "BYTES", shape=[10_000]),
        "holds 10000 images; at most 40",
    ),
    "no instances": (infer(b"", shape=[0, 16, 16, 3]), "holds no image"),
    "a parameter": (_parameter("sequence", string_param="x"), "'sequence' of the request is not known"),
    "a parameter without a value": (_parameter("timeout"), "timeout is None"),
    "a timeout below 0": (_parameter("timeout", int64_param=-1), "timeout is -1"),
    "a sequence": (_parameter("sequence_id", int64_param=7), "no sequences"),
    "shared memory": (_parameter("shared_memory_region", "input", string_param="x"), "no shared memory"),
    "a size": (_parameter("binary_data_size", "input", int64_param=767), "is 767; expected 768"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(client: Client, name: str) -> None:
    message, expected = BAD[name]
    code, text = client.refused("ModelInfer", message)
    assert (code, expected in text) == (INVALID, True), text
    np.testing.assert_allclose(numbers(client.call("ModelInfer", infer())), PROBABILITIES, rtol=1e-3)


def test_contents_that_contradict(client: Client) -> None:
    both = infer()
    both.inputs[0].contents.uint_contents.extend([1, 2])
    assert "contents beside raw_input_contents" in client.refused("ModelInfer", both)[1]
    two = infer()
    two.raw_input_contents.append(b"x")
    assert "raw_input_contents holds 2 tensors" in client.refused("ModelInfer", two)[1]
    other = infer()
    del other.raw_input_contents[:]
    other.inputs[0].contents.fp32_contents.extend([1.0])
    assert "has fp32_contents; expected uint_contents" in client.refused("ModelInfer", other)[1]
    sized = infer()
    del sized.raw_input_contents[:]
    sized.inputs[0].contents.uint_contents.extend(RED.ravel().tolist())
    sized.inputs[0].parameters["binary_data_size"].int64_param = 768
    assert "is 768; expected nothing: over gRPC" in client.refused("ModelInfer", sized)[1]
    output = infer()
    output.outputs.add(name="logits")
    assert "'logits' is none of tiny" in client.refused("ModelInfer", output)[1]


@pytest.mark.parametrize("model", ["none", "", "a:b", "a/b", "bär", "\x00", "x" * 10_000, "ä" * 10_000])
def test_names_that_are_none(client: Client, model: str) -> None:
    assert client.refused("ModelInfer", infer(model=model))[0] == NOT_FOUND


def test_what_is_no_message(client: Client) -> None:
    for name in ("ModelInfer", "ModelMetadata", "ServerLive"):
        with pytest.raises(grpc.RpcError, match="what came is no inference") as caught:
            client.method(name)(b"\xff\xff\xff")
        assert caught.value.code() == INVALID
