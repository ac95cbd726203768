"""Writes five steps of PyTorch's and TensorFlow's optimizers, with which the tests compare ours.

    python -m scripts.golden.optimizers torch        # in an environment with PyTorch
    python -m scripts.golden.optimizers tensorflow   # in one with TensorFlow (for FTRL and AdagradDA)

Each run replaces its own half of tests/finetune/autodiff/golden/optimizers.json. All optimizers start from the same
weights and are given the same gradients, in float64 where the library has it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parents[2] / "tests/finetune/autodiff/golden/optimizers.json"
WEIGHTS = [1.0, -2.0, 0.5, 0.0]
GRADIENTS = [
    [0.5, -1.0, 0.1, 2.0],
    [0.4, 1.5, 0.0, -1.0],
    [-0.3, 0.2, 0.05, 0.5],
    [2.0, -0.7, -0.1, 0.0],
    [0.1, 0.3, 0.2, -3.0],
]

# name -> (class, arguments in that library)
TORCH = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd, weight decay": ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {"lr": 0.1}),
    "adagrad, initial": ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.1}),
    "adadelta": ("Adadelta", {"lr": 1.0, "rho": 0.9}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop, momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.9, "alpha": 0.9}),
    "rmsprop, centered": ("RMSprop", {"lr": 0.01, "centered": True}),
    "adam": ("Adam", {"lr": 0.1}),
    "adam, weight decay": ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
}
TENSORFLOW = {
    "ftrl": ("FtrlOptimizer", {"learning_rate": 0.1}),
    "ftrl, l1 and l2": (
        "FtrlOptimizer",
        {"learning_rate": 0.1, "l1_regularization_strength": 0.3, "l2_regularization_strength": 0.1},
    ),
    "adagrad_da": ("AdagradDAOptimizer", {"learning_rate": 0.1}),
    "adagrad_da, l1 and l2": (
        "AdagradDAOptimizer",
        {"learning_rate": 0.1, "l1_regularization_strength": 0.3, "l2_regularization_strength": 0.1},
    ),
}


def from_torch() -> dict[str, object]:
    import torch

    rows = {}
    for name, (kind, arguments) in TORCH.items():
        w = torch.tensor(WEIGHTS, dtype=torch.float64, requires_grad=True)
        optimizer = getattr(torch.optim, kind)([w], **arguments)
        steps = []
        for gradient in GRADIENTS:
            w.grad = torch.tensor(gradient, dtype=torch.float64)
            optimizer.step()
            steps.append(w.tolist())
        rows[name] = {
            "source": f"PyTorch {torch.__version__}, torch.optim.{kind}({arguments})",
            "steps": steps,
        }
    return rows


def from_tensorflow() -> dict[str, object]:
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    rows = {}
    for name, (kind, arguments) in TENSORFLOW.items():
        with tf.Graph().as_default():
            w = v1.get_variable("w", initializer=np.array(WEIGHTS), use_resource=False)
            g = v1.placeholder(tf.float64, [len(WEIGHTS)])
            step = v1.train.get_or_create_global_step()
            known = {"global_step": step} if kind == "AdagradDAOptimizer" else {}
            optimizer = getattr(v1.train, kind)(**arguments, **known)
            train = optimizer.apply_gradients([(g, w)], global_step=step)
            with v1.Session() as session:
                session.run(v1.global_variables_initializer())
                steps = []
                for gradient in GRADIENTS:
                    session.run(train, {g: gradient})
                    steps.append(session.run(w).tolist())
        rows[name] = {
            "source": f"TensorFlow {tf.__version__}, tf.compat.v1.train.{kind}({arguments})",
            "steps": steps,
        }
    return rows


def main(library: str) -> None:
    known = json.loads(FILE.read_text())["optimizers"] if FILE.exists() else {}
    known.update({"torch": from_torch, "tensorflow": from_tensorflow}[library]())
    golden = {"weights": WEIGHTS, "gradients": GRADIENTS, "optimizers": dict(sorted(known.items()))}
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
