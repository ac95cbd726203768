"""KServe's clients of the Open Inference Protocol, over gRPC and REST, unmodified."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

RED = np.tile(np.array([255, 0, 0], np.uint8), (1, 16, 16, 1))
PROBABILITIES = [[0.9999092, 0.0000454, 0.0000454]]
GRPC, HTTP = os.environ["GRAFT_ADDRESS"], f"http://{os.environ['GRAFT_HTTP']}"


def request(values: Any, datatype: str, *, binary: bool = False) -> Any:
    given = InferInput("image", list(values.shape), datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    return InferRequest("tiny", [given], request_id="one")


def test_grpc() -> None:
    async def conversation() -> list[Any]:
        async with InferenceGRPCClient(GRPC) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("tiny")
            with open(os.environ["GRAFT_RED"], "rb") as file:
                photo = np.array([file.read()], np.object_)
            requests = [
                request(RED, "UINT8"),
                request(RED, "UINT8", binary=True),
                request(photo, "BYTES", binary=True),
            ]
            answers = [await client.infer(one) for one in requests]
            with pytest.raises(Exception, match="'none' is not served"):
                await client.infer(InferRequest("none", request(RED, "UINT8").inputs))
            return answers

    for answer in asyncio.run(conversation()):
        assert (answer.id, answer.model_name) == ("one", "tiny")
        np.testing.assert_allclose(answer.outputs[0].as_numpy(), PROBABILITIES, rtol=1e-3)


@pytest.mark.parametrize("binary", [True, False])
def test_rest(binary: bool) -> None:
    async def conversation() -> Any:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        assert await client.is_server_live(HTTP)
        assert await client.is_server_ready(HTTP)
        assert await client.is_model_ready(HTTP, "tiny")
        return await client.infer(HTTP, request(RED, "UINT8", binary=binary), model_name="tiny")

    answer = asyncio.run(conversation())
    np.testing.assert_allclose(answer.outputs[0].as_numpy(), PROBABILITIES, rtol=1e-3)
