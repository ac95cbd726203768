"""Features that are committed into an object store, by several processes and by some that are killed."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from feature_extraction import do_part, extract_to, merge_parts, open_place, plan_parts
from feature_extraction.parts.making import PartMaker
from feature_extraction.parts.places import Place, read
from feature_extraction.parts.planning import Plan
from feature_extraction.sources import images
from feature_extraction.stores import opening
from feature_extraction.stores.places import StoredFolder
from models.errors import OutputError, SourceError
from models.features import FeatureModel, FeatureOptions, open_features
from service.cli import main
from tests import optional
from tests.feature_extraction.running import CPU
from tests.feature_extraction.stores.conftest import Bucket
from tests.feature_extraction.stores.relay import Relay
from tests.fixtures import plain

pytestmark = pytest.mark.stores
IMAGES, PART = 11, 4


@pytest.fixture(scope="module")
def features(tiny_path: Path) -> FeatureModel:
    return open_features(tiny_path, FeatureOptions(), CPU)


@pytest.fixture
def photos(bucket: Bucket) -> str:
    """Images in the bucket, of which one is broken."""
    bucket.put_all(
        {f"photos/{i:02}.png": b"broken" if i == 5 else plain((i, i, i), (16, 16)) for i in range(IMAGES)}
    )
    return f"{bucket.url}/photos"


@pytest.fixture
def one_run(photos: str, features: FeatureModel, tmp_path: Path) -> dict[str, bytes]:
    """The files of a folder that one run writes."""
    extract_to(tmp_path / "one", images(photos), features, "npy", batch_size=2, part_images=PART)
    return {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}


def planned(place: Place, photos: str, features: FeatureModel) -> Plan:
    return plan_parts(place, photos, features, "npy", batch_size=2, part_images=PART)


class TestPlace:
    def test_a_file_is_created_once_and_never_over_another(self, bucket: Bucket) -> None:
        place = pickle.loads(pickle.dumps(open_place(f"{bucket.url}/out")))
        assert (place.size("a"), read(place, "a"), str(place)) == (None, None, f"{bucket.url}/out")
        assert place.create("a", [b"one", b"!"]) is True
        assert place.create("a", [b"two"]) is False
        assert (place.size("a"), read(place, "a")) == (4, b"one!")
        place.replace("a", iter([b"three"]))
        assert bucket.contents("out/") == {"a": b"three"}

    def test_names_of_a_folder_and_removing(self, bucket: Bucket) -> None:
        place = open_place(f"{bucket.url}/out")
        assert list(place.names(".parts")) == []
        for name in (".parts/b", ".parts/a", ".parts/deep/c", "d"):
            place.create(name, [b""])
        assert list(place.names(".parts")) == ["a", "b"]
        place.remove(".parts/a")
        place.remove(".parts/a")
        assert list(place.names(".parts")) == ["b"]

    def test_a_large_file_that_goes_up_in_pieces_is_there_whole_or_not_at_all(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put = optional.library("s3fs", "moto").S3FileSystem._pipe_file
        _, *others = put.__defaults__
        monkeypatch.setattr(put, "__defaults__", (5 << 20, *others))  # the least that S3 takes
        data = bytes(range(256)) * 4096 * 12  # 12 MiB
        place = open_place(f"{bucket.url}/out")
        assert place.create("large", [data[:100], data[100:]]) is True
        assert bucket.client.head_object(Bucket=bucket.name, Key="out/large")["ETag"].endswith('-3"')
        assert place.create("large", [data]) is False
        with place.open("large") as stream:
            stream.seek(len(data) - 3)
            assert stream.read() == data[-3:]


def test_parts_in_a_store_become_the_folder_of_one_run(
    bucket: Bucket, photos: str, features: FeatureModel, one_run: dict[str, bytes]
) -> None:
    place = open_place(f"{bucket.url}/out")
    plan = planned(place, photos, features)
    for number in (2, 0, 1):
        do_part(plan, number, features)
    merge_parts(plan)
    assert bucket.contents("out/") == one_run
    assert b"05.png" in one_run["failed.jsonl"]


def test_of_two_executors_of_a_part_one_commits(
    bucket: Bucket, photos: str, features: FeatureModel, one_run: dict[str, bytes]
) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    url = f"{bucket.url}/out"
    faster = [planned(open_place(url), photos, features)]

    class Overtaken(StoredFolder):
        """Lets another executor make a part when it is about to commit its own."""

        def create(self, name: str, pieces: Iterable[bytes]) -> bool:
            if name.endswith(".npy") and faster:
                do_part(faster.pop(), 0, features)
            return super().create(name, pieces)

    plan = planned(Overtaken(url), photos, features)
    assert not do_part(plan, 0, features).before  # it has computed it all the same
    assert not faster
    for number in (1, 2):
        do_part(plan, number, features)
    versions = bucket.client.list_object_versions(Bucket=bucket.name, Prefix="out/part-")["Versions"]
    assert len({entry["Key"] for entry in versions}) == len(versions) == 6  # nothing was written twice
    merge_parts(plan)
    assert bucket.contents("out/") == one_run


# Makes the parts of a place; its arguments are the place, the source and the network.
_EXECUTOR = """
import sys
from feature_extraction import do_part, open_place, plan_parts
from models.features import FeatureOptions, open_features
from models.runtime import RuntimeConfig
place, source, network = sys.argv[1:]
features = open_features(network, FeatureOptions(), RuntimeConfig("cpu", 1))
plan = plan_parts(open_place(place), source, features, "npy", batch_size=2, part_images=4)
for number in range(plan.parts):
    do_part(plan, number, features)
"""


def executor(place: str, source: str, network: Path, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _EXECUTOR, place, source, network],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
    )


@pytest.mark.smoke
def test_two_processes_at_once_write_nothing_twice(
    bucket: Bucket, photos: str, features: FeatureModel, one_run: dict[str, bytes], tiny_path: Path
) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    url = f"{bucket.url}/out"
    processes = [executor(url, photos, tiny_path) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    versions = bucket.client.list_object_versions(Bucket=bucket.name, Prefix="out/part-")["Versions"]
    assert len({entry["Key"] for entry in versions}) == len(versions) == 6
    merge_parts(planned(open_place(url), photos, features))
    assert bucket.contents("out/") == one_run


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["part-00001.pool.npy", ".parts/part-00001.json"])
def test_killed_in_the_middle_of_an_upload_nothing_half_written_is_there(
    bucket: Bucket,
    photos: str,
    features: FeatureModel,
    one_run: dict[str, bytes],
    tiny_path: Path,
    s3_server: str,
    name: str,
) -> None:
    with Relay(s3_server, f"PUT /{bucket.name}/out/{name} ") as relay:
        process = executor(f"{bucket.url}/out", photos, tiny_path, AWS_ENDPOINT_URL=relay.url)
        relay.wait_for_half_a_body()
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()
    assert name not in bucket.contents("out/")
    place = open_place(f"{bucket.url}/out")
    plan = planned(place, photos, features)
    with pytest.raises(OutputError, match="2 of 3 parts are missing"):
        merge_parts(plan)
    for number in range(plan.parts):
        assert do_part(plan, number, features).before == (number == 0)
    merge_parts(plan)
    assert bucket.contents("out/") == one_run


def graft(*arguments: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(main, ["features", *map(str, arguments)], prog_name="graft")


def test_the_command_writes_into_a_store_and_goes_on_there(
    bucket: Bucket, photos: str, one_run: dict[str, bytes], tiny_path: Path
) -> None:
    out = f"{bucket.url}/out"
    command = [
        photos, "--out", out, "--model", tiny_path, "--batch-size", 2, "--part-images", PART, "--device", "cpu",
        "--threads", 1,
    ]  # fmt: skip
    first = graft(*command, "--part", "2/3")
    assert first.exit_code == 0, first.stderr
    assert f"{photos}/05.png: " in first.stderr
    rest = graft(*command, "--json")
    assert rest.exit_code == 1  # an image is broken
    values = json.loads(rest.stdout)
    assert (values["out"], values["parts"], values["parts_before"], values["images"]) == (out, 2, 1, 7)
    assert bucket.contents("out/") == one_run
    again = graft(*command)
    assert again.exit_code == 2
    assert f"{out}: holds features already" in again.stderr
    resumed = graft(*command, "--resume")
    assert f"{out}: 10 images, all done before" in resumed.stdout
    others = graft(*command, "--resume", "--normalize", "l2")
    assert "made with other settings" in others.stderr
    assert "normalize was None, now l2" in others.stderr
    nowhere = graft(*command[:2], "s3://no-such-bucket/out", *command[3:])
    assert (
        "s3://no-such-bucket/out/.parts/plan.jsonl: cannot be written (there is no such object"
        in nowhere.stderr
    )
    assert nowhere.exit_code == 2


class TestBadInput:
    def test_a_bucket_that_does_not_exist(self, bucket: Bucket, photos: str, features: FeatureModel) -> None:
        with pytest.raises(OutputError, match=r"s3://no-such-bucket.*cannot be written \(there is no such"):
            planned(open_place("s3://no-such-bucket/out"), photos, features)

    def test_a_bucket_that_refuses(
        self, bucket: Bucket, photos: str, features: FeatureModel, refusing: None
    ) -> None:
        with pytest.raises(OutputError, match="the store refuses it"):
            planned(open_place(f"{bucket.url}/out"), photos, features)

    def test_credentials_that_are_missing(
        self,
        bucket: Bucket,
        photos: str,
        features: FeatureModel,
        new_connections: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        plan = planned(open_place(f"{bucket.url}/out"), photos, features)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        opening._opened.cache_clear()
        with pytest.raises(OutputError, match="no credentials for it were given"):
            do_part(plan, 0, features)

    def test_a_source_that_loses_a_file_between_plan_and_part_is_refused(
        self, bucket: Bucket, photos: str, features: FeatureModel
    ) -> None:
        plan = planned(open_place(f"{bucket.url}/out"), photos, features)
        bucket.remove("photos/01.png")
        with pytest.raises(SourceError, match="gives other images than when it was planned"):
            do_part(plan, 0, features)

    def test_a_file_that_vanishes_while_a_part_is_made_is_a_failure(
        self, bucket: Bucket, photos: str, features: FeatureModel
    ) -> None:
        plan = planned(open_place(f"{bucket.url}/out"), photos, features)

        def vanishing() -> Iterable[object]:
            for item in images(photos):
                if item.id.endswith("02.png"):
                    bucket.remove("photos/02.png")
                yield item

        maker = PartMaker(plan, features, reopen=vanishing)  # type: ignore[arg-type]
        (part,) = plan.planned(0, 1)
        outcome = maker.make(part)
        assert (outcome.images, [one["id"] for one in outcome.failed]) == (3, [f"{photos}/02.png"])
        assert "it was there when it was listed, and is gone" in outcome.failed[0]["error"]
