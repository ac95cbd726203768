"""gRPC's own clients for reflection and health, and our definitions beside those that published clients carry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2

ADDRESS = os.environ["GRAFT_ADDRESS"]


@pytest.fixture
def channel() -> Any:
    with grpc.insecure_channel(ADDRESS) as made:
        yield made


def test_health_probe(channel: Any) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "inference.GRPCInferenceService", "tensorflow.serving.PredictionService"):
        request = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING
        assert next(iter(stub.Watch(request))).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError, match="there is no service 'other' here"):
        stub.Check(health_pb2.HealthCheckRequest(service="other"))


def test_reflection_is_enough_to_call(channel: Any) -> None:
    """A client that knows nothing beforehand finds the service and its messages, and calls a method."""
    from google.protobuf import message_factory

    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} < set(database.get_services())
    pool = DescriptorPool(database)
    method = pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName("ModelMetadata")
    request, response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request.SerializeToString,
        response.FromString,
    )
    assert call(request(name="tiny")).inputs[0].name == "image"


def test_descriptors_are_those_of_the_definitions(tmp_path: Path) -> None:
    protoc = pytest.importorskip(
        "grpc_tools.protoc", reason="grpcio-tools is not installed; kserve brings it"
    )
    committed = Path(os.environ["GRAFT_DESCRIPTORS"])
    files, out = sorted(committed.parent.glob("*.proto")), tmp_path / "descriptors"
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"-I{committed.parent}",
        f"-I{well_known}",
        "--include_imports",
        f"--descriptor_set_out={out}",
    ]
    assert protoc.main([*arguments, *map(str, files)]) == 0
    made, known = (
        {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(one.read_bytes()).file}
        for one in (out, committed)
    )
    assert made == known, "make protos was not run"


def test_messages_are_those_of_the_published_client() -> None:
    """Every message, field, type and number of ours stands in tritonclient, and no field of its messages is missing."""
    with open(os.environ["GRAFT_DESCRIPTORS"], "rb") as file:
        ours = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    pool, theirs = DescriptorPool(), service_pb2.DESCRIPTOR.pool
    for one in ours.file:
        pool.AddSerializedFile(one.SerializeToString())
    compared = 0
    for one in ours.file:
        if one.package != "inference":
            continue
        for message in one.message_type:
            published = theirs.FindMessageTypeByName(f"inference.{message.name}")
            own = pool.FindMessageTypeByName(f"inference.{message.name}")
            partly = one.name == "model_config.proto"  # as far as a model of ours has one
            compared += _compare(own, published, partly)
        for service in one.service:
            own_service = pool.FindServiceByName(f"inference.{service.name}")
            published = theirs.FindServiceByName(f"inference.{service.name}")
            signature = {
                method.name: (method.input_type.full_name, method.client_streaming, method.server_streaming)
                for method in published.methods
            }
            for method in own_service.methods:
                told = (method.input_type.full_name, method.client_streaming, method.server_streaming)
                assert signature.pop(method.name) == told
            assert not signature
    assert compared > 100


def _compare(own: Any, published: Any, partly: bool) -> int:
    known = {field.name: field for field in published.fields}
    for field in own.fields:
        other = known.pop(field.name)
        for what in ("number", "type", "cpp_type"):
            assert getattr(field, what) == getattr(other, what), (field.full_name, what)
        assert (field.message_type and field.message_type.full_name) == (
            other.message_type and other.message_type.full_name
        )
    assert partly or not known, (own.full_name, list(known))
    nested = {one.name: one for one in published.nested_types}
    return len(own.fields) + sum(_compare(one, nested[one.name], partly) for one in own.nested_types)
