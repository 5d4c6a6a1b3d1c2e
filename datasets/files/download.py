"""Fetch and unpack data sets: checked, into a scratch folder first, nothing left behind.

`_fetch` is what pooch would do. What is around it would stay: mirrors in turn, archives that a
person put beside the folder, a lock over fetching and unpacking, a folder that is there whole or
not at all.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.request import Request, urlopen

from tqdm import tqdm

from ckconv.errors import UsageError

TIMEOUT_S = 15  # without an answer, or without another byte
CHUNK = 1 << 20
Unpack = Callable[[Sequence[Path], Path], None]  # archives, into an empty folder
SCRATCH = ".new-"  # how folders are called in which archives are unpacked
DAMAGE = (  # what unpacking makes of a file that is not as it should be
    EOFError,
    RuntimeError,
    ValueError,
    gzip.BadGzipFile,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Remote:
    """A file on the network: its mirrors, and `digest` as `md5:...` or `sha256:...`, or empty.

    Without a digest nothing is fetched by plain HTTP, on whose way anyone can change it.
    """

    filename: str
    urls: tuple[str, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest and any(url.startswith("http:") for url in self.urls):
            raise ValueError(f"{self.filename}: a mirror by plain http needs a digest")


class DownloadError(Exception):
    """A file could not be had from any of its mirrors."""


def obtain(
    name: str,
    folder: Path,
    files: Sequence[str],
    remotes: Sequence[Remote],
    unpack: Unpack,
    by_hand: str = "",
) -> None:
    """Make `folder` with `files` if it does not exist, from archives beside it or the network.

    `unpack(archives, into)` fills the folder that `folder` becomes once it is complete; archives
    are looked for in the folder's parent and otherwise downloaded. Processes that share the disk
    wait for each other. Raises `UsageError` naming the folder and the two ways to get the data;
    `by_hand` adds to the second one.
    """
    if folder.is_dir():
        with locked(folder.parent, wait=False) as is_locked:
            _sweep(folder.parent, is_locked)
        return
    try:
        with _scratch(folder.parent) as scratch:
            if folder.is_dir():  # another process was faster
                return
            archives = [_archive(name, remote, folder.parent, scratch) for remote in remotes]
            into = scratch / folder.name
            into.mkdir()
            _unpack(unpack, archives, into)
            for file in files:
                if not (into / file).exists():
                    raise UsageError(f"{archives[0].name} does not hold {name}: no {file} is in it")
            os.replace(into, folder)
    except DownloadError as error:
        raise UsageError(
            f"{name} is not in {folder} and could not be downloaded ({error}): "
            "run once with a network connection, which downloads it, or put "
            f"{', '.join(files)} there yourself{by_hand}"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{name} could not be written to {folder}: {reason}") from error


def _unpack(unpack: Unpack, archives: Sequence[Path], into: Path) -> None:
    """Unpack archives; what is wrong with a file in them names it by its archive."""
    try:
        unpack(archives, into)
    except UsageError as error:
        if str(into) not in str(error):
            raise
        names = " and ".join(archive.name for archive in archives)
        told = str(error).replace(f"{into}/", "").replace(str(into), "it")
        raise UsageError(f"{names}: {told}") from error


def obtain_published(name: str, folder: Path, files: Sequence[str], by_hand: str = "") -> None:
    """`obtain` what torchvision fetches for the data set `name`: one tar archive of a folder."""
    if folder.is_dir():
        return
    import torchvision

    published = getattr(torchvision.datasets, name)

    def unpack(archives: Sequence[Path], into: Path) -> None:
        unpack_tar(archives[0], into.parent, lambda path: path.name in files)

    remote = Remote(published.filename, (published.url,), f"md5:{published.tgz_md5}")
    by_hand = f", or {published.filename} beside it{by_hand}"
    obtain(name, folder, files, [remote], unpack, by_hand)


def read_file(path: Path) -> bytes:
    """The content of a file, or of the same file with .gz after its name.

    Raises `UsageError` naming the file that is missing or cannot be read.
    """
    packed = path.with_name(path.name + ".gz")
    try:
        if not path.exists() and packed.exists():
            with gzip.open(packed) as file:
                return file.read()
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} is missing: put it there, or remove the folder {path.parent} "
            "to have it downloaded again"
        ) from error
    except (OSError, *DAMAGE) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def unpack_tar(archive: Path, into: Path, wanted: Callable[[PurePosixPath], bool]) -> None:
    """Extract the files of a tar archive, compressed or not, for which `wanted(path)` is true.

    Raises `UsageError` for a damaged archive and for one with a path that leads out of `into`,
    wanted or not.
    """
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                tarfile.data_filter(member, str(into))
                if member.isfile() and wanted(PurePosixPath(member.name)):
                    tar.extract(member, into, filter="data")
    except tarfile.FilterError as error:
        raise UsageError(f"{archive.name} was refused: {error}") from error
    except DAMAGE as error:
        raise _damaged(archive, error) from error


def unpack_zip(archive: Path, into: Path, wanted: Callable[[PurePosixPath], bool]) -> None:
    """The same as `unpack_tar` for a zip archive."""
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                path = PurePosixPath(member.filename)
                if path.is_absolute() or ".." in path.parts:
                    raise UsageError(f"{archive.name} was refused: {path} leads out of its folder")
                if not member.is_dir() and wanted(path):
                    file.extract(member, into)
    except UsageError:
        raise
    except DAMAGE as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> UsageError:
    return UsageError(
        f"{archive.name} is damaged ({error or type(error).__name__}): "
        "download it again, or put an intact copy in its place"
    )


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A folder in `parent`, held by one process at a time; afterwards all is as it was before.

    What a process that was killed has left of such a folder goes.
    """
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(parent) as is_locked:
            _sweep(parent, is_locked)
            with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=parent) as scratch:
                yield Path(scratch)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # it holds the data now
                folder.rmdir()


def _sweep(parent: Path, is_alone: bool) -> None:
    for left in parent.glob(f"{SCRATCH}*") if is_alone else ():
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Let one process at a time work in `folder`; whether this is the one.

    It may not be where the system or the disk has no such locks, or, not to `wait`, where another
    process has it. The folder itself is locked: filelock would leave a file among the data, and
    cannot lock where they may only be read.
    """
    with contextlib.ExitStack() as stack:
        is_locked = False
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            is_locked = True
        yield is_locked


def _archive(name: str, remote: Remote, beside: Path, scratch: Path) -> Path:
    """The archive that a person put into `beside`, else downloaded into `scratch`; checked."""
    by_hand = beside / remote.filename
    if by_hand.is_file():
        if not _matches(by_hand, remote.digest):
            raise UsageError(
                f"{by_hand} is damaged or of another version (it should have {remote.digest}): "
                "put an intact copy there, or remove it to have it downloaded"
            )
        return by_hand
    errors = []
    for url in remote.urls:
        print(f"{name}: downloading {url}", file=sys.stderr)
        try:
            return _fetch(url, scratch / remote.filename, remote.digest)
        except (OSError, HTTPException) as error:
            errors.append(f"{url}: {error}")
    raise DownloadError("; ".join(errors))


def _fetch(url: str, target: Path, digest: str) -> Path:
    request = Request(url, headers={"User-Agent": "flexconv"})
    with urlopen(request, timeout=TIMEOUT_S) as answer, target.open("wb") as file:
        if not digest and answer.url.startswith("http:"):
            raise OSError(f"it leads to {answer.url}, which is not encrypted")
        size = answer.headers.get("Content-Length")
        with tqdm(
            total=int(size) if size else None, unit="B", unit_scale=True, disable=None
        ) as bar:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if size and file.tell() != int(size):
            raise OSError(f"{file.tell()} of {size} bytes arrived")
    if not _matches(target, digest):
        raise OSError(f"what arrived does not have the digest {digest}")
    return target


def _matches(path: Path, digest: str) -> bool:
    if not digest:
        return True
    kind, expected = digest.split(":")
    found = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest() == expected


def unpack_gzip(archive: Path, target: Path) -> None:
    """Decompress one file. Raises `UsageError` where it is damaged."""
    try:
        with gzip.open(archive) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    except DAMAGE as error:
        raise _damaged(archive, error) from error
