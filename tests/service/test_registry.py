"""Names of models, and the swap that nobody notices."""

from __future__ import annotations

import dataclasses
import math
import shutil
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InputError, ModelError, OverloadedError, UnknownModelError
from models.model import Model
from service.config import ServiceConfig
from service.decoding import Caller
from service.registry import STABLE, Registry
from service.served import Served
from service.sources import Source

NO_HURRY = Caller(math.inf)


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (("builtin",), ["graft-mini"]),
        (("inception_v3", "graft-mini"), ["inception_v3.torchvision", "graft-mini"]),
        (("folder/birds.onnx",), ["birds"]),
        (("cats-model/model.onnx", "dogs-model/model.onnx"), ["cats-model", "dogs-model"]),
        (("cats=folder/model.onnx", "dogs=other/model.onnx"), ["cats", "dogs"]),
    ],
)
def test_names(models: tuple[str, ...], names: list[str]) -> None:
    registry = Registry(ServiceConfig(models=models))
    assert [source.name for source in registry.sources] == names
    assert registry.default == names[0]


def test_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "lr=0.1.onnx"
    path.touch()
    assert [source.spec for source in Registry(ServiceConfig(models=(str(path),))).sources] == [str(path)]


@pytest.mark.parametrize("models", [("a/x.onnx", "b/x.onnx"), ("builtin", "graft-mini")])
def test_two_of_one_name_are_refused(models: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="are both called"):
        Registry(ServiceConfig(models=models))


def test_missing_model_is_an_error_of_loading(config: ServiceConfig, tmp_path: Path) -> None:
    registry = Registry(dataclasses.replace(config, models=(str(tmp_path / "gone.onnx"),)))
    with pytest.raises(UnknownModelError, match="no such file"):
        registry.load()
    assert registry.loading == ["gone"]


def test_new_model_takes_the_place_of_the_old_while_it_is_used(registry: Registry) -> None:
    images = [np.zeros((16, 16, 3), np.uint8)]
    with registry.use("tiny") as old:
        new = Served(Source("tiny", 1, old.source.spec), old.model, registry.config)
        registry.put(new)
        assert registry.get("tiny") is new
        assert len(old.results(images, NO_HURRY)) == 1
    assert not old.enter()
    for thread in old.batcher._threads:  # another thread ends them
        thread.join(60)
    with pytest.raises(OverloadedError, match="wait for the model"):
        old.results(images, NO_HURRY)
    assert registry.default == "tiny"


def test_many_images_run_in_parts_that_suit_the_device(registry: Registry) -> None:
    served = registry.get("tiny")
    shades = np.arange(21, dtype=np.uint8)
    images = [np.full((16, 16, 3), shade, np.uint8) for shade in shades]
    assert served.plan.largest < 21
    vectors = served.vectors(images, served.feature_model("pool"), NO_HURRY)
    np.testing.assert_allclose(np.stack(vectors)[:, 0], shades / 255, rtol=1e-6)
    assert len(served.results(images, NO_HURRY)) == 21


@pytest.fixture
def repository(tmp_path: Path, tiny_path: Path) -> Path:
    """A folder of three models, of which the second is none."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("a.onnx", "c.onnx"):
        shutil.copy(tiny_path, folder / name)
    (folder / "b.onnx").write_text("no model")
    return folder


def test_a_bad_file_in_a_folder_is_reported_and_the_others_are_served(
    config: ServiceConfig, repository: Path
) -> None:
    registry = Registry(dataclasses.replace(config, models=(str(repository),)))
    reports: list[tuple[str, str]] = []
    registry.load(lambda source, error: reports.append((source.name, str(error))))
    assert list(registry.families) == ["a", "c"]
    assert registry.loading == []
    ((name, reason),) = reports
    assert name == "b"
    assert "b.onnx: onnxruntime" in reason
    with pytest.raises(UnknownModelError, match=r"b could not be loaded: .*b\.onnx"):
        registry.get("b")
    registry.close()


def test_a_bad_file_that_was_named_ends_the_load(config: ServiceConfig, repository: Path) -> None:
    registry = Registry(dataclasses.replace(config, models=(str(repository / "b.onnx"),)))
    with pytest.raises(ModelError, match=r"b\.onnx: onnxruntime"):
        registry.load()


def test_a_folder_of_bad_files_alone_serves_nothing(
    config: ServiceConfig, repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.onnx", "c.onnx"):
        (repository / name).unlink()
    registry = Registry(dataclasses.replace(config, models=(str(repository),)))
    with pytest.raises(ModelError, match="none of the models could be loaded"):
        registry.load()
    assert "b version 1 is not served" in caplog.text


class TestLabelsOfTheConfiguration:
    """Labels that stand from the start."""

    def registry(self, config: ServiceConfig, repository: Path, tiny_path: Path, *labels: str) -> Registry:
        for version in "12":
            (repository / "cats" / version).mkdir(parents=True)
            shutil.copy(tiny_path, repository / "cats" / version / "model.onnx")
        return Registry(dataclasses.replace(config, models=(str(repository),), labels=labels))

    def test_they_stand_when_all_is_loaded(
        self, config: ServiceConfig, repository: Path, tiny_path: Path
    ) -> None:
        registry = self.registry(config, repository, tiny_path, "stable=cats:1", "canary=cats:2")
        registry.load(lambda source, error: None)
        assert registry.get("cats").version == 1
        assert registry.get("cats", label="canary").version == 2
        registry.close()

    def test_one_for_a_version_that_is_not_there_ends_the_load(
        self, config: ServiceConfig, repository: Path, tiny_path: Path
    ) -> None:
        registry = self.registry(config, repository, tiny_path, "stable=cats:3")
        with pytest.raises(UnknownModelError, match="cats has no version 3 here; there is 1, 2"):
            registry.load(lambda source, error: None)
        registry.close()

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (("stable",), "the label is 'stable'; expected LABEL=NAME:VERSION"),
            (("1=tiny:1",), "'1=tiny:1': the label is a number; expected a word"),
            (("stable=cats",), "the label is 'stable=cats'; expected"),
            (("stable=cats:x",), "the label is 'stable=cats:x'; expected"),
            (("=cats:1",), "the label is '=cats:1'; expected"),
            (("a=cats:1", "a=cats:2"), "a=cats:1 and a=cats:2 are about the same label"),
        ],
    )
    def test_other_forms_are_refused(self, labels: tuple[str, ...], message: str) -> None:
        with pytest.raises(InputError, match=message):
            Registry(ServiceConfig(labels=labels))


class TestVersions:
    """Several versions of one model, and the labels that stand for them."""

    @pytest.fixture
    def versions(self, registry: Registry, tiny_path: Path) -> Registry:
        for version in (2, 3):
            registry.open(Source("tiny", version, str(tiny_path)))
        return registry

    def test_the_newest_answers_until_one_is_stable(self, versions: Registry) -> None:
        assert versions.get("tiny").version == 3
        versions.move_label("tiny", STABLE, 2)
        assert versions.get("tiny").version == 2
        assert versions.get("tiny", version=3).version == 3
        versions.move_label("tiny", "canary", 3)
        assert versions.get("tiny", label="canary").version == 3
        versions.move_label("tiny", STABLE, None)
        assert versions.get("tiny").version == 3

    def test_a_label_moves_to_what_is_warm_only(self, versions: Registry) -> None:
        versions.move_label("tiny", STABLE, 2)
        with pytest.raises(UnknownModelError, match="no version 4 here; there is 1, 2, 3"):
            versions.move_label("tiny", STABLE, 4)
        assert versions.get("tiny").version == 2

    @pytest.mark.parametrize("label", ["", "7"])
    def test_a_label_is_a_word(self, versions: Registry, label: str) -> None:
        with pytest.raises(InputError, match="expected a word such as stable"):
            versions.move_label("tiny", label, 2)

    def test_what_is_not_there_is_named_with_what_is(self, versions: Registry) -> None:
        with pytest.raises(UnknownModelError, match="no version 9 here; there is 1, 2, 3"):
            versions.get("tiny", version=9)
        with pytest.raises(UnknownModelError, match="no label 'canary'; it has none"):
            versions.get("tiny", label="canary")
        with pytest.raises(
            UnknownModelError, match=r"'tyni' is not served here; there is tiny, other\. Did you mean tiny"
        ):
            versions.get("tyni")

    def test_a_version_that_a_label_stands_for_stays(self, versions: Registry) -> None:
        versions.move_label("tiny", STABLE, 2)
        with pytest.raises(InputError, match=r"version 2 of tiny is stable\. Move the label first"):
            versions.unload("tiny", 2)
        versions.unload("tiny", 3)
        assert sorted(versions.families["tiny"].versions) == [1, 2]

    def test_a_model_goes_with_all_its_versions(self, versions: Registry) -> None:
        versions.unload("tiny")
        assert list(versions.families) == ["other"]
        with pytest.raises(UnknownModelError, match="'tiny' is not served here"):
            versions.get("tiny")

    def test_an_alias_of_the_zoo_stands_for_the_model(self, config: ServiceConfig) -> None:
        registry = Registry(dataclasses.replace(config, models=("builtin", config.models[0])))
        registry.load()
        registry.move_label("builtin", "stable", 1)
        assert registry.families["graft-mini"].labels == {"stable": 1}
        registry.unload("builtin")
        assert list(registry.families) == ["tiny"]
        registry.close()

    def test_one_that_does_not_load_changes_nothing(self, versions: Registry, tmp_path: Path) -> None:
        (tmp_path / "bad.onnx").write_text("no model")
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            versions.open(Source("tiny", 2, str(tmp_path / "bad.onnx")))
        assert versions.get("tiny", version=2).version == 2
        assert versions.states["tiny", 2][0] == "ready"
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            versions.open(Source("bad", 1, str(tmp_path / "bad.onnx")))
        with pytest.raises(UnknownModelError, match=r"bad could not be loaded: .*bad\.onnx"):
            versions.get("bad")


def test_a_changed_file_gives_no_features_of_another_version(
    config: ServiceConfig, tiny_path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.onnx"
    shutil.copy(tiny_path, copy)
    registry = Registry(dataclasses.replace(config, models=(str(copy),)))
    registry.load()
    copy.write_bytes(copy.read_bytes() + b" ")
    with pytest.raises(ModelError, match=r"has changed since version 1 was loaded\. Load it again"):
        registry.get().feature_model("pool")
    registry.close()


def test_a_file_that_is_replaced_while_it_is_opened_counts_as_changed(
    config: ServiceConfig, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.onnx"
    shutil.copy(tiny_path, copy)
    registry = Registry(dataclasses.replace(config, models=(str(copy),)))
    open_model = Model.open

    def replaced(*arguments: Any) -> Model:
        model = open_model(*arguments)
        shutil.copy(tiny_path, tmp_path / "new.onnx")
        (tmp_path / "new.onnx").replace(copy)
        return model

    monkeypatch.setattr(Model, "open", replaced)
    registry.load()
    assert registry.get().changed
    monkeypatch.undo()
    assert not registry.open(registry.sources[0]).changed
    registry.close()


def test_what_was_unloaded_is_freed(registry: Registry, tiny_path: Path) -> None:
    served = registry.open(Source("gone", 1, str(tiny_path)))
    session = weakref.ref(served.model.session)
    freed = threading.Event()
    weakref.finalize(served.model.session, freed.set)
    del served
    registry.unload("gone")
    assert freed.wait(120)
    assert session() is None
