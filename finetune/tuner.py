"""Fine-tuning as a scikit-learn estimator: fit, predict, predict_proba, score, save."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.validation import check_is_fitted

from feature_extraction.batches import decoded_batches
from feature_extraction.opening import Source, open_images
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.given_labels import given_label_sets, given_labels, labelled_images
from finetune.dataset.list_options import ListOptions
from finetune.dataset.opening import open_dataset
from finetune.dataset.tables import from_tables, tables_in
from finetune.dataset.task import Task
from finetune.job.observing import LineObserver, Observer
from finetune.job.recipe import PRESETS, Measure, Method, Preset, Recipe
from finetune.job.run import finetune
from finetune.report.findings import Findings
from models.card import html_table
from models.errors import InputError
from models.files import write_atomically
from models.model import Model
from models.runtime import Array, OnnxSession, RuntimeConfig
from models.settings import documented, settings_of, updated
from models.wording import listed


@documented(Recipe, RuntimeConfig)
@dataclass(eq=False, repr=False)
class FineTuner(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Teaches a pretrained network classes, or numbers, of images.

    X is what `feature_extraction.opening.open_images` takes: a list of paths, of Pillow images or of encoded bytes, an
    array uint8 (N, H, W, 3), a table with a column of images. y holds a class or, with `task="regression"`, a
    number for each; with `task="multilabel"` a list of the labels that hold on each, or a matrix (N, labels) of 0 and
    1. Or X says it itself, and y is left out: a folder, archive or list as `graft finetune` takes it, or
    a table (a DataFrame, a dataset of Hugging Face or its dictionary of splits) with a column such as `label`. Few
    images are all learned from, and held out in turn to choose settings and to measure; of many a part, `val`, is kept
    for that.

    After `fit` there are `classes_`, the finished `model_`, and `findings_`, which the report is made of.

    `training`: settings of `finetune.training.settings.Settings` that differ from the defaults, as a dictionary.
    `lists`: how a list or table is read, by the names of `finetune.dataset.list_options.ListOptions`: `images`,
    `path_column`, `label_column`, `label_separator`. `outside` lets a list name files outside its own folder. `cache`
    remembers features by the image's content. `out` keeps the folder of the run, with its report. `verbose` prints a
    line for each stage and each epoch; `observer` hears of them in its place. The others:
    """

    model: str | Path = Recipe.model
    candidates: Sequence[str | Path] = Recipe.candidates
    method: Method = Recipe.method
    task: Task = Recipe.task
    classifier: str = Recipe.classifier
    cut: str | None = Recipe.cut
    unfreeze: str | None = Recipe.unfreeze
    views: int | None = Recipe.views
    flip: bool = Recipe.flip
    quantize: bool = Recipe.quantize
    measure: Measure = Recipe.measure
    val: float = Recipe.val
    keep: float = Recipe.keep
    seed: int = Recipe.seed
    preset: Preset = Recipe.preset
    time_limit: str = Recipe.time_limit
    outside: bool = False
    lists: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None
    device: str = RuntimeConfig.device
    threads: int | None = RuntimeConfig.threads
    cache: bool = True
    out: str | Path | None = None
    verbose: bool = False
    observer: Observer | None = None

    def fit(self, X: Source, y: Any = None) -> Self:  # noqa: N803 (scikit-learn's name)
        """Learn from images and their classes or numbers.

        Raises:
            InputError: images, labels or settings that cannot be used.
            GraftError: as `finetune.job.run.finetune`.
        """
        own = {name: value for name, value in self.get_params().items() if name in settings_of(Recipe)}
        for name, value in PRESETS.get(self.preset, {}).items():
            if own[name] == getattr(Recipe, name):
                own[name] = value
        recipe = updated(Recipe(test=0.0), own | self._networks())
        recipe = replace(recipe, training=updated(recipe.training, self.training or {}))
        dataset, names = self._dataset(X, y)
        with ExitStack() as context:
            out = self.out or context.enter_context(tempfile.TemporaryDirectory(prefix="graft-"))
            outcome = finetune(
                dataset, recipe, Path(out), device=self.device, threads=self.threads, cache=self.cache,
                observer=self.observer or (LineObserver() if self.verbose else None),
            )  # fmt: skip
            self.file_ = outcome.model.read_bytes()
        self.findings_: Findings | None = outcome.findings
        self.model_ = self._open()
        if self.task != "regression":
            known = [label.id for label in self.model_.card.labels]
            self.classes_ = np.array([names[name] for name in known])
        if self.task == "multilabel":
            self.columns_ = None if y is None else given_label_sets(y)[1]
        return self

    def predict(self, X: Source) -> NDArray[Any]:  # noqa: N803 (scikit-learn's name)
        """The class, or the number, of each image, (N,).

        With `task="multilabel"` what was given to `fit`: a matrix (N, labels) of 0 and 1, or for each image a tuple of
        the labels that hold, the most probable first.

        Raises:
            ImageError: one of the images cannot be read.
        """
        check_is_fitted(self, "file_")
        if self.task == "multilabel":
            return self._holding(self.predict_proba(X))
        if self.task == "regression":
            return self._run(X, "values")
        chosen: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return chosen

    def predict_proba(self, X: Source) -> Array:  # noqa: N803 (scikit-learn's name)
        """Calibrated probabilities, float32 (N, classes), in the order of `classes_`; of labels each by itself.

        Raises:
            InputError: a regression has none.
            ImageError: one of the images cannot be read.
        """
        if self.task == "regression":
            raise InputError("a regression has no probabilities; use predict.")
        return self._run(X, "probabilities")

    def score(self, X: Source, y: Any = None) -> float:  # noqa: N803 (scikit-learn's name)
        """Accuracy (of labels: how often all are right), or R2 of a regression; y may be left out where X has labels.

        Raises:
            InputError: labels are missing.
            ImageError: one of the images cannot be read.
        """
        if self.task == "multilabel":
            return self._score_labels(X, y)
        if y is None:
            dataset, names = self._dataset(X, None)
            X = [example.item for example in dataset.examples]  # noqa: N806 (scikit-learn's name)
            y = [one.target if self.task == "regression" else names[one.label] for one in dataset.examples]
        measure = r2_score if self.task == "regression" else accuracy_score
        return float(measure(y, self.predict(X)))

    def _holding(self, probabilities: Array) -> NDArray[Any]:
        """Which labels hold, in the form in which they were given to `fit`."""
        classes = self.classes_.tolist()
        if self.columns_ is not None:
            # A label that could not be learned has a column of 0.
            table: NDArray[Any] = np.zeros((len(probabilities), len(self.columns_)), np.int64)
            table[:, [self.columns_.index(label) for label in classes]] = (
                probabilities >= self.model_.thresholds
            )
            return table
        rows: NDArray[Any] = np.empty(len(probabilities), object)
        for i, row in enumerate(probabilities):
            rows[i] = tuple(classes[index] for index in self.model_.holding(row))
        return rows

    def _score_labels(self, X: Source, y: Any) -> float:  # noqa: N803 (scikit-learn's name)
        dataset, names = self._dataset(X, y)
        probabilities = self.predict_proba([example.item for example in dataset.examples])
        classes = self.classes_.tolist()
        answers = [{classes[index] for index in self.model_.holding(row)} for row in probabilities]
        truth = [{names[name] for name in example.holding} for example in dataset.examples]
        held = set[Any]().union(*truth)
        if held and not held & set(self.columns_ or classes):
            raise InputError(
                f"the labels are {listed([str(one) for one in sorted(held, key=str)])}; learned were "
                f"{listed([str(one) for one in classes])}. Give them as to fit, of a matrix with the same columns."
            )
        return float(np.mean([a == b for a, b in zip(truth, answers, strict=True)]))

    def save(self, path: str | Path) -> None:
        """Write the finished model: one ONNX file, for `graft classify`, `graft serve` and `Model.open`.

        Raises:
            OutputError: it cannot be written.
        """
        check_is_fitted(self, "file_")
        write_atomically(Path(path), self.file_)

    def _networks(self) -> dict[str, Any]:
        """`model` and `candidates` as the recipe takes them; a text in place of a list is refused there."""
        several = self.candidates
        return {
            "model": str(self.model),
            "candidates": several if isinstance(several, str) else tuple(map(str, several)),
        }

    def _dataset(self, source: Source, y: Any) -> tuple[Dataset, dict[str, Any]]:
        """The images with their labels, and the caller's own label behind each name."""
        if y is None:
            if tables := tables_in(source):
                return from_tables(tables, self.task, self._list_options())
            if not isinstance(source, str | Path):
                raise InputError(
                    "labels are missing; expected fit(images, labels), a folder with one folder a class, or a table "
                    "with a column of them."
                )
            dataset = open_dataset(source, self.task, outside=self.outside, lists=self._list_options())
            return dataset, {name: name for name in dataset.classes}
        items = list(open_images(source))
        if self.task == "multilabel":
            return labelled_images(items, y)
        labels = given_labels(y, self.task)
        if len(items) != len(labels):
            raise InputError(f"{len(items)} images have {len(labels)} labels; expected one for each.")
        if self.task == "regression":
            examples = tuple(
                Example(item, target=float(label)) for item, label in zip(items, labels, strict=True)
            )
            return Dataset("images", self.task, examples, ()), {}
        names = {label: str(label) for label in sorted(set(labels))}  # of which 1 and 1.0 are one
        examples = tuple(Example(item, names[label]) for item, label in zip(items, labels, strict=True))
        return Dataset("images", self.task, examples, tuple(names.values())), {
            name: label for label, name in names.items()
        }

    def _list_options(self) -> ListOptions:
        given = dict(self.lists or {})
        known = [one.name for one in fields(ListOptions)]
        if unknown := sorted(set(given) - set(known)):
            raise InputError(f"lists has {listed(unknown)}; expected {listed(known)}. Correct the names.")
        return ListOptions(**given)

    def _run(self, source: Source, answer: Literal["values", "probabilities"]) -> Array:
        check_is_fitted(self, "file_")
        model = self.model_ if hasattr(self, "model_") else self._open()
        rows = []
        items = [(item, None) for item in open_images(source)]
        for batch in decoded_batches(items, model.card.preprocessing, model.batch_size):
            for error in batch.failures.values():
                raise error  # rows must stay beside their labels
            rows.append(getattr(model, answer)(batch.pixels))
        return np.concatenate(rows) if rows else np.empty((0, len(model.card.labels)), np.float32)

    def _open(self) -> Model:
        from models.card import read_card

        session = OnnxSession(self.file_, RuntimeConfig(self.device, self.threads))
        card = read_card(session.metadata)
        assert card is not None  # it was written a moment ago
        return Model(session, card)

    def _repr_html_(self) -> str:
        """What it is, and what it has learned, as tables for notebooks; without scikit-learn's 30 kB of styles."""
        findings = getattr(self, "findings_", None)
        return html_table({"Estimator": repr(self)}) + (findings._repr_html_() if findings else "")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the session, which cannot travel to another process."""
        return {key: value for key, value in super().__getstate__().items() if key != "model_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the session again."""
        super().__setstate__(state)
        if hasattr(self, "file_"):
            self.model_ = self._open()

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn what this is, and that X is no table of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        tags.target_tags.required = True
        if self.task == "regression":
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        else:
            several = self.task == "multilabel"
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags(multi_label=several)
            tags.target_tags.multi_output = several
        return tags
