"""tritonclient over HTTP, unmodified: sync, in greenlets, aio; binary, JSON, packed; and lies that it can tell."""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import Any

import numpy as np
import pytest

from tests import optional
from tests.fixtures import plain

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    http = optional.library("tritonclient.http", extra="clients")
    aio = optional.library("tritonclient.http.aio", extra="clients")
    utils = optional.library("tritonclient.utils", extra="clients")

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]
RED = np.tile(np.array([255, 0, 0], np.uint8), (1, 16, 16, 1))
PROBABILITIES = [[0.9999092, 0.0000454, 0.0000454]]


@pytest.fixture(params=["graft", "triton"])
def client(request: pytest.FixtureRequest) -> Any:
    """Ours, and a real Triton that serves the same model, where somebody has started one."""
    if request.param == "graft":
        url = request.getfixturevalue("address")
    elif not (url := os.environ.get("GRAFT_TRITON", "")):
        pytest.skip("GRAFT_TRITON is not set; it is host:port of scripts/triton_reference.py")
    made = http.InferenceServerClient(url, concurrency=4)
    yield made
    made.close()


@pytest.fixture
def graft(address: str) -> Any:
    made = http.InferenceServerClient(address, concurrency=4)
    yield made
    made.close()


def image(values: Any = RED, datatype: str = "UINT8", *, binary: bool = True, module: Any = http) -> Any:
    made = module.InferInput("image", list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def files(*contents: bytes) -> Any:
    return image(np.array(contents, np.object_), "BYTES")


class TestLikeTriton:
    """The same code against both."""

    def test_health(self, client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert client.is_model_ready("tiny", "1")
        assert not client.is_model_ready("none")
        assert not client.is_model_ready("tiny", "7")

    def test_metadata(self, client: Any) -> None:
        server = client.get_server_metadata()
        assert {"name", "version", "extensions"} == set(server)
        assert {"binary_tensor_data", "classification", "statistics"} < set(server["extensions"])
        model = client.get_model_metadata("tiny")
        assert (model["name"], model["versions"]) == ("tiny", ["1"])
        assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 16, 16, 3]}]
        assert model["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}]

    def test_configuration(self, client: Any) -> None:
        config = client.get_model_config("tiny")
        (given,), (taken,) = config["input"], config["output"]
        assert config["max_batch_size"] > 1
        assert (given["data_type"], given["format"], given["dims"]) == (
            "TYPE_UINT8",
            "FORMAT_NHWC",
            [16, 16, 3],
        )
        assert (taken["data_type"], taken["dims"], taken["label_filename"]) == (
            "TYPE_FP32",
            [3],
            "labels.txt",
        )

    def test_repository_index(self, client: Any) -> None:
        assert {"name": "tiny", "version": "1", "state": "READY"} in client.get_model_repository_index()

    @pytest.mark.parametrize("binary_in", [True, False])
    @pytest.mark.parametrize("binary_out", [None, True, False])
    def test_infer(self, client: Any, binary_in: bool, binary_out: bool | None) -> None:
        outputs = None if binary_out is None else [http.InferRequestedOutput("probabilities", binary_out)]
        result = client.infer("tiny", [image(binary=binary_in)], outputs=outputs, request_id="bär")
        assert result.get_response()["id"] == "bär"
        assert result.get_response()["model_version"] == "1"
        (told,) = result.get_response()["outputs"]
        assert ("data" in told) == (binary_out is False)
        values = result.as_numpy("probabilities")
        assert (values.dtype, values.shape) == (np.float32, (1, 3))
        np.testing.assert_allclose(values, PROBABILITIES, rtol=1e-3)

    @pytest.mark.parametrize("coding", ["gzip", "deflate"])
    def test_packed(self, client: Any, coding: str) -> None:
        batch = np.tile(RED, (8, 1, 1, 1))
        result = client.infer(
            "tiny",
            [image(batch)],
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES * 8, rtol=1e-3)

    @pytest.mark.parametrize("binary", [True, False])
    def test_classification(self, client: Any, binary: bool) -> None:
        outputs = [http.InferRequestedOutput("probabilities", binary, class_count=9)]
        values = client.infer("tiny", [image()], outputs=outputs).as_numpy("probabilities")
        assert values.shape == (1, 3)
        texts = [text.decode() if isinstance(text, bytes) else text for text in values[0]]
        assert texts == ["0.999909:0:red", "0.000045:1:green", "0.000045:2:blue"]

    def test_in_greenlets(self, client: Any) -> None:
        pending = [client.async_infer("tiny", [image()]) for _ in range(20)]
        for one in pending:
            np.testing.assert_allclose(one.get_result().as_numpy("probabilities"), PROBABILITIES, rtol=1e-3)

    def test_statistics_grow(self, client: Any) -> None:
        def counts() -> tuple[int, int]:
            (row,) = client.get_inference_statistics("tiny")["model_stats"]
            return row["inference_count"], row["inference_stats"]["success"]["count"]

        images, requests = counts()
        client.infer("tiny", [image(np.tile(RED, (3, 1, 1, 1)))])
        assert counts() == (images + 3, requests + 1)

    @pytest.mark.parametrize(
        ("model", "version", "status"), [("none", "", "404"), ("tiny", "7", "404"), ("bär", "", "404")]
    )
    def test_what_is_not_served(self, client: Any, model: str, version: str, status: str) -> None:
        with pytest.raises(utils.InferenceServerException, match=r"none|7|b") as caught:
            client.infer(model, [image()], model_version=version)
        assert caught.value.status() == status

    def test_wrong_tensors_are_errors_that_the_client_can_read(self, client: Any) -> None:
        wrong = [
            image(np.zeros((1, 8, 8, 3), np.uint8)),
            image(np.zeros((16, 16, 3), np.uint8)),
        ]
        misnamed = http.InferInput("photo", [1, 16, 16, 3], "UINT8")
        misnamed.set_data_from_numpy(RED)
        lying = image()
        lying.set_shape([2, 16, 16, 3])
        short = image()
        short._raw_data = short._raw_data[:-1]
        for one in (*wrong, misnamed, lying, short):
            with pytest.raises(utils.InferenceServerException, match=r"image|photo|batch-size") as caught:
                client.infer("tiny", [one])
            assert caught.value.status() in ("400", "500")  # Triton calls some of them its own fault
        assert client.is_server_live()


class TestOurs:
    """What Triton has no word for, or needs a backend of its own."""

    def test_image_files(self, graft: Any) -> None:
        result = graft.infer("tiny", [files(plain("red"), plain("blue", kind="JPEG"))])
        assert result.as_numpy("probabilities").argmax(axis=1).tolist() == [0, 2]

    def test_float_pixels(self, graft: Any) -> None:
        result = graft.infer("tiny", [image(RED.astype(np.float32), "FP32")])
        np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES, rtol=1e-3)
        for scaled in (
            RED / np.float32(255),
            RED / np.float32(127.5) - np.float32(1),
            RED * np.float32("nan"),
        ):
            with pytest.raises(utils.InferenceServerException, match="expected pixels from 0 to 255"):
                graft.infer("tiny", [image(scaled.astype(np.float32), "FP32")])

    def test_none_of_the_classes(self, graft: Any) -> None:
        result = graft.infer("tuned", [files(plain("red"), plain((200, 200, 200)))])
        assert result.get_response()["parameters"] == {"rejected": [False, True]}

    def test_own_header_with_a_token(self, graft: Any, token: str) -> None:
        with pytest.raises(utils.InferenceServerException, match="a token of the scope admin is needed"):
            graft.unload_model("redness")
        headers = {"Authorization": f"Bearer {token}"}
        graft.unload_model("redness", headers=headers)
        assert not graft.is_model_ready("redness")
        graft.load_model("redness", headers=headers)
        assert graft.is_model_ready("redness")

    def test_sequences_and_shared_memory_are_refused(self, graft: Any) -> None:
        with pytest.raises(utils.InferenceServerException, match="no sequences"):
            graft.infer("tiny", [image()], sequence_id=3, sequence_start=True)
        shared = http.InferInput("image", [1, 16, 16, 3], "UINT8")
        shared.set_shared_memory("region", 768)
        with pytest.raises(utils.InferenceServerException, match="no shared memory here"):
            graft.infer("tiny", [shared])

    def test_asyncio(self, address: str) -> None:
        async def conversation() -> list[Any]:
            async with aio.InferenceServerClient(address) as client:
                assert await client.is_server_ready()
                asked = [client.infer("tiny", [image(module=aio)]) for _ in range(8)]
                results = await asyncio.gather(*asked)
                with pytest.raises(utils.InferenceServerException, match="'none' is not served"):
                    await client.get_model_metadata("none")
                return [result.as_numpy("probabilities") for result in results]

        for values in asyncio.run(conversation()):
            np.testing.assert_allclose(values, PROBABILITIES, rtol=1e-3)

    def test_conversation_of_the_public_image_client(self, graft: Any) -> None:
        """What `image_client.py` of Triton's client repository asks for and checks, with `-s NONE -c 2`."""
        metadata, config = graft.get_model_metadata("graft-mini"), graft.get_model_config("graft-mini")
        assert len(metadata["inputs"]) == len(metadata["outputs"]) == 1
        assert len(config["input"]) == len(config["output"]) == 1
        taken, given, shown = metadata["outputs"][0], metadata["inputs"][0], config["input"][0]
        assert taken["datatype"] == "FP32"
        # Beside the batch, one of the sizes of an output may be larger than 1.
        assert sum(size > 1 for size in taken["shape"][1:]) == 1
        assert config["max_batch_size"] > 0
        assert len(given["shape"]) == 4
        assert shown["format"] == "FORMAT_NHWC"
        height, width, channels = given["shape"][1:]
        photo = np.zeros((2, height, width, channels), utils.triton_to_np_dtype(given["datatype"]))
        outputs = [http.InferRequestedOutput(taken["name"], binary_data=True, class_count=2)]
        pending = graft.async_infer(
            "graft-mini", [image(photo, given["datatype"])], request_id="0", outputs=outputs
        )
        results = pending.get_result().as_numpy(taken["name"])
        assert results.shape == (2, 2)
        for row in results:
            for text in row:
                probability, index, label = text.decode().split(":", 2)
                assert 0 <= float(probability) <= 1
                assert 0 <= int(index) < 200
                assert label
