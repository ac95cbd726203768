"""Reflection: what tools ask for, under both of its names."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from service.grpc.messages import message_class
from service.grpc.reflection import SERVICES
from tests.service.grpc.client import PATIENCE_S, Client


def ask(client: Client, *questions: dict[str, Any], service: str = SERVICES[0]) -> list[Any]:
    request = message_class("grpc.reflection.v1.ServerReflectionRequest")
    parse = message_class("grpc.reflection.v1.ServerReflectionResponse").FromString
    method = client.channel.stream_stream(f"/{service}/ServerReflectionInfo", None, parse)
    return list(method((request(**one).SerializeToString() for one in questions), timeout=PATIENCE_S))


@pytest.mark.parametrize("name", SERVICES)
def test_services(client: Client, name: str) -> None:
    (answer,) = ask(client, {"list_services": "*"}, service=name)
    assert [one.name for one in answer.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    ]


def test_every_service_that_is_listed_can_be_described(client: Client) -> None:
    (listed,) = ask(client, {"list_services": ""})
    names = [one.name for one in listed.list_services_response.service]
    for name, answer in zip(
        names, ask(client, *({"file_containing_symbol": name} for name in names)), strict=True
    ):
        pool = DescriptorPool()
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(one)
            for one in answer.file_descriptor_response.file_descriptor_proto
        ]
        for file in reversed(files):  # what it imports stands behind a file
            pool.AddSerializedFile(file.SerializeToString())
        assert pool.FindServiceByName(name).methods
        by_name = ask(client, {"file_by_filename": files[0].name})[0].file_descriptor_response
        assert by_name == answer.file_descriptor_response


def test_what_is_no_question(client: Client) -> None:
    parse = message_class("grpc.reflection.v1.ServerReflectionResponse").FromString
    method = client.channel.stream_stream(f"/{SERVICES[0]}/ServerReflectionInfo", None, parse)
    (answer,) = method(iter([b"\xff"]), timeout=PATIENCE_S)
    assert answer.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "what came is no grpc.reflection.v1.ServerReflectionRequest" in answer.error_response.error_message


def test_what_there_is_not(client: Client) -> None:
    extension = {"containing_type": "inference.ModelInferRequest", "extension_number": 7}
    questions: list[dict[str, Any]] = [
        {"file_containing_symbol": "other.Service"},
        {"file_by_filename": "other.proto"},
        {"file_containing_extension": extension},
        {},
    ]
    for answer in ask(client, *questions):
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert "there is no" in answer.error_response.error_message
    (answer,) = ask(client, {"all_extension_numbers_of_type": "inference.ModelInferRequest"})
    assert list(answer.all_extension_numbers_response.extension_number) == []
