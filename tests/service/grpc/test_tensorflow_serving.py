"""TensorFlow Serving's services, asked without a client's help."""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
import pytest

from service.grpc.messages import message_class
from service.grpc.tensor_protos import tensor_of
from tests.fixtures import plain
from tests.service.grpc.client import PATIENCE_S, RED, Client

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PROBABILITIES = pytest.approx([0.9999092, 0.0000454, 0.0000454], rel=1e-3)


def message(name: str, /, **values: Any) -> Any:
    return message_class(f"tensorflow.serving.{name}")(**values)


def spec(name: str = "tiny", version: int | None = None, **values: Any) -> Any:
    made = message("ModelSpec", name=name, **values)
    if version is not None:
        made.version.value = version
    return made


def ask(client: Client, name: str, request: Any, service: str = "PredictionService") -> Any:
    answer = request.DESCRIPTOR.full_name.replace("Request", "Response")
    method = client.method(name, f"tensorflow.serving.{service}", answer)
    return method.with_call(request.SerializeToString(), timeout=PATIENCE_S)


def refused(client: Client, name: str, request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(client, name, request)
    return caught.value.code(), caught.value.details()


def predict(tensor: Any, model: Any = None, **values: Any) -> Any:
    return message("PredictRequest", model_spec=model or spec(), inputs={"image": tensor}, **values)


def files(*contents: bytes, shape: tuple[int, ...] | None = None) -> Any:
    made = message_class("tensorflow.TensorProto")(dtype="DT_STRING", string_val=contents)
    for size in (len(contents),) if shape is None else shape:
        made.tensor_shape.dim.add(size=size)
    return made


def pixels(kind: type = np.uint8, *, raw: bool = True) -> Any:
    made = tensor_of(RED.astype(kind))
    if raw:
        field = next(field.name for field, _ in made.ListFields() if field.name.endswith("_val"))
        made.ClearField(field)
        made.tensor_content = RED.astype(kind).tobytes()
    return made


def rows(tensor: Any) -> Any:
    return np.array(tensor.float_val).reshape([dim.size for dim in tensor.tensor_shape.dim])


class TestPredict:
    def test_files(self, client: Client) -> None:
        answer, _ = ask(client, "Predict", predict(files(plain("red"), plain("blue", kind="JPEG"))))
        assert rows(answer.outputs["probabilities"]).argmax(axis=1).tolist() == [0, 2]
        assert rows(answer.outputs["probabilities"])[0] == PROBABILITIES
        assert (answer.model_spec.name, answer.model_spec.version.value) == ("tiny", 1)

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
    def test_shapes_of_one_file(self, client: Client, shape: tuple[int, ...]) -> None:
        answer, _ = ask(client, "Predict", predict(files(plain("red"), shape=shape)))
        assert rows(answer.outputs["probabilities"]).shape == (1, 3)

    @pytest.mark.parametrize("raw", [True, False])
    @pytest.mark.parametrize(
        "kind", [np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64, np.uint64]
    )
    def test_pixels(self, client: Client, kind: type, raw: bool) -> None:
        answer, _ = ask(client, "Predict", predict(pixels(kind, raw=raw)))
        assert rows(answer.outputs["probabilities"])[0] == PROBABILITIES

    def test_versions_signatures_and_filters(self, client: Client) -> None:
        model = spec(version=1, signature_name="serving_default")
        answer, _ = ask(client, "Predict", predict(pixels(), model, output_filter=["probabilities"]))
        assert answer.model_spec.signature_name == "serving_default"
        assert refused(client, "Predict", predict(pixels(), spec(version=7)))[0] == NOT_FOUND
        assert refused(client, "Predict", predict(pixels(), spec(version_label="canary")))[0] == NOT_FOUND
        assert (
            "signature_name is 'x'"
            in refused(client, "Predict", predict(pixels(), spec(signature_name="x")))[1]
        )
        assert "'x' is none of tiny" in refused(client, "Predict", predict(pixels(), output_filter=["x"]))[1]

    def test_none_of_the_classes(self, client: Client) -> None:
        tensor = files(plain("red"), plain((200, 200, 200)))
        answer, _ = ask(client, "Predict", predict(tensor, spec("tuned")))
        assert list(answer.outputs["rejected"].bool_val) == [False, True]
        answer, _ = ask(client, "Predict", predict(tensor, spec("tuned"), output_filter=["probabilities"]))
        assert set(answer.outputs) == {"probabilities"}

    def test_bad_input(self, client: Client) -> None:
        unknown = message_class("tensorflow.TensorProto")(dtype=99)
        shapeless = files(b"x")
        shapeless.tensor_shape.unknown_rank = True
        short = pixels()
        short.tensor_content = short.tensor_content[:-1]
        wide = message_class("tensorflow.TensorProto")(dtype="DT_UINT8", int_val=[1])
        for size in (2**62, 2**62):
            wide.tensor_shape.dim.add(size=size)
        cases = [
            (unknown, "has the type 99"),
            (shapeless, "has no shape"),
            (files(b"no image"), "image[0]"),
            (files(plain("red"), shape=(2,)), "expected 2 texts"),
            (files(plain("red"), shape=(-1,)), "none below 0"),
            (files(shape=(0,)), "holds no image"),
            (files(*[b"x"] * 10_000), "holds 10000 images; at most 40"),
            (short, "which takes 768 bytes"),
            (wide, "has the shape [1]; expected"),
            (tensor_of(RED > 1), "is BOOL"),
            (tensor_of(RED.astype(np.float32) * np.float32("nan")), "expected pixels from 0 to 255"),
        ]
        for tensor, expected in cases:
            code, text = refused(client, "Predict", predict(tensor))
            assert (code, expected in text) == (INVALID, True), text
        other = message("PredictRequest", model_spec=spec(), inputs={"photo": pixels()})
        assert "the inputs are 'photo'; expected one, 'image'" in refused(client, "Predict", other)[1]
        assert "model_spec has no name" in refused(client, "Predict", message("PredictRequest"))[1]
        assert refused(client, "Predict", predict(pixels(), spec("none")))[0] == NOT_FOUND
        assert refused(client, "MultiInference", predict(pixels()))[0] == grpc.StatusCode.UNIMPLEMENTED


def examples(*contents: bytes, name: str = "image") -> Any:
    made = message("Input")
    made.example_list.SetInParent()
    for content in contents:
        example = made.example_list.examples.add()
        example.features.feature[name].bytes_list.value.append(content)
    return made


class TestExamples:
    @pytest.mark.parametrize("name", ["image", "image/encoded"])
    def test_classify(self, client: Client, name: str) -> None:
        given = examples(plain("red"), plain("blue"), name=name)
        request = message("ClassificationRequest", model_spec=spec(), input=given)
        answer, _ = ask(client, "Classify", request)
        first, second = answer.result.classifications
        assert [one.label for one in first.classes] == ["red", "green", "blue"]
        assert [one.score for one in first.classes] == PROBABILITIES
        assert second.classes[2].score > 0.99

    def test_none_of_the_classes_is_told_beside(self, client: Client) -> None:
        given = examples(plain("red"), plain((200, 200, 200)))
        request = message("ClassificationRequest", model_spec=spec("tuned"), input=given)
        _, call = ask(client, "Classify", request)
        assert json.loads(dict(call.trailing_metadata())["rejected"]) == [False, True]

    def test_regress(self, client: Client) -> None:
        given = examples(plain("red"), plain("blue"))
        answer, _ = ask(
            client, "Regress", message("RegressionRequest", model_spec=spec("redness"), input=given)
        )
        first, second = (one.value for one in answer.result.regressions)
        assert first > second

    def test_bad_input(self, client: Client) -> None:
        def classify(given: Any, model: str = "tiny") -> tuple[grpc.StatusCode, str]:
            return refused(
                client, "Classify", message("ClassificationRequest", model_spec=spec(model), input=given)
            )

        numbers = examples(b"x")
        numbers.example_list.examples[0].features.feature["image"].int64_list.value.append(1)
        two = examples(b"x")
        two.example_list.examples[0].features.feature["image"].bytes_list.value.append(b"y")
        context = message("Input")
        context.example_list_with_context.context.SetInParent()
        cases = [
            (examples(name="x"), "holds no image"),
            (message("Input"), "holds no image"),
            (examples(b"x", name="photo"), "example 0 has the features 'photo'"),
            (examples(b"x"), "image[0]"),
            (numbers, "with the bytes of an image file"),
            (two, "with the bytes of an image file"),
            (context, "the examples have a context"),
            (examples(*[b"x"] * 41), "holds 41 images; at most 40"),
        ]
        for given, expected in cases:
            code, text = classify(given)
            assert (code, expected in text) == (INVALID, True), text
        assert "the output 'probabilities' is none of redness" in classify(examples(b"x"), "redness")[1]


def test_metadata(client: Client) -> None:
    request = message("GetModelMetadataRequest", model_spec=spec(), metadata_field=["signature_def"])
    answer, _ = ask(client, "GetModelMetadata", request)
    signatures = message("SignatureDefMap")
    assert answer.metadata["signature_def"].Unpack(signatures)
    taken = signatures.signature_def["serving_default"].inputs["image"]
    given = signatures.signature_def["serving_pixels"].outputs["probabilities"]
    assert taken.dtype == 7
    assert [dim.size for dim in given.tensor_shape.dim] == [-1, 3]
    assert (
        "metadata_field is []" in refused(client, "GetModelMetadata", message("GetModelMetadataRequest"))[1]
    )


def test_status(client: Client) -> None:
    request = message("GetModelStatusRequest", model_spec=spec())
    answer, _ = ask(client, "GetModelStatus", request, "ModelService")
    (one,) = answer.model_version_status
    assert (one.version, one.state, one.status.error_code) == (1, 30, 0)
    with pytest.raises(grpc.RpcError, match="is not known here"):
        ask(
            client,
            "GetModelStatus",
            message("GetModelStatusRequest", model_spec=spec("none")),
            "ModelService",
        )
