"""Commands on a file that was fine-tuned: "none of these", regressions, cards, int8."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import onnx
import pytest

from models.card import Accuracy, ModelCard, Regression, Splits, card_of, write_card
from models.model import Model
from tests.fixtures import COLOURS, plain
from tests.service.running import Run
from tests.tuned import tuned_classifier, tuned_regression

GREY = (200, 200, 200)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """red/0.png, green/0.png, blue/0.png, and a grey image called blue."""
    for name in COLOURS:
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "0.png").write_bytes(plain(name))
    (tmp_path / "photos" / "blue" / "grey.png").write_bytes(plain(GREY))
    return tmp_path / "photos"


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    return tuned_classifier(tmp_path)


@pytest.fixture
def redness(tmp_path: Path) -> Path:
    return tuned_regression(tmp_path)


def with_card(path: Path, **values: object) -> None:
    model = onnx.load(path)
    card = card_of(model)
    write_card(model, ModelCard(**{**vars(card), **values}))  # type: ignore[arg-type]
    onnx.save(model, path)


class TestClassify:
    def test_none_of_these_is_said_with_what_it_looks_like(
        self, graft: Run, tuned: Path, photos: Path
    ) -> None:
        result = graft("classify", "-m", tuned, photos / "blue", "-k", 1)
        assert result.exit_code == 0
        known, unknown = result.stdout.split("\n\n")
        assert "none of these" not in known
        assert unknown.splitlines()[1] == (
            "  none of these (score 0.8453, threshold 0.3); it looks most like"
        )
        assert unknown.splitlines()[2].startswith("  red ")
        assert unknown.splitlines()[2].endswith(" 33.3 %")

    def test_json(self, graft: Run, tuned: Path, photos: Path) -> None:
        result = graft("classify", "-m", tuned, photos / "blue", "-k", 1, "--json")
        blue, grey = (json.loads(line) for line in result.stdout.splitlines())
        assert (blue["rejected"], blue["predictions"][0]["label"]) == (False, "blue")
        assert blue["reject_score"] == pytest.approx(0, abs=1e-6)
        assert (grey["rejected"], len(grey["predictions"])) == (True, 1)
        assert grey["reject_score"] == pytest.approx(0.845299, rel=1e-5)

    def test_csv(self, graft: Run, tuned: Path, photos: Path) -> None:
        result = graft("classify", "-m", tuned, photos / "blue", "-k", 1, "--csv")
        header, blue, grey = csv.reader(io.StringIO(result.stdout))
        assert header == ["image", "rank", "id", "label", "probability", "rejected", "reject_score"]
        assert (blue[3], blue[5], grey[5]) == ("blue", "false", "true")
        assert float(grey[6]) == pytest.approx(0.845299, rel=1e-5)

    def test_regression(self, graft: Run, redness: Path, photos: Path) -> None:
        red = photos / "red"
        assert graft("classify", "-m", redness, red).stdout.splitlines() == [
            f"{red}/0.png",
            "  redness  100 %, within 99.75 to 100.2, 90 % of the time",
        ]
        printed = json.loads(graft("classify", "-m", redness, red, "--json").stdout)
        assert printed == {
            "image": f"{red}/0.png",
            "value": 100.0,
            "unit": "%",
            "interval": [99.75, 100.25],
            "coverage": 0.9,
        }
        rows = list(csv.reader(io.StringIO(graft("classify", "-m", redness, red, "--csv").stdout)))
        assert rows == [
            ["image", "value", "low", "high", "unit"],
            [f"{red}/0.png", "100.0", "99.75", "100.25", "%"],
        ]

    def test_regression_without_anything_known_of_its_target(
        self, graft: Run, redness: Path, photos: Path
    ) -> None:
        with_card(redness, target=None)
        assert graft("classify", "-m", redness, photos / "red").stdout.endswith("\n  value  100\n")
        printed = json.loads(graft("classify", "-m", redness, photos / "red", "--json").stdout)
        assert printed.keys() == {"image", "value"}

    def test_broken_image_among_good_ones(self, graft: Run, tuned: Path, photos: Path) -> None:
        (photos / "blue" / "a.png").write_bytes(b"broken")
        result = graft("classify", "-m", tuned, photos / "blue", "--json")
        assert result.exit_code == 1
        rows = {Path(row["image"]).name: row for row in map(json.loads, result.stdout.splitlines())}
        assert "error" in rows["a.png"]
        assert (rows["0.png"]["rejected"], rows["grey.png"]["rejected"]) == (False, True)


class TestEvaluate:
    def test_rejected_and_accepted(self, graft: Run, tuned: Path, photos: Path) -> None:
        result = graft("evaluate", "-m", tuned, photos)
        assert "  top-1      75.00 %" in result.stdout  # grey is no blue
        assert "  rejected   25.00 %  taken for none of the classes" in result.stdout
        assert "  accepted  100.00 %  top-1 on the images that are left" in result.stdout
        printed = json.loads(graft("evaluate", "-m", tuned, photos, "--json").stdout)
        assert (printed["rejected"], printed["accepted_top1"]) == (1, 1.0)

    def test_model_without_a_threshold_says_nothing_of_it(
        self, graft: Run, tiny_path: Path, photos: Path
    ) -> None:
        assert "rejected" not in graft("evaluate", "-m", tiny_path, photos).stdout
        assert json.loads(graft("evaluate", "-m", tiny_path, photos, "--json").stdout)["rejected"] is None

    def test_regression(self, graft: Run, redness: Path, photos: Path) -> None:
        table = photos / "list.csv"
        table.write_text(
            "path,target,split\nred/0.png,100.2,test\nblue/0.png,-1,test\nblue/grey.png,0,train\n"
        )
        result = graft("evaluate", "-m", redness, table, "--split", "test")
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[:2] == [f"redness on {table}, split test", "  2 images, 0 could not be read"]
        assert [" ".join(line.split()) for line in lines[3:7]] == [
            "mean absolute error 0.6 %",
            "mean squared error 0.52 % squared",
            "R2 0.9998 1 is perfect, 0 no better than the mean",
            "within the interval 50.0 % +- 0.25 %; the card says 90 %",
        ]
        printed = json.loads(graft("evaluate", "-m", redness, table, "--json", "--split", "test").stdout)
        assert (printed["images"], printed["split"]) == (2, "test")
        assert printed["mae"] == pytest.approx((0.2 + 1) / 2, rel=1e-5)
        assert "has the splits test, train" in graft("evaluate", "-m", redness, table).stderr

    def test_regression_of_an_unknown_split_and_of_a_folder(
        self, graft: Run, redness: Path, photos: Path
    ) -> None:
        (photos / "list.csv").write_text("path,target\nred/0.png,1\n")
        result = graft("evaluate", "-m", redness, photos / "list.csv", "--split", "val")
        assert (result.exit_code, "no image of the split 'val'; there is no split" in result.stderr) == (
            2,
            True,
        )
        result = graft("evaluate", "-m", redness, photos)
        assert result.exit_code == 2
        assert "regression needs a number for each image" in result.stderr

    def test_broken_image_of_a_regression(self, graft: Run, redness: Path, photos: Path) -> None:
        (photos / "red" / "0.png").write_bytes(b"broken")
        (photos / "list.csv").write_text("path,target\nred/0.png,1\nblue/0.png,0\n")
        result = graft("evaluate", "-m", redness, photos / "list.csv")
        assert result.exit_code == 1
        assert "1 image, 1 could not be read" in result.stdout
        assert " R2 none " in " ".join(result.stdout.split())  # of one image
        assert "not an image" in result.stderr


class TestOthers:
    def test_info(self, graft: Run, tuned: Path, redness: Path) -> None:
        figure = Accuracy("clothes", "test", 100, 0.9, interval=(0.85, 0.95))
        with_card(tuned, accuracy=(figure,), splits=Splits(1000, 200, 100))
        printed = " ".join(graft("models", "info", tuned).stdout.split())
        assert "top-1 90.00 % (95 % confidence: 85.00 % to 95.00 %) on 100 images of clothes test" in printed
        assert "images used 1,000 to train, 200 to validate, 100 to test" in printed
        assert (
            "mahalanobis score above 0.3; 100.0 % of images held out are below, AUROC 0.900 (by eye)"
            in printed
        )
        with_card(redness, regression=(Regression("clothes", "test", 10, 4.0, 1.5, 0.25),))
        printed = " ".join(graft("models", "info", redness).stdout.split())
        assert "gives redness in %, within 0.25 of the truth 90 % of the time" in printed
        assert "mean absolute 1.5 %, mean squared 4, R2 0.250 on 10 images of clothes test" in printed

    def test_features(self, graft: Run, redness: Path, photos: Path, tmp_path: Path) -> None:
        result = graft("features", photos, "-m", redness, "--cut", "embedding", "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output

    def test_int8_version_says_that_the_threshold_is_the_old_one(
        self, graft: Run, tuned: Path, photos: Path, tmp_path: Path
    ) -> None:
        result = graft(
            "models", "quantize", tuned, "--calibrate", photos, "-o", tmp_path / "small.onnx", "--force"
        )
        assert result.exit_code == 0, result.output
        assert 'The threshold for "none of these" was set on the float32 version' in result.stderr
        reject = Model.open(tmp_path / "small.onnx").card.reject
        assert reject is not None
        assert (reject.threshold, reject.auroc) == (0.3, None)
