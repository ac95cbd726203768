"""Trains a head, and then the head together with the blocks of the network below it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from finetune.autodiff.schedules import Schedule
from finetune.training.data import Array, TrainingData, class_weights
from finetune.training.head import HeadWeights, finish, fit_head, opened, told
from finetune.training.learner import Learner, LocalLearner, Plan, Starter
from finetune.training.loop import Loop, Training
from finetune.training.network import Blocks
from finetune.training.rates import Scheduled
from finetune.training.result import EpochObserver, Trained
from finetune.training.settings import BLOCK_RATE, FORGETFUL, Settings
from finetune.training.state import INTERVAL
from models.errors import InputError
from models.features import default_cuts
from models.files import write_atomically
from models.serialized import content_digest

PHASE = "blocks"
_POOLED = "embeddings-{}.npy"
_BELOW = ("model", "cut", "embedding", "data")  # what embeddings depend on
_AT_ONCE = 64  # images in a run without training
GIVE_UP = 2  # epochs that are enough to see that blocks bring nothing


def train_blocks(
    data: TrainingData,
    model: ModelProto,
    cut: str,
    settings: Settings,
    work: Path,
    *,
    embedding: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    resume: bool = False,
    observer: EpochObserver | None = None,
    events: Path | None = None,
    checkpoint_seconds: float = INTERVAL,
    start: Starter = LocalLearner,
    given: HeadWeights | None = None,
    head_stop: int | None = None,
    stop: int | None = None,
    give_up: int | None = GIVE_UP,
    keep_last: bool = False,
) -> Trained:
    """Train a head and the blocks between `cut` and `embedding` on maps, x (N, V, C, H, W).

    First the head alone learns on embeddings, which are computed once, or is `given`; then both learn, the blocks at
    lower rates the deeper they lie (see `Settings`). `head_stop`, `stop`: epochs after which these two end, of those in
    the settings. After `give_up` epochs that were no better than the head alone blocks end. `keep_last`: their last
    epoch is kept and not the best. Statistics of batch norm stay those of the pretrained network throughout.
    `embedding`: the tensor that the head reads, by default what the network's own classifier reads; maps are
    averaged. The rest is as in `train_head`.

    Raises:
        GraphError: an operator that cannot be differentiated.
        CutError: no such tensors, or data of another shape than `cut`.
        InputError: data or settings that do not fit.
        OutputError: `work` cannot be written, or its checkpoint is of other settings, data or network.
        NumericsError: features or the loss are NaN or infinite; the checkpoint keeps the best so far.
    """
    if settings.optimizer in FORGETFUL:
        raise InputError(
            f"optimizer is {settings.optimizer!r}, which computes weights anew and would lose the pretrained ones. "
            "Use adamw, adam, momentum, nesterov, sgd, rmsprop, adagrad or adadelta for blocks."
        )
    blocks = Blocks(model, cut, embedding or default_cuts(model)[0])
    identity = {
        "method": PHASE,
        "settings": settings.to_json(),
        "cut": cut,
        "embedding": blocks.embedding,
        "model": content_digest(model),
        "data": data.digest(),
        **told(given, stop),
        **({} if head_stop is None else {"head_stop": head_stop}),
    }
    about = {"method": PHASE, "cut": cut, "embedding": blocks.embedding}
    with opened(work, identity, settings, resume, observer, events, checkpoint_seconds, start) as training:
        key = hashlib.sha256(json.dumps([identity[k] for k in _BELOW]).encode()).hexdigest()[:12]
        whole = _Whole(training, data, blocks, device, threads)
        if training.checkpoint.state.phase == PHASE:
            learner = whole.start(whole.schedule())
            training.checkpoint.load(learner.network, learner.session)
        else:
            # Built before anything is computed, so that a network that cannot be trained is refused at once.
            learner = whole.start(Scheduled(settings, 0.0, 0))
            pooled = _pooled(training, data, learner, work / _POOLED.format(key))
            head = fit_head(training, pooled, device, threads, given, 0 if given else head_stop)
            if training.interrupt.asked:
                _hand_over(head, learner)
                return finish(training, learner, about)
            learner = whole.begin(head)
        epochs = settings.block_epochs if stop is None else stop
        Loop(training, learner, data, epochs, _AT_ONCE, give_up=give_up, keep_last=keep_last).run()
        return finish(training, learner, about)


@dataclass(frozen=True)
class _Whole:
    """The head and the blocks below it."""

    training: Training
    data: TrainingData
    blocks: Blocks
    device: str
    threads: int | None

    def start(self, rate: Schedule) -> Learner:
        """The network with its pretrained values, and a head that knows nothing."""
        settings, data = self.training.settings, self.data
        weights = class_weights(data.y, data.classes) if data.classes and settings.class_weights else None
        plan = Plan(settings, data.classes, data.shape, rate, weights, self.blocks, data.several)
        return self.training.start(plan, self.device, self.threads)

    def schedule(self) -> Schedule:
        """The rates of the phase."""
        settings = self.training.settings
        steps = settings.block_epochs * len(self.data.batches(0, 0, settings.batch_size))
        return Scheduled(settings, self.training.checkpoint.state.learning_rate, steps)

    def begin(self, head: Learner) -> Learner:
        """Go over to the second phase."""
        training, data, settings = self.training, self.data, self.training.settings
        state = training.checkpoint.state
        state.begin(PHASE, settings.block_learning_rate or BLOCK_RATE, [])
        learner = self.start(self.schedule())
        _hand_over(head, learner)
        # What the head alone gives is to be beaten.
        Loop(training, learner, data, 0, _AT_ONCE).began()
        training.events.graph(learner.network, learner.session)
        return learner


def _hand_over(head: Learner, learner: Learner) -> None:
    """Give the head and the standardisations of the first phase to a network with blocks."""
    source, network = head.network, learner.network
    pairs = [
        *zip(source.standard, network.standard, strict=True),
        *zip(source.scale, network.scale, strict=True),
        *(
            (a, b)
            for old, new in zip(source.head, network.head, strict=True)
            for a, b in zip(old, new, strict=True)
        ),
    ]
    learner.session.load({new: head.session.value(old) for old, new in pairs})


def _pooled(training: Training, data: TrainingData, learner: Learner, path: Path) -> TrainingData:
    """Embeddings of all views, which are kept in `path` for a resumed run."""
    size = int(learner.network.pooled.shape[1] or 0)
    count = len(data.rows)
    if path.exists():
        both = np.load(path)
    else:
        learner.share()
        both = np.empty((count + len(data.val_x), size), np.float32)
        for rows, into in ((data.rows, both[:count]), (data.val_x, both[count:])):
            for i in range(0, len(rows), _AT_ONCE):
                training.interrupt.check()
                part = slice(i, i + _AT_ONCE)
                into[part] = learner.infer("pooled", rows[part], _AT_ONCE)
        _keep(path, both)
    x = both[:count].reshape(len(data.y), data.views, size)
    return TrainingData(x, data.y, both[count:], data.val_y, data.classes)


def _keep(path: Path, values: Array) -> None:
    stream = io.BytesIO()
    np.save(stream, values)
    write_atomically(path, stream.getvalue())
