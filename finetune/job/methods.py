"""The three depths of fine-tuning behind one call: arrays in, a top and its history out."""

from __future__ import annotations

from finetune.job.crossing import require_apart
from finetune.job.estimators import fit_estimator
from finetune.job.folder import EVENTS, RunFolder
from finetune.job.learned import Learned
from finetune.job.observing import Observer
from finetune.job.preparation import Prepared
from finetune.job.presets import learn_best
from finetune.job.recipe import Recipe
from finetune.job.trainings import Circumstances, train_blocks_too, train_head_alone
from finetune.training.learner import LocalLearner, Starter


def learn(
    prepared: Prepared,
    recipe: Recipe,
    folder: RunFolder,
    *,
    device: str = "auto",
    threads: int | None = None,
    observer: Observer | None = None,
    start: Starter = LocalLearner,
) -> Learned:
    """Fit what stands behind the trunk, resuming where the folder holds a checkpoint.

    Where images are held out in turn, a model is fitted without each part, and the one that is shipped to all of them,
    with what was chosen. `start`: makes what a head or blocks learn with, by default in this process.

    Raises:
        InputError: data or settings that do not fit the method.
        GraphError: blocks that cannot be differentiated.
        NumericsError: NaN in features, or the loss diverged.
        OutputError: a checkpoint cannot be written, or is of other data.
        ModelError: an image was held out from a model that has learned from it.
    """
    if recipe.preset == "best":

        def learn_one(some: Prepared, one: Recipe, part: RunFolder) -> Learned:
            return learn(some, one, part, device=device, threads=threads, observer=observer, start=start)

        learned = learn_best(learn_one, prepared, recipe, folder)
    elif recipe.method == "sklearn":
        learned = fit_estimator(prepared, recipe)
    else:
        around = Circumstances(
            folder.work, folder.path / EVENTS, folder.resume, device, threads, observer, start
        )
        train = train_head_alone if recipe.method == "head" else train_blocks_too
        learned = train(prepared, recipe, around)
    require_apart(learned.folds, prepared.groups)
    return learned
