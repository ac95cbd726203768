"""`grpc.reflection`: tools learn from it which services there are, and their messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2

from service.grpc.messages import POOL, message_class
from service.grpc.method import Asked, Method, Methods
from service.grpc.status import Failure

# The newer name and the older one, which most tools still ask for; messages are the same on the wire.
SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_REQUEST, _RESPONSE = (
    "grpc.reflection.v1.ServerReflectionRequest",
    "grpc.reflection.v1.ServerReflectionResponse",
)


def methods(services: Collection[str]) -> Methods:
    """The stream of questions and answers; `services` are the names of all that are here."""

    def answer(message: Any, asked: Asked) -> Any:
        response = message_class(_RESPONSE)(original_request=message)
        kind = message.WhichOneof("message_request")
        if kind == "list_services":
            for name in sorted(services):
                response.list_services_response.service.add(name=name)
        elif kind == "file_by_filename":
            _describe(response, lambda: POOL.FindFileByName(message.file_by_filename))
        elif kind == "file_containing_symbol":
            _describe(response, lambda: POOL.FindFileContainingSymbol(message.file_containing_symbol))
        elif kind == "all_extension_numbers_of_type":
            name = message.all_extension_numbers_of_type
            # There are no extensions in these definitions.
            response.all_extension_numbers_response.base_type_name = name
        else:
            _tell(response, grpc.StatusCode.NOT_FOUND, "there is no such extension here.")
        return response

    def refuse(message: Any, failure: Failure) -> Any:
        response = message_class(_RESPONSE)()
        _tell(response, failure.code, failure.message)
        return response

    method = Method(_REQUEST, answer, "open", "quick", refuse)
    return {f"/{service}/ServerReflectionInfo": method for service in SERVICES}


def _describe(response: Any, find: Callable[[], Any]) -> None:
    """The definition that is found, and before it those that it imports."""
    try:
        file = find()
    except KeyError as exc:
        _tell(response, grpc.StatusCode.NOT_FOUND, f"there is no {str(exc)[:200]} here.")
        return
    for one in dict.fromkeys(_with_imports(file)):
        proto = descriptor_pb2.FileDescriptorProto()
        POOL.FindFileByName(one).CopyToProto(proto)
        response.file_descriptor_response.file_descriptor_proto.append(proto.SerializeToString())


def _with_imports(file: Any) -> Iterator[str]:
    yield file.name
    for imported in file.dependencies:
        yield from _with_imports(imported)


def _tell(response: Any, code: grpc.StatusCode, text: str) -> None:
    number: int = code.value[0]
    response.error_response.error_code = number
    response.error_response.error_message = text
