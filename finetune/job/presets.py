"""What `--preset` stands for: settings in one word, and several ways to learn of which the best is taken."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from finetune.heads.averaging import average
from finetune.heads.running import TopOutputs
from finetune.heads.top import Top
from finetune.job.crossing import Fold, held_outputs
from finetune.job.folder import RunFolder
from finetune.job.learned import Learned
from finetune.job.preparation import Prepared
from finetune.job.recipe import Recipe
from finetune.trust.calibration import fit_temperature
from finetune.trust.measures import accuracy, softmax
from models.config import DEFAULT_MODEL
from models.wording import listed, percent
from models.zoo import ZOO

LearnOne = Callable[[Prepared, Recipe, RunFolder], Learned]


@dataclass(frozen=True)
class Attempt:
    """One way to learn, and what it gives for images that it has not learned from.

    `loss`: mean log loss at the best temperature, or squared error; `score`: the share that is right, or the mean
    absolute error.
    """

    name: str
    learned: Learned
    loss: float
    score: float


def with_networks(recipe: Recipe) -> Recipe:
    """The recipe with the networks of this machine to compare, where the best is asked for and none is named."""
    if (
        recipe.preset != "best"
        or recipe.candidates
        or recipe.model != DEFAULT_MODEL
        or recipe.cut is not None
    ):
        return recipe
    here = tuple(row.name for row in ZOO if not row.url or row.file.is_file())
    return dataclasses.replace(recipe, candidates=here) if len(here) > 1 else recipe


def learn_best(learn: LearnOne, prepared: Prepared, recipe: Recipe, folder: RunFolder) -> Learned:
    """Learn in several ways, and take the one that says most of images held out: perhaps the mean of all.

    After the recipe's time limit, counted from the beginning of the run, nothing more is begun but what a model is
    made of.
    """
    attempts: list[Attempt] = []
    late, end = list[str](), folder.time_of(1, recipe.seconds)
    for number, (name, data, one) in enumerate(_ways(prepared, recipe)):
        if attempts and end is not None and time.monotonic() > end:
            late.append(name)
            continue
        learned = learn(data, one, folder.part(f"way-{number + 1}"))
        attempts.append(_attempt(name, learned, prepared))
        if learned.interrupted:
            return learned
    if len(attempts) > 1:
        attempts.append(_attempt("the mean of them", _mean([one.learned for one in attempts]), prepared))
    best = min(attempts, key=lambda one: one.loss)
    shown = percent if prepared.classes else "off by {:.3g}".format
    scores = [f"{one.name} {shown(one.score)}" for one in attempts]
    notes = [f"Tried on images that none had learned from: {listed(scores)}. Taken: {best.name}."]
    if len(attempts) > 1 and not len(prepared.rows["test"]):
        notes.append(
            f"{best.name} was taken by the loss on the images that measure it, which makes its figures a little too "
            "good"
        )
    if late:
        notes.append(f"left out, because the time limit of {recipe.time_limit} was over: {listed(late)}")
    chosen = {**best.learned.top.chosen, "tried": {one.name: round(one.score, 4) for one in attempts}}
    top = Top(best.learned.top.model, {**chosen, "taken": best.name})
    return dataclasses.replace(best.learned, top=top, notes=(*best.learned.notes, *notes))


def _ways(prepared: Prepared, recipe: Recipe) -> list[tuple[str, Prepared, Recipe]]:
    """What is tried: a name, what is learned from, and how; the quickest first."""
    plain = dataclasses.replace(recipe, preset="good", time_limit="", candidates=())
    estimator = dataclasses.replace(plain, method="sklearn")
    regression = f"a {estimator.classifiers[0]} regression"
    alone = dataclasses.replace(prepared, views=prepared.views[:, :1])
    ways = [(regression, alone, estimator), ("a head", alone, plain)]
    if (views := prepared.views.shape[1]) > 1:
        ways.append((f"a head on {views} views", prepared, plain))
        ways.append((f"{regression} on {views} views", prepared, estimator))
    return ways


def _attempt(name: str, learned: Learned, prepared: Prepared) -> Attempt:
    held = held_outputs(learned.folds, prepared.features)
    loss, score = _quality(held.outputs, prepared, held.rows)
    return Attempt(name, learned, loss, score)


def _quality(outputs: TopOutputs, prepared: Prepared, rows: np.ndarray) -> tuple[float, float]:
    truth, logits = prepared.targets[rows], outputs.logits
    if not prepared.classes:
        errors = logits.astype(np.float64) - truth
        return float((errors**2).mean()), float(np.abs(errors).mean())
    probabilities = softmax(logits, fit_temperature(logits, truth))
    right = np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)
    return float(-np.log(right).mean()), accuracy(truth, logits.argmax(axis=1)).value


def _mean(learned: list[Learned]) -> Learned:
    """The mean of what was learned, for the shipped model and for each that was held out from."""
    folds = tuple(
        Fold(average([one.top for one in same]), same[0].learned, same[0].held)
        for same in zip(*(one.folds for one in learned), strict=True)
    )
    history = next((one.history for one in learned if one.history is not None), None)
    return Learned(average([one.top for one in learned]), folds, learned[0].refit, history)
