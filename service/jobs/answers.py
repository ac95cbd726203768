"""What the routes of datasets and jobs answer with."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

Seconds = Annotated[float | None, "Seconds since 1970."]


class Remark(TypedDict):
    """Something that should be looked at before training."""

    kind: str
    message: str
    images: NotRequired[list[str]]


class Progress(TypedDict):
    """How far a job is."""

    stage: Annotated[str, "Such as scan, features, views, train, assess, proof, report."]
    words: Annotated[str, "The stage as people call it."]
    done: int | None
    total: int | None
    seconds_left: Annotated[
        float | None, "Of this stage, as fast as it went until now. Training may end earlier."
    ]


class CurvePoint(TypedDict):
    """What was measured after an epoch."""

    phase: str
    epoch: int
    epochs: Annotated[int, "That there will be at most."]
    loss: float | None
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None


class ClassOf(TypedDict):
    """A class of a dataset."""

    id: str
    name: str
    count: Annotated[int, "Its images."]


class DatasetAnswer(TypedDict):
    """A dataset."""

    id: str
    name: str
    created: Annotated[float, "Seconds since 1970."]
    classes: list[ClassOf]
    images: int
    bytes: Annotated[int, "Of all photos."]
    revision: Annotated[int, "Another one after each change."]
    warnings: list[Remark]
    warnings_revision: Annotated[
        int, "To which the warnings belong; of a large dataset that grows it may be an older one."
    ]


class DatasetList(TypedDict):
    """All datasets."""

    datasets: list[DatasetAnswer]


# An image of a dataset; `class` is no name that Python takes.
ImageAnswer = TypedDict(
    "ImageAnswer",
    {
        "id": str,
        "class": Annotated[str, "The name of its class."],
        "class_id": str,
        "name": str,
        "width": int,
        "height": int,
        "bytes": int,
        "split": str | None,
        "flags": Annotated[
            list[str], "duplicate, conflict (a copy in another class), blurred, dark, one colour."
        ],
        "duplicate_of": Annotated[str | None, "The id of the first image that this is a copy of."],
    },
)


class ImageList(TypedDict):
    """Some images of a dataset."""

    images: list[ImageAnswer]
    total: int


class Added(TypedDict):
    """What became of photos that were sent, in their order: an image, or the error in its place."""

    images: list[dict[str, Any]]
    dataset: DatasetAnswer


class Deleted(TypedDict):
    """What is gone."""

    deleted: str


class Verdict(TypedDict):
    """What the report comes to (docs/report.md)."""

    sentences: list[str]
    trusted: bool
    concerns: list[dict[str, Any]]
    accuracy: float | None
    interval: Annotated[list[float] | None, "Of the accuracy, 95 % confidence."]
    images: Annotated[int, "Measured, none of which was learned from."]
    measured_on: str


class FileAnswer(TypedDict):
    """A file that a job has made."""

    name: str
    bytes: int


class Promotion(TypedDict):
    """Where the model of a job is served."""

    model: str
    version: int
    label: str | None


class JobAnswer(TypedDict):
    """A job."""

    id: str
    name: str
    dataset: str
    revision: Annotated[int, "Of the dataset when the job was made."]
    settings: Annotated[dict[str, Any], "As they were given."]
    state: Annotated[str, "queued, running, cancelling, cancelled, failed or finished."]
    queue_position: Annotated[int | None, "How many go first; null where it begins now."]
    created: Annotated[float, "Seconds since 1970."]
    started: Seconds
    ended: Seconds
    progress: Progress | None
    curves: list[CurvePoint]
    error: str | None
    verdict: Verdict | None
    files: list[FileAnswer]
    promoted: list[Promotion]


class JobList(TypedDict):
    """All jobs, the newest first."""

    jobs: list[JobAnswer]


class Mistake(TypedDict):
    """A measured image that the model takes for something else."""

    image: Annotated[str, "Its id in the dataset."]
    name: str
    here: Annotated[bool, "Whether the dataset still has it."]
    truth: str
    predicted: str
    probability: float


class Mistakes(TypedDict):
    """All mistakes, the surest first."""

    mistakes: list[Mistake]
    images: Annotated[int, "Measured."]


class Comparison(TypedDict):
    """Two jobs on the measured images that both have."""

    images: Annotated[int, "That both have measured and neither has learned from, with the same class."]
    accuracy: float | None
    other_accuracy: float | None
    difference: Annotated[float | None, "Of the accuracies, this job's less the other's."]
    interval: Annotated[list[float] | None, "Of the difference, 95 % confidence."]
    p: Annotated[float | None, "Of McNemar's test."]
    significant: bool
    sentence: str


class Backbone(TypedDict):
    """A network that can be taught."""

    name: str
    note: str
    bytes: Annotated[int | None, "Of the download."]
    here: Annotated[bool, "Whether it is on this machine already."]


class Disk(TypedDict):
    """Bytes of the workspace."""

    used: int
    limit: int
    free: int


class Abilities(TypedDict):
    """With what a service teaches."""

    roots: Annotated[list[str], "Folders of this machine from which datasets may be taken."]
    disk: Disk
    accelerator: str
    methods: list[str]
    backbones: list[Backbone]
    settings: Annotated[dict[str, Any], "The schema of each setting of a job, with its default."]


class WorkspaceAnswer(TypedDict):
    """Whether this service teaches whoever asks, and with what."""

    teaching: bool
    why: Annotated[str, "Why it does not, or for whom it does."]
    abilities: Abilities | None
