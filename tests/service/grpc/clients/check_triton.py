"""tritonclient over gRPC, unmodified: sync, with callbacks, aio, streams; raw, packed; and lies that it can tell.

Runs in an environment of its own, by `tests/service/grpc/test_clients.py`, or by hand against a real Triton:
GRAFT_TRITON_GRPC=127.0.0.1:8901 python -m pytest -c /dev/null check_triton.py
"""

from __future__ import annotations

import asyncio
import functools
import os
import queue
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as aio
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

RED = np.tile(np.array([255, 0, 0], np.uint8), (1, 16, 16, 1))
PROBABILITIES = [[0.9999092, 0.0000454, 0.0000454]]
PATIENCE_S = 60.0
GRAFT, TRITON = os.environ.get("GRAFT_ADDRESS", ""), os.environ.get("GRAFT_TRITON_GRPC", "")


def connected(url: str, name: str) -> Any:
    if not url:
        pytest.skip(f"{name} is not set: host:port of the server")
    return grpc.InferenceServerClient(url)


@pytest.fixture(params=["graft", "triton"])
def client(request: Any) -> Any:
    """Ours, and a real Triton that serves the same model, where there is one."""
    named = {"graft": (GRAFT, "GRAFT_ADDRESS"), "triton": (TRITON, "GRAFT_TRITON_GRPC")}
    with connected(*named[request.param]) as made:
        yield made


@pytest.fixture
def graft() -> Any:
    with connected(GRAFT, "GRAFT_ADDRESS") as made:
        yield made


def image(values: Any = RED, datatype: str = "UINT8", module: Any = grpc) -> Any:
    made = module.InferInput("image", list(values.shape), datatype)
    made.set_data_from_numpy(values)
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
        server = client.get_server_metadata(as_json=True)
        assert {"name", "version", "extensions"} == set(server)
        assert {"classification", "statistics", "model_repository"} < set(server["extensions"])
        model = client.get_model_metadata("tiny", as_json=True)
        assert (model["name"], model["versions"]) == ("tiny", ["1"])
        assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": ["-1", "16", "16", "3"]}]
        assert model["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": ["-1", "3"]}]

    def test_configuration(self, client: Any) -> None:
        config = client.get_model_config("tiny").config
        (given,), (taken,) = config.input, config.output
        assert config.max_batch_size > 1
        assert (given.data_type, given.format, list(given.dims)) == (2, 1, [16, 16, 3])
        assert (taken.data_type, list(taken.dims), taken.label_filename) == (11, [3], "labels.txt")

    def test_repository_index(self, client: Any) -> None:
        rows = client.get_model_repository_index(as_json=True)["models"]
        assert {"name": "tiny", "version": "1", "state": "READY"} in rows

    @pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
    @pytest.mark.parametrize("named", [True, False])
    def test_infer(self, client: Any, coding: str | None, named: bool) -> None:
        outputs = [grpc.InferRequestedOutput("probabilities")] if named else None
        batch = np.tile(RED, (8, 1, 1, 1))
        result = client.infer(
            "tiny", [image(batch)], outputs=outputs, request_id="bär", compression_algorithm=coding
        )
        assert result.get_response().id == "bär"
        assert result.get_response().model_version == "1"
        values = result.as_numpy("probabilities")
        assert (values.dtype, values.shape) == (np.float32, (8, 3))
        np.testing.assert_allclose(values, PROBABILITIES * 8, rtol=1e-3)

    def test_classification(self, client: Any) -> None:
        outputs = [grpc.InferRequestedOutput("probabilities", class_count=9)]
        values = client.infer("tiny", [image()], outputs=outputs).as_numpy("probabilities")
        assert values.shape == (1, 3)
        texts = [text.decode() for text in values[0]]
        assert texts == ["0.999909:0:red", "0.000045:1:green", "0.000045:2:blue"]

    def test_callbacks(self, client: Any) -> None:
        answers: queue.Queue[Any] = queue.Queue()
        for _ in range(20):
            client.async_infer("tiny", [image()], lambda result, error: answers.put((result, error)))
        for _ in range(20):
            result, error = answers.get(timeout=PATIENCE_S)
            assert error is None
            np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES, rtol=1e-3)

    def test_a_call_that_is_cancelled(self, client: Any) -> None:
        answers: queue.Queue[Any] = queue.Queue()
        pending = client.async_infer("tiny", [image()], lambda result, error: answers.put((result, error)))
        pending.cancel()
        result, error = answers.get(timeout=PATIENCE_S)
        assert result is not None or "CANCELLED" in error.status()
        assert client.is_server_live()

    def test_a_deadline_in_the_past(self, client: Any) -> None:
        statuses = set()
        for _ in range(40):  # gRPC lets some of them through
            try:
                client.infer("tiny", [image()], client_timeout=1e-6)
            except InferenceServerException as exc:
                statuses.add(exc.status())
        assert statuses == {"StatusCode.DEADLINE_EXCEEDED"}
        assert client.is_server_live()

    def test_stream(self, client: Any) -> None:
        answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for place in range(20):
            values = np.roll(RED, place % 3, axis=3)
            client.async_stream_infer("tiny", [image(values)], request_id=str(place))
        client.async_stream_infer("none", [image()], request_id="wrong")
        client.async_stream_infer("tiny", [image()], request_id="last", enable_empty_final_response=True)
        told, errors = {}, []
        for _ in range(22):
            result, error = answers.get(timeout=PATIENCE_S)
            if error is not None:
                errors.append(str(error))
            else:
                told[result.get_response().id] = result
        client.stop_stream()
        for place in range(20):
            assert told[str(place)].as_numpy("probabilities").argmax() == place % 3
        assert told["last"].get_response().parameters["triton_final_response"].bool_param
        assert len(errors) == 1
        assert "none" in errors[0]

    def test_statistics_grow(self, client: Any) -> None:
        def counts() -> tuple[int, int]:
            (row,) = client.get_inference_statistics("tiny").model_stats
            return row.inference_count, row.inference_stats.success.count

        images, requests = counts()
        client.infer("tiny", [image(np.tile(RED, (3, 1, 1, 1)))])
        assert counts() == (images + 3, requests + 1)

    @pytest.mark.parametrize(
        ("model", "version"), [("none", ""), ("tiny", "7"), ("bär", ""), ("a:b", ""), ("a/b", "")]
    )
    def test_what_is_not_served(self, client: Any, model: str, version: str) -> None:
        with pytest.raises(InferenceServerException, match=r"none|7|b") as caught:
            client.infer(model, [image()], model_version=version)
        assert caught.value.status() == "StatusCode.NOT_FOUND"

    def test_wrong_tensors_are_errors_that_the_client_can_read(self, client: Any) -> None:
        misnamed = grpc.InferInput("photo", [1, 16, 16, 3], "UINT8")
        misnamed.set_data_from_numpy(RED)
        lying, short, long, negative, huge = (image() for _ in range(5))
        lying.set_shape([2, 16, 16, 3])
        short._raw_content = short._raw_content[:-1]
        long._raw_content = long._raw_content + b"x"
        negative.set_shape([-1, 16, 16, 3])
        huge.set_shape([1 << 60, 16, 16, 3])
        unknown = image()
        unknown._input.datatype = "UINT9"
        small, flat = image(np.zeros((1, 8, 8, 3), np.uint8)), image(np.zeros((16, 16, 3), np.uint8))
        for one in (misnamed, lying, short, long, negative, huge, unknown, small, flat):
            with pytest.raises(InferenceServerException) as caught:
                client.infer("tiny", [one])
            # Of a shape of 2^60 images Triton says that it is its own fault.
            assert caught.value.status() == "StatusCode.INVALID_ARGUMENT" or one is huge
        assert client.is_server_live()
        np.testing.assert_allclose(
            client.infer("tiny", [image()]).as_numpy("probabilities"), PROBABILITIES, rtol=1e-3
        )

    def test_asyncio(self, client: Any, request: Any) -> None:
        url = TRITON if "triton" in request.node.name else GRAFT

        async def conversation() -> list[Any]:
            async with aio.InferenceServerClient(url) as client:
                assert await client.is_server_ready()
                results = await asyncio.gather(*(client.infer("tiny", [image(module=aio)]) for _ in range(8)))

                async def requests() -> Any:
                    for place in range(4):
                        yield {"model_name": "tiny", "inputs": [image(module=aio)], "request_id": str(place)}

                async for result, error in client.stream_infer(requests()):
                    assert error is None
                    results.append(result)
                with pytest.raises(InferenceServerException, match="none"):
                    await client.get_model_metadata("none")
                return [result.as_numpy("probabilities") for result in results]

        answers = asyncio.run(conversation())
        assert len(answers) == 12
        for values in answers:
            np.testing.assert_allclose(values, PROBABILITIES, rtol=1e-3)

    @pytest.mark.parametrize("way", ["call", "callback", "stream"])
    def test_conversation_of_the_public_image_client(self, client: Any, way: str) -> None:
        """What `image_client.py -i grpc -s NONE -c 2` of Triton's client repository asks for and checks."""
        metadata, config = client.get_model_metadata("tiny"), client.get_model_config("tiny").config
        assert len(metadata.inputs) == len(metadata.outputs) == len(config.input) == 1
        (given,), (taken,) = metadata.inputs, metadata.outputs
        assert taken.datatype == "FP32"
        # Beside the batch, one of the sizes of an output may be larger than 1.
        assert sum(size > 1 for size in taken.shape[1:]) == 1
        assert config.max_batch_size > 0
        assert len(given.shape) == 4
        assert config.input[0].format == 1  # NHWC
        photo = np.zeros((2, *given.shape[1:]), triton_to_np_dtype(given.datatype))
        outputs = [grpc.InferRequestedOutput(taken.name, class_count=2)]
        arguments = {"inputs": [image(photo, given.datatype)], "outputs": outputs, "request_id": "1"}
        answers: queue.Queue[Any] = queue.Queue()
        hear = functools.partial(lambda told, result, error: told.put((result, error)), answers)
        if way == "call":
            answers.put((client.infer("tiny", **arguments), None))
        elif way == "callback":
            client.async_infer("tiny", callback=hear, **arguments)
        else:
            client.start_stream(hear)
            client.async_stream_infer("tiny", **arguments)
        result, error = answers.get(timeout=PATIENCE_S)
        if way == "stream":
            client.stop_stream()
        assert error is None
        rows = result.as_numpy(taken.name)
        assert rows.shape == (2, 2)
        assert rows.dtype.type == np.object_
        for text in rows.ravel():
            probability, index, label = "".join(map(chr, text)).split(":")
            assert 0 <= float(probability) <= 1
            assert label == ("red", "green", "blue")[int(index)]


class TestOurs:
    """What Triton has no word for, or needs a backend of its own."""

    def test_image_files(self, graft: Any) -> None:
        red, blue = (Path(os.environ[name]).read_bytes() for name in ("GRAFT_RED", "GRAFT_BLUE"))
        for contents in (files(red, blue), image(np.array([[red], [blue]], np.object_), "BYTES")):
            result = graft.infer("tiny", [contents])
            assert result.as_numpy("probabilities").argmax(axis=1).tolist() == [0, 2]

    def test_float_pixels(self, graft: Any) -> None:
        result = graft.infer("tiny", [image(RED.astype(np.float32), "FP32")])
        np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES, rtol=1e-3)
        with pytest.raises(InferenceServerException, match="expected pixels from 0 to 255"):
            graft.infer("tiny", [image((RED / 255).astype(np.float32), "FP32")])

    def test_own_metadata_with_a_token(self, graft: Any) -> None:
        with pytest.raises(InferenceServerException, match="a token of the scope admin is needed"):
            graft.unload_model("redness")
        headers = {"authorization": f"Bearer {os.environ['GRAFT_TOKEN']}"}
        graft.unload_model("redness", headers=headers)
        assert not graft.is_model_ready("redness")
        graft.load_model("redness", headers=headers)
        assert graft.is_model_ready("redness")

    def test_sequences_shared_memory_and_settings_are_refused(self, graft: Any) -> None:
        with pytest.raises(InferenceServerException, match="no sequences"):
            graft.infer("tiny", [image()], sequence_id=3, sequence_start=True)
        shared = grpc.InferInput("image", [1, 16, 16, 3], "UINT8")
        shared.set_shared_memory("region", 768)
        with pytest.raises(InferenceServerException, match="no shared memory here"):
            graft.infer("tiny", [shared])
        for call in (
            lambda: graft.register_system_shared_memory("a", "b", 1),
            lambda: graft.get_cuda_shared_memory_status(),
            lambda: graft.update_log_settings({"log_verbose_level": 1}),
            lambda: graft.update_trace_settings(settings={"trace_rate": "1"}),
        ):
            with pytest.raises(InferenceServerException, match="here") as caught:
                call()
            assert caught.value.status() == "StatusCode.UNIMPLEMENTED"

    def test_parameters(self, graft: Any) -> None:
        with pytest.raises(InferenceServerException, match="'custom' of the request is not known"):
            graft.infer("tiny", [image()], parameters={"custom": 3})
        result = graft.infer("tiny", [image()], priority=0, timeout=30_000_000)
        np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES, rtol=1e-3)
