"""tensorflow-serving-api, unmodified, with TensorFlow's own tensors and examples."""

from __future__ import annotations

import os
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

RED = np.tile(np.array([255, 0, 0], np.uint8), (1, 16, 16, 1))
PROBABILITIES = [[0.9999092, 0.0000454, 0.0000454]]
PATIENCE_S = 60.0


@pytest.fixture
def channel() -> Any:
    with grpc.insecure_channel(os.environ["GRAFT_ADDRESS"]) as made:
        yield made


@pytest.fixture
def stub(channel: Any) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def photo(name: str = "GRAFT_RED") -> bytes:
    with open(os.environ[name], "rb") as file:
        return file.read()


def predict(values: Any, **fields: Any) -> Any:
    request = predict_pb2.PredictRequest(**fields)
    request.model_spec.name = "tiny"
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(values))
    return request


def test_predict_files(stub: Any) -> None:
    answer = stub.Predict(predict([photo(), photo("GRAFT_BLUE")]), PATIENCE_S)
    values = tf.make_ndarray(answer.outputs["probabilities"])
    assert (values.dtype, values.argmax(axis=1).tolist()) == (np.float32, [0, 2])
    assert answer.model_spec.version.value == 1


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float16, np.float32, np.float64])
def test_predict_pixels(stub: Any, kind: Any) -> None:
    answer = stub.Predict(predict(RED.astype(kind)), PATIENCE_S)
    np.testing.assert_allclose(tf.make_ndarray(answer.outputs["probabilities"]), PROBABILITIES, rtol=1e-3)


def test_predict_what_is_wrong(stub: Any) -> None:
    wrong = [predict(RED[0]), predict(RED[:, :8]), predict(["no image"]), predict(RED + 1j)]
    for request in wrong:
        with pytest.raises(grpc.RpcError, match="image") as caught:
            stub.Predict(request, PATIENCE_S)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    request = predict(RED)
    request.model_spec.name = "none"
    with pytest.raises(grpc.RpcError, match="'none' is not served") as caught:
        stub.Predict(request, PATIENCE_S)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def example(name: str, content: bytes) -> Any:
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    return tf.train.Example(features=tf.train.Features(feature={name: value}))


def test_classify(stub: Any) -> None:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "tiny"
    request.input.example_list.examples.extend(
        [example("image/encoded", photo()), example("image", photo("GRAFT_BLUE"))]
    )
    first, second = stub.Classify(request, PATIENCE_S).result.classifications
    assert max(first.classes, key=lambda one: one.score).label == "red"
    assert max(second.classes, key=lambda one: one.score).label == "blue"


def test_regress(stub: Any) -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "redness"
    request.input.example_list.examples.extend(
        [example("image", photo()), example("image", photo("GRAFT_BLUE"))]
    )
    red, blue = (one.value for one in stub.Regress(request, PATIENCE_S).result.regressions)
    assert red > blue


def test_metadata_and_status(stub: Any, channel: Any) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert stub.GetModelMetadata(request, PATIENCE_S).metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["image"].dtype == tf.string.as_datatype_enum
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "tiny"
    answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, PATIENCE_S)
    (one,) = answer.model_version_status
    assert (one.version, one.state, one.status.error_code) == (1, 30, 0)


def test_messages_are_those_of_the_published_client() -> None:
    """Every message, field, type and number of ours stands in tensorflow-serving-api."""
    with open(os.environ["GRAFT_DESCRIPTORS"], "rb") as file:
        ours = FileDescriptorSet.FromString(file.read())
    pool, theirs = DescriptorPool(), predict_pb2.DESCRIPTOR.pool
    for one in ours.file:
        pool.AddSerializedFile(one.SerializeToString())
    compared = 0
    for one in ours.file:
        if not one.package.startswith("tensorflow"):
            continue
        for message in one.message_type:
            name = f"{one.package}.{message.name}"
            published = theirs.FindMessageTypeByName(name)
            known = {field.name: field for field in published.fields}
            for field in pool.FindMessageTypeByName(name).fields:
                other = known[field.name]
                assert (field.number, field.cpp_type) == (other.number, other.cpp_type), field.full_name
                assert (field.message_type and field.message_type.full_name) == (
                    other.message_type and other.message_type.full_name
                )
                compared += 1
        for enum in one.enum_type:
            numbers = theirs.FindEnumTypeByName(f"{one.package}.{enum.name}").values_by_name
            assert all(numbers[value.name].number == value.number for value in enum.value)
    assert compared > 60
