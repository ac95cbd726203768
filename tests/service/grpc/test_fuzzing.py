"""Messages that no client sends: each is read or refused by our own error, and the service is as well as before."""

from __future__ import annotations

import itertools

import grpc
from google.protobuf.message import DecodeError

from benchmarks import message_fuzzing
from benchmarks.fuzzing import outcomes_of
from models.errors import GraftError
from tests.service.grpc.client import PATIENCE_S, Client, infer, numbers

METHODS = {
    message_fuzzing.REQUEST: ("inference.GRPCInferenceService", "ModelInfer"),
    message_fuzzing.PREDICT: ("tensorflow.serving.PredictionService", "Predict"),
    message_fuzzing.CLASSIFY: ("tensorflow.serving.PredictionService", "Classify"),
}
TOLD = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
}


def test_whatever_comes_is_read_or_refused() -> None:
    inputs = itertools.islice(message_fuzzing.messages(seed=1), 10_000)
    outcomes = outcomes_of(inputs, message_fuzzing.read, (GraftError, DecodeError))
    assert set(outcomes) >= {"read", "InputError", "DecodeError"}


def test_the_service_is_as_well_as_before(client: Client) -> None:
    calls = []
    for name, data in itertools.islice(message_fuzzing.messages(seed=2), 500):
        service, method = METHODS[name]
        raw = client.channel.unary_unary(f"/{service}/{method}", None, None)
        calls.append(raw.future(data, timeout=PATIENCE_S))
        if len(calls) % 32 == 0:
            calls[-1].exception()
    assert {call.code() for call in calls} <= TOLD
    assert numbers(client.call("ModelInfer", infer())).argmax() == 0
