"""Images in zip and tar archives, read where they lie: nothing is unpacked to disk.

A member called `../../etc/passwd` is only a name here, never a path.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, lru_cache, partial
from pathlib import Path
from tarfile import EmptyHeaderError, ReadError, TruncatedHeaderError  # type: ignore[attr-defined]
from typing import Self

from feature_extraction import items
from feature_extraction.items import (
    ImageItem,
    Tally,
    failing_item,
    held_item,
    is_entered,
    is_image,
    printable,
    too_large,
)
from feature_extraction.stores.objects import StoredFile
from models.errors import ImageError, SourceError

AnyFile = Path | StoredFile
Entry = tuple[tuple[str, ...], ImageItem]  # the parts of the path below the source, and the image

_REMEMBERED = 10_000  # folders of an archive
# Of a zip archive's member (APPNOTE.TXT 6.3.10, 4.3.7 and 4.4.4): two flags, and what stands before its name, with the
# lengths of name and extra field at the end.
_ENCRYPTED, _IN_UTF8 = 1, 0x800
_SIGNATURE, _LOCAL_HEADER = b"PK\3\4", struct.Struct("<4s5H3I2H")
_LONGEST_NAMES = 2 * 0xFFFF
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Whether a path is a zip archive, by its name."""
    return is_zip_name(path.name) and os.path.isfile(path)


def is_zip_name(name: str) -> bool:
    """Whether a file of this name would be a zip archive."""
    return name.lower().endswith(".zip")


def is_tar(path: Path) -> bool:
    """Whether a path is a tar archive, compressed or not, by its name."""
    return is_tar_name(path.name) and os.path.isfile(path)


def is_tar_name(name: str) -> bool:
    """Whether a file of this name would be a tar archive."""
    return name.lower().endswith(_TAR_SUFFIXES)


def opened_zip(path: AnyFile) -> zipfile.ZipFile:
    """A zip archive whose directory has been read; its members have not.

    Raises:
        SourceError: not a zip archive; its cause says why.
    """
    try:
        return zipfile.ZipFile(path if isinstance(path, Path) else path.open("rb"))
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as exc:
        raise SourceError(
            f"{path}: not a zip archive that can be read ({exc}). Copy or download it again."
        ) from exc


def zip_members(path: AnyFile, tally: Tally, folders: list[tuple[str, ...]] | None = None) -> Iterator[Entry]:
    """Images in a zip archive, in the order of their names; the folders in it go to `folders`.

    Raises:
        SourceError: not a zip archive.
    """
    with opened_zip(path) as archive:
        members = sorted(archive.infolist(), key=lambda info: info.filename)
        # Where the next thing begins behind each member.
        begins = sorted([*(info.header_offset for info in members), archive.start_dir])
    entered = cache(partial(is_entered, tally=tally))
    for info in members:
        parts = _parts(info.filename)
        if not parts:  # and of an empty name zipfile cannot say whether it is a folder
            continue
        inside = parts if info.is_dir() else parts[:-1]
        if not entered(inside):
            continue
        if info.is_dir():
            if folders is not None:
                folders.append(parts)
        elif is_image(parts[-1], tally):
            name = printable(f"{path}/{'/'.join(parts)}")
            behind = bisect_right(begins, info.header_offset)
            end = begins[min(behind, len(begins) - 1)]
            yield parts, ImageItem(name, partial(_read_zip_member, path, name, info, end))


def tar_members(
    path: AnyFile, tally: Tally, folders: list[tuple[str, ...]] | None = None, shown: AnyFile | None = None
) -> Iterator[Entry]:
    """Images in a tar archive, in the order in which they lie there; a WebDataset's other files are passed over.

    The folders in it go to `folders`; `shown` is how the images are called, if not after `path`. Members of a plain
    archive on a disk are read when they are asked for, in any thread; those of a compressed one can only be read in
    passing, and those of one in a store come sooner so. An archive that ends too early gives the images before the
    break and one failure.

    Raises:
        SourceError: not a tar archive.
    """
    seekable = path.name.lower().endswith(".tar") and isinstance(path, Path)
    try:
        if isinstance(path, Path):
            archive = tarfile.open(path, "r:" if seekable else "r|*", tarinfo=_Member)  # noqa: SIM115 (closed below)
        else:
            archive = tarfile.open(fileobj=path.open("rb", whole=True), mode="r|*", tarinfo=_Member)  # noqa: SIM115
    except (OSError, EOFError, tarfile.TarError) as exc:
        raise SourceError(
            f"{path}: not a tar archive that can be read ({exc}). Copy or download it again."
        ) from exc
    entered = lru_cache(_REMEMBERED)(partial(is_entered, tally=tally))
    with archive:
        while True:
            try:
                info = archive.next()
                if info is None:
                    break
                parts = _parts(info.name)
                if info.isdir() and parts and folders is not None and entered(parts):
                    folders.append(parts)
                if info.isfile() and parts and entered(parts[:-1]) and is_image(parts[-1], tally):
                    name = printable(f"{shown or path}/{'/'.join(parts)}")
                    yield parts, _seekable(path, name, info) if seekable else _passing(archive, name, info)
            except (OSError, EOFError, tarfile.TarError) as exc:
                yield (), _broken(shown or path, exc)
                return
            archive.members.clear()  # type: ignore[attr-defined]  # a million of them would fill the memory


class _Member(tarfile.TarInfo):
    """Tells the end of an archive, a block of zeros, from a break: tarfile takes both for the end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:  # the parameter is called so in the base class
        try:
            return super().fromtarfile(tarfile)
        except (EmptyHeaderError, TruncatedHeaderError) as exc:
            raise ReadError("unexpected end of data") from exc


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _broken(path: AnyFile, exc: Exception) -> ImageItem:
    reason = ImageError(
        f"{printable(str(path))}: the archive breaks off or is damaged ({exc}). Copy or download it again."
    )
    return failing_item(printable(str(path)), reason)


def _seekable(path: AnyFile, name: str, info: tarfile.TarInfo) -> ImageItem:
    return ImageItem(name, partial(read_tar_member, path, name, info.offset_data, info.size))


def _passing(archive: tarfile.TarFile, name: str, info: tarfile.TarInfo) -> ImageItem:
    if info.size > items.MAX_BYTES:
        return failing_item(name, ImageError(too_large(name)))
    stream = archive.extractfile(info)
    assert stream is not None  # it is a regular file
    return held_item(name, stream.read())


def read_tar_member(path: AnyFile, name: str, offset: int, size: int) -> bytes:
    """The bytes of a member that lie at this place of an archive that is not compressed.

    Raises:
        ImageError: too large for an image, not readable, or the archive ends before.
    """
    if size > items.MAX_BYTES:
        raise ImageError(too_large(name))
    return _read_range(path, name, offset, size)


def _read_zip_member(path: AnyFile, name: str, info: zipfile.ZipInfo, end: int) -> bytes:
    """A member, whose header and packed bytes stand before `end`."""
    # zipfile unpacks no more than a member declares.
    if max(info.file_size, info.compress_size) > items.MAX_BYTES:
        raise ImageError(too_large(name))
    most = _LOCAL_HEADER.size + _LONGEST_NAMES + info.compress_size
    data = _read_range(path, name, info.header_offset, min(most, max(0, end - info.header_offset)))
    try:
        with zipfile.ZipExtFile(io.BytesIO(_packed(data, info)), "r", info) as member:
            return member.read()
    except Exception as exc:  # a wrong checksum, an unknown method: all different
        raise ImageError(f"{name}: cannot be unpacked ({exc}). Make the archive again.") from exc


def _packed(data: bytes, info: zipfile.ZipInfo) -> bytes:
    """What lies behind the header of a member, which has to be the one that the archive's directory has."""
    if info.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile("it has a password")
    signature, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(data)
    begin = _LOCAL_HEADER.size + name_length
    coding = "utf-8" if info.flag_bits & _IN_UTF8 else "cp437"
    if signature != _SIGNATURE or data[_LOCAL_HEADER.size : begin].decode(coding) != info.orig_filename:
        raise zipfile.BadZipFile("its header is not that of the archive's directory")
    packed = data[begin + extra_length :][: info.compress_size]
    if len(packed) < info.compress_size:
        raise zipfile.BadZipFile("it lies over what comes behind it")
    return packed


def _read_range(path: AnyFile, name: str, begin: int, size: int) -> bytes:
    """So many bytes of an archive, whichever process asks: no file is held open for it.

    Raises:
        ImageError: they cannot be read, or the archive ends before.
    """
    try:
        if isinstance(path, Path):
            with path.open("rb") as stream:
                stream.seek(begin)
                data = stream.read(size)
        else:
            data = path.read_range(begin, size)
    except OSError as exc:
        raise ImageError(f"{name}: cannot be read ({exc.strerror}). Check the archive.") from exc
    if len(data) < size:
        raise ImageError(f"{name}: the archive breaks off in it. Copy or download the archive again.")
    return data
