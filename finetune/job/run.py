"""The whole job: labelled images in, one trusted model file and a report out.

 1. scan        read every image once: can it be read, is it a duplicate
 2. model       open the frozen part of the network, in int8 where that is asked for; it begins with the scan
 3. candidates  where several networks are named: a light head on each, one is chosen
 4. features    run it over the images, or take what the cache knows
 5. splits      what is held out, once or in turn; duplicates on one side
 6. views       the frozen part over altered versions of the training images
 7. train       a classifier, a head, or a head and blocks
 8. unknown     features of images that are none of the classes, where there are some
 9. assess      temperature, threshold, accuracy, learning curve
10. strangers   what the model says to images that come with the package
11. previous    what an older model gives for the measured images, where there is one
12. export      one ONNX file
13. proof       a fresh process must give the training's probabilities with it
14. report      report.html and report.json; its plots are drawn while the file is written and proven
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import onnxruntime

from feature_extraction.byte_store import ByteStore, open_store
from feature_extraction.items import ImageItem
from feature_extraction.sources import images
from finetune.backbone.depth import uppermost_blocks
from finetune.backbone.trunk import Trunk, features_of, open_trunk
from finetune.dataset.examples import Dataset
from finetune.dataset.scanning import Facts, scan
from finetune.heads.running import run_top
from finetune.job.ahead import Ahead, compute_ahead, import_for_later
from finetune.job.assessment import Assessment, assess, check_previous, predictions_of
from finetune.job.candidates import compare_candidates, require_here
from finetune.job.card import model_card
from finetune.job.choosing import table_of
from finetune.job.finishing import prove_finished, write_finished
from finetune.job.folder import EVENTS, MODEL, RunFolder
from finetune.job.learned import Learned
from finetune.job.methods import learn
from finetune.job.observing import Observer, Stages
from finetune.job.preparation import Prepared, data_digest, prepare
from finetune.job.presets import with_networks
from finetune.job.recipe import Recipe
from finetune.job.reporting import collect_findings, draw_run, proven
from finetune.job.strangers import show_strangers, unknown_ones
from finetune.report.answers import Earlier, read_earlier
from finetune.report.findings import Candidates, Findings, Previous
from finetune.report.page import write_numbers, write_report
from finetune.report.shown import Shown
from finetune.single_thread import one_blas_thread
from finetune.training.learner import LocalLearner
from finetune.trust.proof import FreshProcess
from finetune.workers.extraction import SharedTrunk
from finetune.workers.team import Team
from finetune.workers.training import SharedLearner
from models.errors import InputError
from models.features import Pool
from models.importing import as_graft_model
from models.locating import locate
from models.model import Model
from models.runtime import Array, RuntimeConfig
from models.wording import counted


@dataclass(frozen=True)
class Outcome:
    """What a run leaves. `findings` is None where the run had finished before.

    `report`: the page, or report.json where no page was asked for.
    """

    model: Path
    report: Path
    findings: Findings | None
    interrupted: bool = False


def finetune(
    dataset: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    cache: bool = True,
    resume: bool = False,
    unknown: str | None = None,
    previous: str | None = None,
    earlier: Path | None = None,
    report: bool = True,
    observer: Observer | None = None,
    team: Team | None = None,
) -> Outcome:
    """Fine-tune a model on labelled images and write everything about it into the folder `out`.

    `resume` goes on with the run that was begun in `out`, and ends with the same bytes as one that was never stopped.
    `unknown`: a source of images that are none of the classes, to measure the threshold with. `previous`: an older
    model to compare with; `earlier`: in its place the report.json of a run on these images, perhaps with other labels,
    whose answers are compared on the images that neither has learned from. `cache`: remember features by the images'
    content. `report`: without it neither learning curve nor page are made, and `resume` adds them later. `team`: other
    processes that help, see `finetune.workers`; `threads` are then of each.

    Raises:
        InputError: images or settings that cannot be used.
        ModelError: the model cannot be used, or the finished file does not say what the training session says.
        OutputError: the folder cannot be written, or holds another run.
        GraphError: blocks that cannot be differentiated.
        NumericsError: the loss diverged.
    """
    watched, recipe = observer or Observer(), with_networks(recipe)
    require_here(recipe.candidates)
    strangers = _strangers(unknown, recipe)
    older: Model | Earlier | None = None
    if previous is not None:
        older = Model.open(previous, RuntimeConfig(device, threads))
        check_previous(older, dataset.classes, several=recipe.task == "multilabel")
    elif earlier is not None:
        older = read_earlier(earlier)
    with RunFolder.open(out, resume=resume) as folder, contextlib.ExitStack() as context:
        store = context.enter_context(contextlib.closing(open_store())) if cache else None
        job = _Job(
            dataset, recipe, folder, Stages(watched), device, threads, store, strangers, older, team, report
        )
        return job.run()


def _strangers(unknown: str | None, recipe: Recipe) -> Sequence[ImageItem]:
    """The images of a source that are none of the classes; none of them is read yet.

    Raises:
        InputError: there is none, or labels or a number are learned, which have no threshold for it.
    """
    if unknown is None:
        return ()
    if recipe.task == "multilabel":
        raise InputError(
            f"unknown {unknown!r} is for classes: of several labels none need hold, and each has a threshold of its "
            "own. Take it away, and put such images into the list with no label."
        )
    if recipe.task == "regression":
        raise InputError(
            f"unknown {unknown!r} is for classes: a number has no threshold for what is none of them. Take it away."
        )
    return list(images(unknown))


@dataclass
class _Job:
    dataset: Dataset
    recipe: Recipe
    folder: RunFolder
    stages: Stages
    device: str
    threads: int | None
    store: ByteStore | None
    unknown: Sequence[ImageItem]
    older: Model | Earlier | None
    team: Team | None
    report: bool
    digests: dict[str, bytes] = field(default_factory=dict)  # of images that were scanned, by their ids

    def run(self) -> Outcome:
        stages, recipe = self.stages, self.recipe
        examples = self.dataset.examples
        # Ctrl-C comes to this thread alone; within an import it may leave the lock locked that the other waits for.
        with ThreadPoolExecutor(2) as beside:
            opened = beside.submit(self._trunks)
            with stages.stage("scan", len(examples)):
                facts = scan(
                    examples, progress=lambda done, _: stages.observer.advance(done), store=self.store
                )
            self.digests = {
                one.item.id: fact.digest
                for one, fact in zip(examples, facts, strict=True)
                if fact.error is None
            }
            with stages.stage("model"):
                imported = beside.submit(import_for_later, recipe)  # while the network is opened
                trunks = [self._shared(trunk) for trunk in opened.result()]
                imported.result()
        for text in self.team.notes if self.team else ():
            stages.observer.say(text)
        digest = data_digest(self.dataset, facts)
        self.folder.begin(
            {
                # By its card's name: the same file may be called by several paths.
                "recipe": {**recipe.to_json(), "model": ", ".join(trunk.card.name for trunk in trunks)},
                "images": digest,
                "trunk": ", ".join(trunk.features.digests[0] for trunk in trunks),
                "onnxruntime": onnxruntime.__version__,
                "device": trunks[0].features.model.session.device.kind,
            }
        )
        if self.folder.finished:
            return Outcome(self.folder.path / MODEL, self.folder.path / "report.html", None)
        self.unknown = unknown_ones(self.unknown, set(self.digests.values()), stages.observer.say)
        trunk, candidates = trunks[0], None
        if recipe.candidates:
            candidates = self._compare(facts, trunks)
            trunk = trunks[candidates.taken]
            if recipe.method == "blocks":  # which are trained behind maps, not behind what is pooled
                trunk = self._shared(self._trunk(recipe.candidates[candidates.taken]))
        del trunks
        prepared = prepare(
            self.dataset,
            facts,
            recipe,
            trunk,
            stages,
            store=self.store,
            threads=self.threads,
            work=self.folder.work,
        )
        uncached = [self.store.trouble] if self.store and self.store.trouble else []
        for text in (*uncached, *prepared.warnings, prepared.procedure):
            stages.observer.say(text)
        # `beside` works while this thread learns, or waits. How many threads BLAS has is the process's affair: it stays
        # the same as long as both compute, or the bits of one would depend on where the other stands.
        with one_blas_thread(), ThreadPoolExecutor(1) as beside:
            ahead = compute_ahead(
                None if self.team else beside,  # the processes of a team run one thing after the other
                prepared, recipe, unknown=bool(self.unknown), store=self.store, threads=self.threads,
            )  # fmt: skip
            try:
                return self._teach(prepared, digest, candidates, ahead, beside)
            except BaseException:
                beside.shutdown(wait=False, cancel_futures=True)  # nobody asks for the rest
                raise

    def _teach(
        self,
        prepared: Prepared,
        digest: str,
        candidates: Candidates | None,
        ahead: Ahead,
        beside: Executor,
    ) -> Outcome:
        """Learn, measure, write and prove."""
        stages, recipe = self.stages, self.recipe
        with stages.stage("train"):
            learned = learn(
                prepared,
                recipe,
                self.folder,
                device=self.device,
                threads=self.threads,
                observer=stages.observer,
                start=partial(SharedLearner, self.team) if self.team else LocalLearner,
            )
        for text in learned.notes:
            stages.observer.say(text)
        strangers = run_top(learned.top, self._strangers(prepared.trunk)) if self.unknown else None
        path = self.folder.path / MODEL
        with FreshProcess() as fresh:  # it starts while this thread measures
            with stages.stage("assess"):
                assessment = assess(
                    prepared, learned, recipe, unknown=strangers, curve=self.report, spaces=ahead.spaces
                )
            shown = self._shown(prepared, learned, assessment, ahead)
            findings = collect_findings(
                self.dataset,
                recipe,
                prepared,
                learned,
                assessment,
                path=path,
                previous=self._previous(prepared, assessment),
                strangers=strangers,
                candidates=candidates,
                shown=shown,
                slopes=ahead.slopes(),
            )
            drawn = None
            if self.report:
                drawn = beside.submit(draw_run, self.folder.path / EVENTS, findings, prepared, assessment)
            with stages.stage("export"):
                card = model_card(self.dataset, recipe, prepared, learned, assessment, digest)
                for text in write_finished(path, prepared, learned, assessment, card):
                    stages.observer.say(text)
            with stages.stage("proof"):
                proof = prove_finished(path, prepared, learned, assessment, fresh, stages.observer.say)
            with stages.stage("report"):
                findings = proven(findings, path, proof, dict(stages.seconds))
                if drawn is None:
                    report = write_numbers(self.folder.path, findings)
                else:
                    report = write_report(self.folder.path, findings, drawn=drawn.result())
        if self.report and not learned.interrupted:
            self.folder.finish()
        return Outcome(path, report, findings, learned.interrupted)

    def _trunks(self) -> list[Trunk]:
        """The frozen part of the network, ready to run; of all candidates where there are some, pooled."""
        recipe = self.recipe
        if not recipe.candidates:
            return [self._trunk(recipe.model)]
        return [self._open(name, None, "avg") for name in recipe.candidates]

    def _trunk(self, model: str) -> Trunk:
        recipe = self.recipe
        if recipe.method != "blocks":
            return self._open(model, recipe.cut, "avg")
        return self._open(
            model, recipe.unfreeze or uppermost_blocks(as_graft_model(locate(model))[0]), "none"
        )

    def _open(self, model: str, cut: str | None, pool: Pool) -> Trunk:
        return open_trunk(
            model,
            cut,
            pool,
            quantize_on=[example.item for example in self.dataset.examples] if self.recipe.quantize else None,
            config=RuntimeConfig(self.device, self.threads),
        )

    def _shared(self, trunk: Trunk) -> Trunk:
        """The trunk, run by all processes of the team where there is one."""
        if self.team is None:
            return trunk
        return replace(
            trunk, spread=SharedTrunk(self.team, trunk, self.digests, cached=self.store is not None)
        )

    def _compare(self, facts: Sequence[Facts], trunks: Sequence[Trunk]) -> Candidates:
        """Try several networks, and tell how they did."""
        candidates = compare_candidates(
            self.dataset, facts, self.recipe, trunks, self.stages, self.folder.work,
            store=self.store, threads=self.threads, until=self.folder.time_of(0.5, self.recipe.seconds),
        )  # fmt: skip
        images = (
            f"Tried on {counted(candidates.images, 'image')}, none of them for the test, by a light head that had not "
            "learned from them:"
        )
        table = table_of(candidates, self.dataset.task != "regression")
        for line in (images, *(f"  {line}" for line in table), candidates.words):
            self.stages.observer.say(line)
        return candidates

    def _strangers(self, trunk: Trunk) -> Array:
        """Trunk features of the images that are none of the classes."""
        with self.stages.stage("unknown", len(self.unknown)):
            features, failures = features_of(
                trunk, self.unknown, 1, seed=self.recipe.seed, store=self.store, threads=self.threads,
                progress=self.stages.observer.advance,
            )  # fmt: skip
        for _, error in failures:
            self.stages.observer.say(f"left out: {error}")
        if not len(features):
            raise InputError(
                f"--unknown: not one of {len(failures)} images could be read. Give images that are none of the classes."
            )
        return features[:, 0]

    def _previous(self, prepared: Prepared, assessment: Assessment) -> Previous | None:
        """What the older model gives for the measured images, where there is one."""
        if self.older is None:
            return None
        if isinstance(self.older, Earlier):
            rows = assessment.rows
            before = self.older.previous(
                [prepared.examples[row].key for row in rows], prepared.classes, prepared.label_texts(rows)
            )
            if before is None:
                self.stages.observer.say(
                    f"{self.older.name} measured none of these images; nothing is compared"
                )
            return before
        with self.stages.stage("previous"):
            measured = [prepared.examples[row] for row in assessment.rows]
            several = prepared.task == "multilabel"
            return predictions_of(self.older, measured, prepared.classes, several=several)

    def _shown(
        self, prepared: Prepared, learned: Learned, assessment: Assessment, ahead: Ahead
    ) -> tuple[Shown, ...]:
        """What the model says to images that come with the package; nothing of a regression."""
        if assessment.rejector is None:
            return ()
        with self.stages.stage("strangers"):
            return show_strangers(prepared, learned.top, assessment, ahead.strangers(), self.threads)
