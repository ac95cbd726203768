"""huggingface_hub's InferenceClient, unmodified, sync and async."""

from __future__ import annotations

import asyncio
import base64
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests import optional
from tests.fixtures import plain

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    hub = optional.library("huggingface_hub", extra="clients")
    errors = optional.library("huggingface_hub.errors", extra="clients")

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]


def client(address: str, path: str = "/models/tiny") -> Any:
    return hub.InferenceClient(model=f"http://{address}{path}", token="any", provider="hf-inference")


@pytest.mark.parametrize("path", ["/models/tiny", "/models/tiny/pipeline/image-classification"])
def test_bytes_files_and_parameters(address: str, tmp_path: Path, path: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(plain("green", kind="JPEG"))
    for image in (plain("green"), tmp_path / "photo.jpg", str(tmp_path / "photo.jpg")):
        best, *others = client(address, path).image_classification(image)
        assert (best.label, len(others)) == ("green", 2)
        assert best.score == pytest.approx(1, abs=0.01)
    (only,) = client(address, path).image_classification(plain("blue"), top_k=1)
    assert only.label == "blue"


def test_none_of_the_classes(address: str) -> None:
    (best,) = client(address, "/models/tuned").image_classification(plain((200, 200, 200)), top_k=1)
    assert best.rejected is True


def test_features(address: str) -> None:
    """The client has `feature_extraction` for text alone, and sends whatever text it is given."""
    path = "/models/tiny/pipeline/image-feature-extraction"
    text = base64.b64encode(plain("blue")).decode()
    assert client(address, path).feature_extraction(text).tolist() == [[0, 0, 1]]
    assert client(address, path).feature_extraction(text, normalize=True).shape == (1, 3)


def test_errors_carry_what_we_say(address: str) -> None:
    with pytest.raises(errors.HfHubHTTPError, match="'none' is not served here"):
        client(address, "/models/none").image_classification(plain("red"))
    with pytest.raises(errors.HfHubHTTPError, match="image: not an image that can be read"):
        client(address).image_classification(b"no image")
    with pytest.raises(errors.HfHubHTTPError, match="expected softmax"):
        client(address).image_classification(plain("red"), function_to_apply="sigmoid")


def test_async(address: str) -> None:
    async def conversation() -> Any:
        async with hub.AsyncInferenceClient(
            model=f"http://{address}/models/tiny", token="any", provider="hf-inference"
        ) as client:
            return await client.image_classification(plain("red"))

    assert asyncio.run(conversation())[0].label == "red"
