"""OpenAI's client for Python, unmodified, sync and async."""

from __future__ import annotations

import asyncio
import base64
import warnings
from typing import Any

import numpy as np
import pytest

from tests import optional
from tests.fixtures import plain

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    openai = optional.library("openai", extra="clients")

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]


def uri(colour: str) -> str:
    return f"data:image/png;base64,{base64.b64encode(plain(colour)).decode()}"


@pytest.fixture
def client(address: str) -> Any:
    with openai.OpenAI(base_url=f"http://{address}/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_embeddings(client: Any, encoding: dict[str, str]) -> None:
    answer = client.embeddings.create(model="tiny", input=[uri("red"), uri("blue")], **encoding)
    assert (answer.model, answer.usage.total_tokens) == ("tiny", 0)
    vectors = [
        np.frombuffer(base64.b64decode(one.embedding), "<f4").tolist()
        if isinstance(one.embedding, str)
        else one.embedding
        for one in answer.data
    ]
    assert vectors == [[1, 0, 0], [0, 0, 1]]


def test_models(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "tiny"
    model = client.models.retrieve("tiny")
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "graft")


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="'none' is not served here") as caught:
        client.embeddings.create(model="none", input=uri("red"))
    assert (caught.value.code, caught.value.type) == ("model_not_found", "invalid_request_error")
    with pytest.raises(openai.BadRequestError, match="texts and tokens have no embedding") as caught:
        client.embeddings.create(model="tiny", input="a red square")
    assert caught.value.param == "input"
    with pytest.raises(openai.BadRequestError, match="dimensions is 2") as caught:
        client.embeddings.create(model="tiny", input=uri("red"), dimensions=2)
    assert caught.value.param == "dimensions"
    with pytest.raises(openai.NotFoundError, match="'none' is not served here"):
        client.models.retrieve("none")


def test_async(address: str) -> None:
    async def conversation() -> list[float]:
        async with openai.AsyncOpenAI(base_url=f"http://{address}/v1", api_key="any") as client:
            answer = await client.embeddings.create(model="tiny", input=uri("green"))
            vector: list[float] = answer.data[0].embedding
            return vector

    assert asyncio.run(conversation()) == [0, 1, 0]
