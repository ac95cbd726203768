"""A model that is served: its sessions, the queue in front of them, and the versions of it that give features."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import stat
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import CutError, GraftError, ModelError, NumericsError
from models.extras import full_installation
from models.locating import locate
from models.model import Model
from models.names import PROBABILITIES, PROJECTION, REJECT_SCORE
from models.reference import read_reference
from models.runtime import RuntimeConfig
from service.batching import Batcher
from service.caller import Caller
from service.config import ServiceConfig
from service.memory import return_freed_memory
from service.monitoring.drift import Drift
from service.monitoring.proving import proven
from service.planning import Plan, all_cores, default_plan, measured_plan
from service.results import ImageResult, image_results, results_of
from service.sources import Source
from service.steps import Steps, Wanted, finish
from service.tickets import BatchReport
from service.turns import Turns, end_turn

# What cuts networks imports onnx, which a service that only classifies need not pay for.
if TYPE_CHECKING:
    from finetune.explain.gradcam import GradCam
    from models.features import FeatureModel, FeatureOptions, Pool

_FREED_S = 10.0  # that the last user of a session may need to let go of it
_FEATURE_MODELS = 8  # that a model keeps; each has a session as large as the network
_NO_CUTS = (PROBABILITIES, REJECT_SCORE, PROJECTION)
_GRAD_CAMS = 2  # each has sessions twice as large
Watch = Callable[[str, int, BatchReport], None]  # name and version of the model
# The key of what the model is for. Features have their feature model for a key, outputs of the network their names.
RESULTS = "results"
# Hears of the images of a run, and of its results.
Hearer = Callable[[Sequence[NDArray[np.uint8]], Sequence[ImageResult]], None]
_log = logging.getLogger("graft")
FileStamp = tuple[int, int, int]


class Served:
    """A model under the name by which it is served."""

    def __init__(
        self,
        source: Source,
        model: Model,
        config: ServiceConfig,
        plan: Plan | None = None,
        watch: Watch = lambda name, version, report: None,
        turns: Turns | None = None,
        stamp: FileStamp | None = None,
    ) -> None:
        """`plan`: how it is run, where that was measured already; `watch` hears of every run; `turns` at the cores are
        those of the requests that are decoded.

        Raises:
            ModelError: the file computes differently on this machine.
        """
        self.name, self.version, self.model, self.source = source.name, source.version, model, source
        self.proof = proven(model, source.spec, anyway=config.no_proof)
        self.loaded_at = int(time.time())
        self._config = config
        # A file that is replaced while it is opened counts as changed.
        self._stamp = stamp or file_stamp(source.spec)
        crowded = model
        if plan is None and config.measure_s > 0:
            reopened = self._reopened if config.runtime.threads is None else None
            self.plan, crowded = measured_plan(model, reopened, config.measure_s)
        else:
            self.plan = plan or default_plan(model)
            if self.plan.crowded_threads != self.plan.threads:
                crowded = self._reopened(self.plan.crowded_threads)
        self._runs = _Runs(source.name, model, crowded)
        self.drift = self._new_drift()
        if self.drift is not None:
            self._runs.hearers = (_hearing(self.drift),)
        self.batcher = Batcher(
            self._runs,
            largest=self.plan.largest,
            most_queued=config.max_queued,
            runners=self.plan.runners,
            item_s=self.plan.item_s,
            watch=functools.partial(watch, source.name, source.version),
            busy=(lambda: turns.all_taken) if turns is not None else lambda: False,
        )
        # The one that was used last stands last.
        self._feature_models: dict[FeatureOptions, FeatureModel] = {}
        self._grad_cams: dict[str | None, GradCam] = {}
        self._opening = threading.Lock()
        self._using = threading.Lock()
        self._users, self._retired = 0, False

    @property
    def no_drift(self) -> str:
        """Why there is nothing to compare live images with."""
        if not self._config.drift_window:
            return "drift_window is 0, so live images are compared with nothing"
        return (
            "the file tells nothing of the images that the model was taught with: `graft finetune` writes files that "
            "do, where 8 images at least are held out; those of earlier versions do not"
        )

    def _new_drift(self) -> Drift | None:
        """What compares the model's answers with what it was taught with, where its file tells of that."""
        window, card = self._config.drift_window, self.model.card
        reference = read_reference(self.model.session.metadata, self.source.spec)
        if not window or reference is None or PROJECTION not in self.model.session.outputs:
            return None
        if reference.counts and len(reference.counts) != len(card.labels):
            raise ModelError(
                f"{self.source.spec}: tells of {len(reference.counts)} classes in training, and has {len(card.labels)} "
                "labels. Fine-tune the model again, or give it the labels that it had."
            )
        return Drift(reference, card.labels, window, f"{self.name} version {self.version}")

    def results(self, images: Sequence[NDArray[np.uint8]], caller: Caller) -> list[Any]:
        """`results_in_steps`, at once."""
        return finish(self.results_in_steps(images, caller))

    def results_in_steps(self, images: Sequence[NDArray[np.uint8]], caller: Caller) -> Steps[list[Any]]:
        """What the model gives for each of the decoded images (H, W, 3): an `ImageResult`, or why there is none.

        Raises:
            OverloadedError: too many images wait already.
            DeadlineError: no answer in the caller's time.
            CancelledError: the caller has left.
        """
        return self._rows(images, RESULTS, caller)

    def tensors_in_steps(
        self, images: Sequence[NDArray[np.uint8]], outputs: tuple[str, ...], caller: Caller
    ) -> Steps[list[Any]]:
        """Outputs of the network for each image: an array (...) for each, or why there are none.

        Raises:
            OverloadedError, DeadlineError, CancelledError: as `results_in_steps`.
        """
        return self._rows(images, outputs, caller)

    def vectors(
        self, images: Sequence[NDArray[np.uint8]], features: FeatureModel, caller: Caller
    ) -> list[Any]:
        """What a feature model of this model gives for each image: an array (...), or why there is none.

        Raises:
            OverloadedError, DeadlineError, CancelledError: as `results_in_steps`.
        """
        return finish(self._rows(images, features, caller))

    def _rows(self, images: Sequence[NDArray[np.uint8]], key: Hashable, caller: Caller) -> Steps[list[Any]]:
        if not images:
            return []
        return (yield Wanted(self.batcher, images, key, caller, self.model.session.device.kind == "cpu"))

    def enter(self) -> bool:
        """Whether another request may use the model; it stays open until that calls `leave`."""
        with self._using:
            if self._retired:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """The request has its answer."""
        with self._using:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._close()

    def retire(self) -> None:
        """Let no further request in, and end when those that are in have left."""
        with self._using:
            last = not self._retired and not self._users
            self._retired = True
        if last:
            self._close()

    def _close(self) -> None:
        """End the threads and give the memory back, in another thread: it may take as long as a run."""
        # That one must not hold what is to be freed.
        batchers, session = [self.batcher], weakref.ref(self.model.session)

        def close() -> None:
            batchers.pop().close()
            end = time.monotonic() + _FREED_S
            while session() is not None and time.monotonic() < end:
                time.sleep(0.05)
            return_freed_memory()

        threading.Thread(target=close, name="graft-retire", daemon=True).start()

    @property
    def changed(self) -> bool:
        """Whether its file was written, or has gone, since it was loaded."""
        return file_stamp(self.source.spec) != self._stamp

    def _check_unchanged(self) -> None:
        """Refuse to open a part of a file that is another one by now: its answers would not be this version's.

        Raises:
            ModelError: the file was written since this version was loaded.
        """
        if self.changed:
            raise ModelError(
                f"{self.name}: {self.source.spec} has changed since version {self.version} was loaded. Load it again."
            )

    def _reopened(self, threads: int) -> Model:
        return self.reopened(dataclasses.replace(self._config.runtime, threads=threads))

    def reopened(self, runtime: RuntimeConfig) -> Model:
        """The model once more, with a session of its own.

        Raises:
            ModelError: its file was written since it was loaded.
        """
        self._check_unchanged()
        return Model.open(self.source.spec, runtime)

    def listen(self, hear: Hearer) -> None:
        """Let somebody hear of all images that the model itself answers for, and of the results."""
        with self._using:
            self._runs.hearers = (*self._runs.hearers, hear)

    def unlisten(self, hear: Hearer) -> None:
        """Let him hear no more."""
        with self._using:
            self._runs.hearers = tuple(one for one in self._runs.hearers if one != hear)

    def feature_model(
        self, cut: str | None = None, pool: Pool = "avg", normalize: Literal["l2"] | None = None
    ) -> FeatureModel:
        """The network as `graft features` cuts it, opened when it is first asked for; the last few are kept.

        Raises:
            CutError: no such cut point, one that cannot be pooled, or none named where there is no default.
            LibraryError: what cuts networks is not installed.
        """
        with full_installation("giving features"):
            from models.features import FeatureOptions, open_features

        if not self._opening.acquire(blocking=False):
            end_turn()
            self._opening.acquire()
        try:
            options = FeatureOptions((self._cut_name(cut),), pool, normalize)
            features = self._feature_models.pop(options, None)
            if features is None:
                self._check_unchanged()
                end_turn()
                features = open_features(self.source.spec, options, all_cores(self._config.runtime))
            self._feature_models[options] = features
            if len(self._feature_models) > _FEATURE_MODELS:
                del self._feature_models[next(iter(self._feature_models))]
            return features
        finally:
            self._opening.release()

    def grad_cam(self, cut: str | None) -> GradCam:
        """What explains the network at a cut, opened when it is first asked for; the last two are kept.

        Runs on one core, and leaves the others to those that classify. For one thread at a time.

        Raises:
            ModelError, CutError, GraphError: as `GradCam`.
            LibraryError: what explains is not installed.
        """
        with full_installation("explaining an image"):
            from finetune.explain.gradcam import GradCam

        explainer = self._grad_cams.pop(cut, None)
        if explainer is None:
            self._check_unchanged()
            explainer = GradCam(self.source.spec, cut, device=self._config.runtime.device, threads=1)
        self._grad_cams[cut] = explainer
        if len(self._grad_cams) > _GRAD_CAMS:
            del self._grad_cams[next(iter(self._grad_cams))]
        return explainer

    def _cut_name(self, asked: str | None) -> str:
        if asked is None:
            if len(self._default_cuts) > 1:
                choices = ", ".join(self._default_cuts)
                raise CutError(f"{self.name} gives features at {choices}; choose one of them with ?cut=.")
            return self._default_cuts[0]
        outputs = [name for name in self.model.session.outputs if name not in _NO_CUTS]
        names = list(dict.fromkeys([*(cut.name for cut in self.model.card.cuts), *outputs]))
        if asked not in names and asked not in self._default_cuts:
            raise CutError(f"{self.name} has no cut point {asked!r}; it has {', '.join(names)}.")
        return asked

    @functools.cached_property
    def _default_cuts(self) -> tuple[str, ...]:
        with full_installation("giving features"):
            from models.features import default_cuts
            from models.importing import as_graft_model

        return default_cuts(as_graft_model(locate(self.source.spec))[0])


class _Runs:
    """Runs of a model's networks. Apart from `Served`, so that nothing goes in a circle and all is freed at once."""

    def __init__(self, name: str, model: Model, crowded: Model) -> None:
        self._name, self._model, self._crowded = name, model, crowded
        self.hearers: tuple[Hearer, ...] = ()  # replaced as a whole
        self._answers = model.answer_names if model.gives_answers else ()

    def __call__(self, key: Hashable, images: Sequence[NDArray[np.uint8]], crowded: bool) -> Sequence[Any]:
        """One run, for `images` of any number of callers: a result, or an error, for each."""
        batch = np.stack(images) if len(images) > 1 else images[0][None]  # (N, H, W, 3)
        model = self._crowded if crowded else self._model
        if key == RESULTS:
            results = image_results(model, batch)
            self._tell(images, results)
            return results
        if isinstance(key, tuple):
            heard = self._answers if self.hearers else ()
            names = tuple(dict.fromkeys((*key, *heard)))
            values = dict(zip(names, model.run(batch, names), strict=True))
            if heard:
                with contextlib.suppress(GraftError):  # what is wrong with a row is told in its place
                    self._tell(images, results_of(model.answers_of(values)))
            return [self._checked(key, row) for row in zip(*(values[name] for name in key), strict=True)]
        features: Any = key
        (cut,) = features.cuts
        (rows,) = features.model.run(batch, [cut])
        return [row if np.isfinite(row).all() else self._not_finite(cut) for row in rows]

    def _tell(self, images: Sequence[NDArray[np.uint8]], results: Sequence[ImageResult]) -> None:
        """Let those who compare hear of a run. Callers have their rows, whatever becomes of that."""
        for hear in self.hearers:
            try:
                hear(images, results)
            except Exception:
                _log.exception("a run of %s was not compared", self._name)

    def _checked(self, names: Sequence[str], row: tuple[Any, ...]) -> Any:
        for name, values in zip(names, row, strict=True):
            if not np.isfinite(values).all():
                return self._not_finite(name)
        return row

    def _not_finite(self, cut: str) -> NumericsError:
        return NumericsError(
            f"{self._name}: what it gives at {cut} holds NaN or infinity; its weights are damaged."
        )


def _hearing(drift: Drift) -> Hearer:
    return lambda images, results: drift.hear(results)


def file_stamp(spec: str) -> FileStamp | None:
    """What changes when a file is written: time, size and inode; None where there is none, as for names of the zoo."""
    try:
        known = Path(spec).stat()
    except (OSError, ValueError):
        return None
    return (known.st_mtime_ns, known.st_size, known.st_ino) if stat.S_ISREG(known.st_mode) else None
