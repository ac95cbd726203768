"""Fine-tuning under Ray Train: its workers, on one machine or many, connected by the gloo of PyTorch that it sets up.

Ray Train starts the workers and starts them again where one of them dies; training then goes on from its checkpoint.
The photos here are drawn: three shades, which a built-in network learns to tell apart.

    pip install '.[workers]' 'ray[train]' torch
    python examples/ray_train.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WORKERS = 2
SHADES = {"brick": (170, 70, 50), "grass": (70, 140, 60), "sky": (110, 160, 220)}


class Gloo:
    """The processes of PyTorch's default group, as `finetune.workers.group.Group` wants them."""

    def __init__(self) -> None:
        import torch
        import torch.distributed

        self.torch, self.connected = torch, torch.distributed
        self.rank, self.size = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def send(self, value: Any, receiver: int) -> None:
        """Send a value that pickles."""
        self.connected.send_object_list([value], receiver)

    def receive(self, sender: int) -> Any:
        """Wait for the next value."""
        values = [None]
        self.connected.recv_object_list(values, sender)
        return values[0]

    def all_reduce(self, array: NDArray[np.float32]) -> None:
        """Replace an array by the sum of those of all."""
        self.connected.all_reduce(self.torch.from_numpy(array))  # the same memory

    def abort(self) -> None:
        """End this process: Ray Train notices, and ends the others."""
        os._exit(70)


def draw(folder: Path) -> None:
    """A folder of 20 photos for each shade."""
    for name, colour in SHADES.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            photo(colour, number).save(folder / name / f"{number}.png")


def photo(colour: tuple[int, int, int], number: int) -> Image.Image:
    """Noise around a colour, another for each number."""
    noise = np.random.default_rng([number, *colour]).integers(-60, 61, (8, 8, 3))
    pixels = np.clip(noise + np.array(colour), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((64, 64))


def train(config: dict[str, Any]) -> None:
    """What each worker does."""
    from finetune.dataset.opening import open_dataset
    from finetune.job.recipe import Recipe
    from finetune.job.run import Outcome, finetune
    from finetune.training.settings import Settings
    from finetune.workers.team import Team, run

    recipe = Recipe(views=2, training=Settings(epochs=5, learning_rate=0.05))

    def job(team: Team) -> Outcome:
        dataset = open_dataset(config["photos"], recipe.task)
        return finetune(dataset, recipe, Path(config["out"]), device="cpu", resume=True, team=team)

    run(Gloo(), job)


def main() -> None:
    """Start the workers, and look at what they have learned."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from graft import Model

    ray.init(
        num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1",
        logging_level="error", runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            draw(folder / "photos")
            TorchTrainer(
                train,
                train_loop_config={"photos": str(folder / "photos"), "out": str(folder / "model")},
                # The wait for a worker's next command has no end of its own: the first looks at all photos meanwhile.
                torch_config=TorchConfig(backend="gloo", timeout_s=7 * 24 * 3600),
                scaling_config=ScalingConfig(num_workers=WORKERS),
                run_config=RunConfig(
                    storage_path=str(folder / "ray"), failure_config=FailureConfig(max_failures=3)
                ),
            ).fit()
            model = Model.open(folder / "model" / "model.onnx")
            for name, colour in SHADES.items():
                (prediction,) = model.classify([photo(colour, 99)], top_k=1)[0]
                print(f"{name}: {prediction.label.id}, {prediction.probability:.3f}")
                assert prediction.label.id == name
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
