"""Routes of datasets: made whole or photo by photo, looked at, mended and deleted."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict
from urllib.parse import quote

from flask import Response, jsonify, request

from models.errors import GraftError, InputError
from models.settings import setting, settings
from service.bodies.images import IMAGES
from service.errors import error_json, failure
from service.jobs.answers import Added, DatasetAnswer, DatasetList, Deleted, ImageAnswer, ImageList
from service.jobs.bodies import ARCHIVES, DATASETS, ZIP, received, text_fields
from service.jobs.database import Row
from service.jobs.hygiene import Hygiene
from service.jobs.images import IMAGES_MOST, SIDES
from service.jobs.photos import TYPES, read_photo
from service.jobs.teaching import Teaching
from service.openapi.parameters import NoParameters
from service.openapi.routes import JSON, Routes
from service.protocols.asking import caller_of

_YEAR = "private, max-age=31536000, immutable"  # bytes of an image never change
_MOST = 1000  # images of one answer


@settings
class Naming:
    """Of POST /v1/datasets."""

    name: str = setting("", "What the dataset is to be called, of an archive or a folder.", unset="dataset")


@settings
class OfDataset:
    """A dataset by its id."""

    dataset: str = setting("", "Id of a dataset.")


@settings
class OfClass(OfDataset):
    """A class by its id."""

    class_: str = setting("", "Id of a class.")


@settings
class OfImage(OfDataset):
    """An image by its id."""

    image: str = setting("", "Id of an image.")


@settings
class Thumbnail(OfImage):
    """Of GET .../thumbnail."""

    size: int = setting(
        160, "Pixels of the longer side; the next of 80, 160, 320 and 640.", least=1, most=640
    )


@settings
class ToClass(OfDataset):
    """Of POST .../images."""

    class_: str = setting("", "Name of the class, which is made where there is none.")
    again: bool = setting(
        False,
        "The same was sent before and had no answer: what the class has already, by name and bytes, stays one.",
    )


@settings
class Some(OfDataset):
    """Of GET .../images."""

    class_: str | None = setting(None, "Name of a class.", unset="all of them")
    offset: int = setting(0, "Images to pass over.", least=0, most=IMAGES_MOST)
    limit: int = setting(200, "Images to list.", least=1, most=_MOST)


class NewDataset(TypedDict):
    """An empty dataset, or one of a folder of the machine."""

    name: NotRequired[str]
    folder: NotRequired[Annotated[str, "Below one of the roots of /v1/workspace."]]


class Name(TypedDict):
    """A name."""

    name: str


# The class that an image is to have; `class` is no name that Python takes.
Relabel = TypedDict(
    "Relabel", {"class": Annotated[str, "Name of the class, which is made where there is none."]}
)


def dataset_routes(teaching: Teaching) -> Routes:
    """The routes below /v1/datasets."""
    routes = Routes("datasets", DATASETS)
    datasets, photos, inspector = teaching.datasets, teaching.images, teaching.inspector
    registry = teaching.registry

    def dataset_json(dataset: str, *, patient: bool = True) -> DatasetAnswer:
        row = datasets.row(dataset)
        classes = datasets.classes(dataset)
        hygiene = inspector.hygiene(dataset, patient=patient)
        return {
            "id": dataset,
            "name": row["name"],
            "created": row["created"],
            "classes": [{"id": one.id, "name": one.name, "count": one.count} for one in classes],
            "images": sum(one.count for one in classes),
            "bytes": photos.total_bytes(dataset),
            "revision": row["revision"],
            "warnings": list(hygiene.warnings),
            "warnings_revision": hygiene.revision,
        }

    def made(dataset: str) -> Response:
        response = jsonify(dataset_json(dataset))
        response.status_code = 201
        response.headers["Location"] = f"/v1/datasets/{dataset}"
        return response

    @routes.post(
        "", Naming, body={ZIP: None, JSON: NewDataset}, answer=DatasetAnswer, status=201, statuses=(507,)
    )
    def create_dataset(given: Naming) -> Response:
        """Makes a dataset: of a zip archive with a folder for each class, of a folder of the machine, or empty.

        An archive that climbs out, explodes or holds no classes is refused whole; photos that cannot be read are
        left out and told in the warnings.
        """
        if request.mimetype in ARCHIVES:
            with received(request, teaching.workspace) as file:
                return made(teaching.intake.archive(file, given.name or "dataset"))
        fields = text_fields(registry, {"name", "folder"})
        name = fields.get("name", given.name)
        if "folder" in fields:
            return made(teaching.intake.folder(fields["folder"], registry.config.datasets_root, name))
        return made(datasets.create(name or "dataset"))

    @routes.get("", answer=DatasetList)
    def list_datasets(_: NoParameters) -> Response:
        """Lists all datasets, the oldest first."""
        return jsonify(datasets=[dataset_json(row["id"], patient=False) for row in datasets.rows()])

    @routes.get("/{dataset}", OfDataset, answer=DatasetAnswer, statuses=(404,))
    def get_dataset(given: OfDataset) -> Response:
        """Tells a dataset with its classes, and what should be looked at before training."""
        return jsonify(dataset_json(given.dataset))

    @routes.route("DELETE", "/{dataset}", OfDataset, answer=Deleted, statuses=(404,))
    def delete_dataset(given: OfDataset) -> Response:
        """Deletes a dataset with its photos; jobs that learn from it go on, and files that lie elsewhere stay."""
        datasets.delete(given.dataset)
        inspector.forget(given.dataset)
        return jsonify(deleted=given.dataset)

    @routes.post(
        "/{dataset}/classes",
        OfDataset,
        body={JSON: Name},
        answer=DatasetAnswer,
        status=201,
        statuses=(404, 507),
    )
    def create_class(given: OfDataset) -> Response:
        """Makes a class; any text may be its name. One that is there stays as it is."""
        datasets.class_id(given.dataset, text_fields(registry, {"name"}, needed={"name"})["name"], make=True)
        return made(given.dataset)

    @routes.route(
        "PATCH",
        "/{dataset}/classes/{class}",
        OfClass,
        body={JSON: Name},
        answer=DatasetAnswer,
        statuses=(404, 409),
    )
    def rename_class(given: OfClass) -> Response:
        """Gives a class another name."""
        name = text_fields(registry, {"name"}, needed={"name"})["name"]
        datasets.rename_class(given.dataset, given.class_, name)
        return jsonify(dataset_json(given.dataset))

    @routes.route("DELETE", "/{dataset}/classes/{class}", OfClass, answer=DatasetAnswer, statuses=(404,))
    def delete_class(given: OfClass) -> Response:
        """Deletes a class with its photos."""
        photos.remove_class(given.dataset, given.class_)
        return jsonify(dataset_json(given.dataset))

    @routes.post("/{dataset}/images", ToClass, body=IMAGES, answer=Added, status=201, statuses=(404, 507))
    def add_images(given: ToClass) -> Response:
        """Adds photos to a class: an image, or why it was not taken, for each in its place.

        Takes them as /v1/classify does. Where none was taken it answers 422.
        """
        class_id = datasets.class_id(given.dataset, given.class_, make=True)
        images: list[object] = []
        errors: list[GraftError] = []
        with registry.bodies.uploads(request, caller_of(registry, request)) as uploads:
            for upload in uploads:
                try:
                    photo = read_photo(upload.name, upload.content, registry.config.max_pixels)
                    known = photos.same(class_id, photo) if given.again else None
                    known = known or photos.add(given.dataset, class_id, photo)
                except InputError as exc:
                    errors.append(exc.with_traceback(None))
                    images.append({"name": upload.name, "error": error_json(exc)})
                else:
                    facts = photo.facts
                    images.append(
                        {"id": known, "class": given.class_, "width": facts.width, "height": facts.height}
                    )
        dataset = dataset_json(given.dataset, patient=False)
        if len(errors) == len(images):
            return failure(errors[0], request, images=images, dataset=dataset)
        response = jsonify(images=images, dataset=dataset)
        response.status_code = 201
        return response

    @routes.get("/{dataset}/images", Some, answer=ImageList, statuses=(404,))
    def list_images(given: Some) -> Response:
        """Lists images in the order in which they came."""
        class_id = None if given.class_ is None else datasets.class_id(given.dataset, given.class_)
        rows = photos.images(given.dataset, class_id, given.offset, given.limit)
        hygiene = inspector.hygiene(given.dataset, patient=False)
        total = photos.count(given.dataset, class_id)
        return jsonify(images=[_image_json(row, hygiene) for row in rows], total=total)

    @routes.get("/{dataset}/images/{image}", OfImage, answer={"image/*": None}, statuses=(404,))
    def get_image(given: OfImage) -> Response:
        """Gives the bytes of an image as they came."""
        row = photos.image(given.dataset, given.image)
        kind = TYPES.get(row["format"], "application/octet-stream")
        response = Response(photos.content(row), content_type=kind)
        response.headers["Content-Disposition"] = f"inline; filename*=UTF-8''{quote(row['name'])}"
        return _remembered(response, row["digest"].hex()[:32])

    @routes.get(
        "/{dataset}/images/{image}/thumbnail", Thumbnail, answer={"image/jpeg": None}, statuses=(404, 422)
    )
    def get_thumbnail(given: Thumbnail) -> Response:
        """Gives a small version of an image, upright, as a JPEG."""
        side = next(side for side in SIDES if side >= given.size)
        row = photos.image(given.dataset, given.image)
        response = Response(photos.thumbnail(row, side), content_type="image/jpeg")
        return _remembered(response, f"{row['digest'].hex()[:32]}-{side}")

    @routes.route(
        "PATCH",
        "/{dataset}/images/{image}",
        OfImage,
        body={JSON: Relabel},
        answer=ImageAnswer,
        statuses=(404,),
    )
    def relabel_image(given: OfImage) -> Response:
        """Moves an image to another class."""
        photos.image(given.dataset, given.image)
        name = text_fields(registry, {"class"}, needed={"class"})["class"]
        class_id = datasets.class_id(given.dataset, name, make=True)
        photos.relabel(given.dataset, given.image, class_id)
        hygiene = inspector.hygiene(given.dataset, patient=False)
        return jsonify(_image_json(photos.image(given.dataset, given.image), hygiene))

    @routes.route("DELETE", "/{dataset}/images/{image}", OfImage, answer=Deleted, statuses=(404,))
    def delete_image(given: OfImage) -> Response:
        """Deletes an image."""
        photos.delete_image(given.dataset, given.image)
        return jsonify(deleted=given.image)

    return routes


def _image_json(row: Row, hygiene: Hygiene) -> ImageAnswer:
    return {
        "id": row["id"],
        "class": row["class_name"],
        "class_id": row["class"],
        "name": row["name"],
        "width": row["width"],
        "height": row["height"],
        "bytes": row["bytes"],
        "split": row["split"],
        "flags": list(hygiene.flags.get(row["id"], ())),
        "duplicate_of": hygiene.duplicates.get(row["id"]),
    }


def _remembered(response: Response, tag: str) -> Response:
    """Let the browser keep it, and answer 304 to one that has it."""
    response.headers["Cache-Control"] = _YEAR
    response.set_etag(tag)
    response.make_conditional(request)
    return response
