"""Whether a service notices that it is shown other images, how often it is wrong, and what that costs.

    GRAFT_DATA=... python -m benchmarks.drift

A head is fine-tuned on seven in ten of the photos of clothing_10, of both its folders, and served, with windows of 64
images. It is sent the other clothes, the same darkened, in grey and of one class only, photos of Tiny ImageNet, and
glyphs of notMNIST. Then one that was fine-tuned on the folder `train` is sent `test`. At last windows of clothes are
drawn again and again, with their classes mixed as they are and at random.
"""

from __future__ import annotations

import io
import os
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flask.testing import FlaskClient
from PIL import Image, ImageEnhance

from benchmarks.rejection import notmnist, tiny_imagenet
from benchmarks.timing import paired, table
from feature_extraction import FeatureExtractor
from finetune.dataset.opening import open_dataset
from finetune.job.recipe import Recipe
from finetune.job.run import finetune
from finetune.trust.novelty import Space
from finetune.trust.reference import fit_reference
from models.config import RuntimeConfig
from models.names import PROBABILITIES, PROJECTION, REJECT_SCORE
from service.app import create_app
from service.config import ServiceConfig
from service.monitoring.drift import two_samples
from service.registry import Registry
from service.results import image_results

WINDOW, TOGETHER, DRAWS, ROUNDS = 64, 16, 1000, 300


def main() -> None:
    clothes = Path(os.environ["GRAFT_DATA"]) / "clothing_10"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seen, unseen = parted(clothes, folder / "photos")
        config = tuned(seen, folder / "run")
        rows = [[what, *answered(config, images)] for what, images in kinds(unseen, clothes.parent).items()]
        other = tuned(clothes / "train", folder / "other")
        rows.append(
            ["folder test, learned from folder train", *answered(other, opened(photos_of(clothes / "test")))]
        )
        print(table(["sent", "windows", "look different", "mixed otherwise", "p-value", "distance"], rows))
        print(table(["part of a request", "us an image"], costs(config)))
    print(
        table(
            ["level", "as they are", "mixed at random", "the same, not within classes"], calibration(clothes)
        )
    )


def photos_of(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.jpg"))
    random.Random(0).shuffle(files)
    return files


def parted(clothes: Path, folder: Path) -> tuple[Path, list[Path]]:
    """A folder of seven in ten photos, and the others."""
    files = photos_of(clothes)
    count = len(files) * 7 // 10
    for number, file in enumerate(files[:count]):
        place = folder / file.parent.name / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file.resolve())
    return folder, files[count:]


def tuned(photos: Path, out: Path) -> ServiceConfig:
    """How a head that was fine-tuned on photos is served."""
    outcome = finetune(open_dataset(str(photos), "classification"), Recipe(method="head"), out)
    return ServiceConfig(
        models=(f"clothes={outcome.model}",),
        drift_window=WINDOW,
        measure_s=0.0,
        runtime=RuntimeConfig("cpu", warm_up=True),
    )


def opened(files: Sequence[Path]) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in files]


def kinds(unseen: Sequence[Path], data: Path) -> dict[str, Sequence[Image.Image]]:
    """What is sent, by its name."""
    photos, others = opened(unseen), tiny_imagenet(data)
    pants = opened([file for file in unseen if file.parent.name == "pants"])
    return {
        "clothes": photos,
        "clothes, darkened by half": [ImageEnhance.Brightness(photo).enhance(0.5) for photo in photos],
        "clothes, in grey": [photo.convert("L").convert("RGB") for photo in photos],
        "pants only": (pants * 4)[:WINDOW],
        "clothes, every fourth a photo of Tiny ImageNet": [
            other if i % 4 == 0 else photo
            for i, (photo, other) in enumerate(zip(photos, others, strict=False))
        ],
        "photos of Tiny ImageNet": others,
        "glyphs of notMNIST": notmnist(data),
    }


def answered(config: ServiceConfig, images: Sequence[Image.Image]) -> list[str]:
    """Windows, alarms, p-values and distances."""
    registry = Registry(config)
    registry.load()
    client = create_app(registry=registry).test_client()
    chances, distances = [], []
    for i in range(0, len(images) - len(images) % WINDOW, TOGETHER):
        post(client, images[i : i + TOGETHER])
        answer = client.get("/v1/models/clothes/drift").get_json()
        if answer["pending"] == 0:
            chances.append(answer["last"]["p_features"])
            distances.append(answer["last"]["distance"])
    registry.close()
    between = f"{min(chances):.2g} to {max(chances):.2g}"
    counts = (len(chances), answer["alarms"], answer["mixed"])
    return [*map(str, counts), between, f"{statistics.median(distances):.1f}"]


def post(client: FlaskClient, images: Sequence[Image.Image]) -> None:
    bodies = []
    for image in images:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=95)
        bodies.append((io.BytesIO(stream.getvalue()), "photo.jpg"))
    answer = client.post("/v1/classify", data={"image": bodies})
    assert answer.status_code == 200, answer.text


def costs(config: ServiceConfig) -> list[list[str]]:
    """Medians over rounds in which all take turns, one image at a time."""
    registry = Registry(config)
    registry.load()
    client = create_app(registry=registry).test_client()
    one = registry.get("clothes")
    drift, model = one.drift, one.model
    assert drift is not None
    image = Image.effect_noise((640, 480), 60).convert("RGB")
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    pixels = np.stack([model.decode(stream.getvalue())])
    results = image_results(model, pixels)
    body = {"data": stream.getvalue(), "content_type": "image/jpeg"}
    without = (PROBABILITIES, REJECT_SCORE)
    times = paired(
        {
            "a request of one photo (640 x 480), without a socket": lambda: client.post(
                "/v1/classify", **body
            ),
            "run of the network, with the projection": lambda: model.run(pixels, (*without, PROJECTION)),
            "run of the network, without": lambda: model.run(pixels, without),
            "comparing a window": lambda: drift.hear(results * WINDOW),
        },
        ROUNDS,
        1,
    )
    registry.close()
    pair = ("run of the network, without", "run of the network, with the projection")
    extra = statistics.median(b - a for a, b in zip(*(times[name] for name in pair), strict=True))
    seconds = {name: statistics.median(values) for name, values in times.items()}
    compared = seconds.pop("comparing a window") / WINDOW
    seconds |= {"projection, median of the differences": extra, "comparing, windows included": compared}
    share = (extra + compared) / next(iter(seconds.values()))
    rows = [[name, f"{1e6 * value:,.1f}"] for name, value in seconds.items()]
    return [*rows, ["both, of a request", f"{100 * share:.2f} %"]]


def calibration(clothes: Path) -> list[list[str]]:
    """How often a window of clothes is below a level, of which 600 gave the axes and 350 others the sample."""
    files = photos_of(clothes)
    classes = np.unique([file.parent.name for file in files], return_inverse=True)[1]
    embeddings = FeatureExtractor("builtin").transform(list(map(str, files)))
    space = Space.fit(embeddings[:600], classes[:600])
    answers = space.discriminant(embeddings[600:]).argmax(axis=1)
    described = fit_reference(embeddings[:600], embeddings[600:], answers, 10, "held out")
    assert described is not None
    projector, reference = described
    features = reference.features(projector.project(embeddings[600:]).astype(np.float32))
    rng, chances, truth = np.random.default_rng(0), list[tuple[float, ...]](), classes[600:]
    for _ in range(DRAWS):
        held, live = np.split(rng.permutation(len(features)), [350])
        shares = rng.dirichlet(np.ones(10))[truth[live]]
        plain, mixed = live[:WINDOW], rng.choice(live, WINDOW, replace=False, p=shares / shares.sum())
        chances.append(
            (
                two_samples(features[plain], features[held], answers[plain], answers[held])[1],
                two_samples(features[mixed], features[held], answers[mixed], answers[held])[1],
                two_samples(features[mixed], features[held])[1],
            )
        )
    print(f"{DRAWS} windows; {100 * (answers == truth).mean():.0f} % of the classes are right")
    below = {level: (np.array(chances) < level).mean(axis=0) for level in (0.5, 0.2, 0.1, 0.05, 0.01, 0.001)}
    return [[f"{level:g}", *(f"{share:.4f}" for share in shares)] for level, shares in below.items()]


if __name__ == "__main__":
    main()
