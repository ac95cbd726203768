"""Images in an object store: an S3 server of this machine stands for all of them."""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feature_extraction import items
from feature_extraction.items import Tally
from feature_extraction.sources import image_count, images, images_from
from feature_extraction.stores import listing
from feature_extraction.web_images import WebImages
from models.errors import ImageError, SourceError
from tests import optional
from tests.feature_extraction.stores.conftest import Bucket
from tests.feature_extraction.stores.samples import GREEN, RED, contents, zipped

pytestmark = pytest.mark.stores


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


class TestFolders:
    def test_images_below_a_prefix_come_in_the_order_of_their_keys(self, bucket: Bucket) -> None:
        bucket.put_all({
            "photos/b/2.png": RED, "photos/b/10.png": GREEN, "photos/b-a/1.png": RED, "photos/a b+ü#?.png": GREEN,
            "photos/": b"", "photos/notes.txt": b"", "photos/.hidden/1.png": RED, "photos/__MACOSX/1.png": RED,
            "photos2/other.png": RED,
        })  # fmt: skip
        tally = Tally()
        root = f"{bucket.url}/photos"
        assert contents(root, tally) == {
            f"{root}/a b+ü#?.png": GREEN, f"{root}/b-a/1.png": RED, f"{root}/b/10.png": GREEN, f"{root}/b/2.png": RED,
        }  # fmt: skip
        assert tally.words() == "2 other files (1 folder .hidden, 1 .txt)"
        assert contents(f"{root}/") == contents(root)
        assert image_count(root) is None

    def test_more_files_than_fit_on_a_page(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listing, "_PAGE", 3)
        bucket.put_all({f"{i:02}.png": b"x" for i in range(10)})
        names = [item.id for item in images(bucket.url)]
        assert names == [f"{bucket.url}/{i:02}.png" for i in range(10)]
        rest = images_from(bucket.url, names[5])
        assert rest is not None
        assert [item.id for item in rest] == names[5:]

    def test_patterns(self, bucket: Bucket) -> None:
        bucket.put_all({"a/1.png": RED, "a/2.jpg": GREEN, "b/1.png": GREEN, "c.zip": zipped({"z.png": RED})})
        assert list(contents(f"{bucket.url}/*/1.png")) == [f"{bucket.url}/a/1.png", f"{bucket.url}/b/1.png"]
        assert list(contents(f"{bucket.url}/**/*.jpg")) == [f"{bucket.url}/a/2.jpg"]
        assert list(contents(f"{bucket.url}/*")) == [
            f"{bucket.url}/a/1.png", f"{bucket.url}/a/2.jpg", f"{bucket.url}/b/1.png", f"{bucket.url}/c.zip/z.png",
        ]  # fmt: skip

    def test_a_file_that_is_named_outright_is_an_image_whatever_its_name(self, bucket: Bucket) -> None:
        bucket.put_all({"photo[1]": RED})
        assert contents(f"{bucket.url}/photo[1]") == {f"{bucket.url}/photo[1]": RED}


class TestArchives:
    @pytest.mark.parametrize(("ending", "mode"), [("tar", "w"), ("tar.gz", "w:gz")])
    def test_numbered_tars_are_read_in_passing(self, bucket: Bucket, ending: str, mode: str) -> None:
        for number in (0, 1, 3):
            bucket.put_all(
                {f"s-{number}.{ending}": tarred({f"{number}.png": RED, f"{number}.cls": b"1"}, mode)}
            )
        shards = f"{bucket.url}/s-{{0..3}}.{ending}"
        assert contents(shards) == {
            f"{bucket.url}/s-0.{ending}/0.png": RED,
            f"{bucket.url}/s-1.{ending}/1.png": RED,
            f"{bucket.url}/s-2.{ending}": f"{bucket.url}/s-2.{ending}: no such file. Check the range.",
            f"{bucket.url}/s-3.{ending}/3.png": RED,
        }
        rest = images_from(shards, f"{bucket.url}/s-1.{ending}/1.png")
        assert rest is not None
        assert [item.id.rpartition("/")[2] for item in rest] == ["1.png", f"s-2.{ending}", "3.png"]

    def test_a_tar_that_breaks_off_is_one_failure(self, bucket: Bucket) -> None:
        bucket.put_all({"a.tar": tarred({"1.png": RED, "2.png": bytes(5000)})[:3000]})
        first, second = contents(f"{bucket.url}/a.tar").values()
        assert first == RED
        assert "breaks off or is damaged" in str(second)

    def test_members_of_a_zip_come_in_the_order_of_their_names(self, bucket: Bucket) -> None:
        bucket.put_all({"a.zip": zipped({"b.png": RED, "a/1.png": GREEN})})
        assert contents(f"{bucket.url}/a.zip") == {
            f"{bucket.url}/a.zip/a/1.png": GREEN, f"{bucket.url}/a.zip/b.png": RED,
        }  # fmt: skip

    def test_an_archive_that_is_replaced_is_not_mixed_with_the_one_before(self, bucket: Bucket) -> None:
        bucket.put_all({"a.zip": zipped({"1.png": RED, "2.png": RED})})
        first, second = images(f"{bucket.url}/a.zip")
        assert first.read() == RED
        bucket.put_all({"a.zip": zipped({"1.png": GREEN, "2.png": GREEN})})
        with pytest.raises(ImageError, match="it was changed meanwhile"):
            second.read()
        with ThreadPoolExecutor(1) as other, pytest.raises(ImageError, match="changed since it was listed"):
            other.submit(second.read).result()  # which has not opened it before

    def test_parquet(self, bucket: Bucket, tmp_path: Path) -> None:
        pyarrow, parquet = (optional.library(name, "parquet") for name in ("pyarrow", "pyarrow.parquet"))
        table = pyarrow.table({"image": [{"bytes": RED, "path": "r.png"}, {"bytes": GREEN, "path": None}]})
        parquet.write_table(table, tmp_path / "a.parquet", row_group_size=1)
        bucket.upload(tmp_path)
        url = f"{bucket.url}/a.parquet"
        assert contents(url) == {f"{url}/0/r.png": RED, f"{url}/1": GREEN}
        rest = images_from(url, f"{url}/1")
        assert rest is not None
        assert [item.id for item in rest] == [f"{url}/1"]


def test_lists_name_files_beside_them(bucket: Bucket) -> None:
    bucket.put_all({
        "lists/a.csv": b"path,id\nred.png,one\n../green.png,two\ngone.png,three\n"
        b"/etc/hostname,four\n../../x.png,five\n",
        "lists/red.png": RED, "green.png": GREEN,
    })  # fmt: skip
    assert contents(f"{bucket.url}/lists/a.csv") == {
        "one": RED,
        "two": GREEN,
        "three": f"{bucket.url}/lists/gone.png: cannot be read (there is no such object, or no such bucket). Check the "
        "address.",
        "four": "/etc/hostname: leads out of the store of its list; expected a path beside "
        f"{bucket.url}/lists/a.csv.",
        "five": f"../../x.png: leads out of the store of its list; expected a path beside {bucket.url}/lists/a.csv.",
    }


def test_a_list_here_names_files_of_a_store_that_is_allowed(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_all({"photos/red.png": RED})
    listed = tmp_path / "a.txt"
    listed.write_text(f"{bucket.url}/photos/red.png\ns3://another-bucket/red.png\n")
    (first, second) = images(str(listed), web=WebImages((f"{bucket.url}/photos/",)))
    assert (first.id, first.read()) == (f"{bucket.url}/photos/red.png", RED)
    with pytest.raises(ImageError, match="or a store with --allow-urls s3://BUCKET"):
        second.read()


class TestBadInput:
    def test_what_vanishes_or_changes_after_it_was_listed_is_a_failure(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket.put_all({"1.png": RED, "2.png": RED, "3.png": RED, "4.png": b"", "5.png": bytes(2001)})
        monkeypatch.setattr(items, "MAX_BYTES", 2000)
        gone, larger, smaller, empty, huge = images(bucket.url)
        bucket.remove("1.png")
        bucket.put_all({"2.png": RED + b"more", "3.png": RED[:-1]})
        with pytest.raises(ImageError, match=r"1\.png: it was there when it was listed, and is gone"):
            gone.read()
        for item in (larger, smaller):
            with pytest.raises(ImageError, match="it was changed since it was listed"):
                item.read()
        assert empty.read() == b""
        with pytest.raises(ImageError, match="no image is that large"):
            huge.read()

    @pytest.mark.parametrize("path", ["", "/photos", "/photo.png", "/s-{0..9}.tar", "/*.png"])
    def test_a_bucket_that_does_not_exist(self, bucket: Bucket, path: str) -> None:
        with pytest.raises(
            SourceError, match=r"s3://no-such-bucket.*(no such object, or no such bucket|no images)"
        ):
            list(images(f"s3://no-such-bucket{path}"))

    def test_a_bucket_that_refuses(self, bucket: Bucket, refusing: None) -> None:
        with pytest.raises(SourceError, match=r"the store refuses it: .*; see what your credentials allow"):
            list(images(bucket.url))

    def test_credentials_that_are_missing(
        self, bucket: Bucket, new_connections: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(
            SourceError, match=r"no credentials for it were given; give them .*AWS_ACCESS_KEY_ID"
        ):
            list(images(bucket.url))

    def test_a_folder_without_images(self, bucket: Bucket) -> None:
        bucket.put_all({"a/notes.txt": b""})
        with pytest.raises(SourceError, match=r"no images in it \(1 other file \(1 \.txt\)\)"):
            list(images(f"{bucket.url}/a"))

    def test_a_server_that_does_not_answer(
        self, s3_server: str, new_connections: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(SourceError, match=r"the store failed: .*127\.0\.0\.1:9"):
            list(images("s3://bucket/photos"))
