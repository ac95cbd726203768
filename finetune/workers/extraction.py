"""Features of the frozen part of a network by parts: each process computes some images, and the first collects them."""

from __future__ import annotations

import contextlib
import math
import pickle
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from feature_extraction.byte_store import ByteStore, open_store
from feature_extraction.items import Content, ImageItem, failing_item, held_item, read_item
from finetune.backbone.trunk import Extracted, Resources, Trunk, Views, features_of
from finetune.workers.team import Team, Worker
from models.errors import GraftError, ImageError, InputError
from models.features import FeatureModel
from models.fingerprint import image_digest

PART = 64  # images, about, that a process computes before it hands over what it has
_STORE = "store"


class SharedTrunk:
    """A `Spread` over all processes of a team, for the trunk that was opened here.

    `digests`: of images that were looked at before, by their ids; a worker that reads something else fails.
    """

    def __init__(self, team: Team, trunk: Trunk, digests: Mapping[str, bytes], *, cached: bool) -> None:
        """Let all processes open the trunk.

        Raises:
            GraftError: one of them cannot, or runs it on another kind of device.
        """
        self._team, self._digests = team, digests
        features = trunk.features
        config = features.model.session.config
        self._own = features if config.threads else features.reopen(replace(config, threads=team.threads))
        kind = features.model.session.device.kind
        self._key = f"trunk {features.digests[0]}"
        team.tell(_Open(self._key, pickle.dumps(self._own), config.threads, kind, cached))
        team.replies()

    def __call__(
        self, model: FeatureModel, items: Sequence[ImageItem], views: Views, resources: Resources
    ) -> Generator[Extracted]:
        """See `Spread`."""
        team = self._team
        size = team.group.size
        threads = resources.threads or team.threads
        batch = resources.batch_size or model.model.batch_size
        some = max(1, PART // batch) * batch * size
        for first in range(0, len(items), some):
            own, *theirs = _shares(items[first : first + some], size, batch)
            team.send([self._command(part, views, resources) for part in theirs])
            yield _extracted(self._own, own, views, replace(resources, threads=threads))
            yield from team.replies()
            if team.interrupted:
                raise KeyboardInterrupt

    def _command(self, items: Sequence[ImageItem], views: Views, resources: Resources) -> _Extract:
        digests = {item.id: self._digests[item.id] for item in items if item.id in self._digests}
        portable = [_portable(item) for item in items]
        return _Extract(self._key, portable, digests, views, resources.batch_size)


def _shares(items: Sequence[ImageItem], count: int, batch: int) -> list[Sequence[ImageItem]]:
    """`count` runs of items, torn where batches of one process end: an image's last digits may depend on its batch."""
    batches = math.ceil(len(items) / batch)
    ends = [-(-batches * (i + 1) // count) * batch for i in range(count)]
    return [items[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _extracted(
    model: FeatureModel, items: Sequence[ImageItem], views: Views, resources: Resources
) -> Extracted:
    rows, failures = features_of(
        model, items, views.count, seed=views.seed, flip=views.flip, store=resources.store,
        threads=resources.threads, batch_size=resources.batch_size, timings=resources.timings,
    )  # fmt: skip
    return Extracted(rows, failures, len(items))


def _portable(item: ImageItem) -> ImageItem:
    """The item where it pickles, as a path does, else one that has its content."""
    try:
        pickle.dumps(item)
    except Exception:  # sources may be anybody's
        try:
            return held_item(item.id, read_item(item))
        except ImageError as exc:
            return failing_item(item.id, exc)
    return item


class _Checked:
    """Reads an item, and keeps what is not as it was where the images were looked at."""

    def __init__(self, item: ImageItem, digest: bytes | None, strange: list[str]) -> None:
        self._item, self._digest, self._strange = item, digest, strange

    def __call__(self) -> Content:
        try:
            content = read_item(self._item)
        except GraftError as exc:
            if self._digest:
                self._strange.append(str(exc))
            raise
        if self._digest and image_digest(content) != self._digest:
            self._strange.append(f"{self._item.id}: is another image there than where the run was started.")
        return content


@dataclass(frozen=True)
class _Open:
    """Open the frozen part of a network, which comes pickled: what goes wrong is then this command's."""

    key: str
    features: bytes = field(repr=False)
    threads: int | None
    kind: str
    cached: bool
    answered: ClassVar[bool] = True

    def do(self, worker: Worker) -> None:
        features: FeatureModel = pickle.loads(self.features)
        config = features.model.session.config
        threads = self.threads or worker.threads
        if config.threads != threads:
            features = features.reopen(replace(config, threads=threads))
        kind = features.model.session.device.kind
        if kind != self.kind:
            raise InputError(
                f"{worker.about}: the network runs on {kind}, and on {self.kind} where the run was started: their "
                "numbers differ. Choose one with --device."
            )
        worker.state[self.key] = features
        if self.cached and _STORE not in worker.state:
            worker.state[_STORE] = worker.context.enter_context(contextlib.closing(open_store()))


@dataclass(frozen=True)
class _Extract:
    """Compute features of some images."""

    key: str
    items: Sequence[ImageItem]
    digests: Mapping[str, bytes]
    views: Views
    batch_size: int | None
    answered: ClassVar[bool] = True

    def do(self, worker: Worker) -> Extracted:
        features: FeatureModel = worker.state[self.key]
        store: ByteStore | None = worker.state.get(_STORE)
        strange: list[str] = []
        items = [
            ImageItem(item.id, _Checked(item, self.digests.get(item.id), strange)) for item in self.items
        ]
        threads = features.model.session.config.threads
        extracted = _extracted(features, items, self.views, Resources(store, threads, self.batch_size))
        if strange:
            raise InputError(
                f"{worker.about}: {strange[0]} Give all machines the same images at the same paths, such as a folder "
                "that they share."
            )
        return extracted
