"""Archives that are damaged, hostile or out of reach: one message, nothing left behind."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from ckconv.errors import UsageError
from datasets.files import download
from datasets.files.download import Remote, locked, obtain, read_file, unpack_tar, unpack_zip


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def get(root: Path, archive: Path | str, digest: str = "", unpack=unpack_tar) -> Path:
    url = archive.as_uri() if isinstance(archive, Path) else archive
    folder = root / "data" / "things"
    remote = Remote(url.rpartition("/")[2], (url,), digest)
    obtain(
        "Things",
        folder,
        ["a.txt"],
        [remote],
        lambda archives, into: unpack(archives[0], into, lambda path: path.suffix == ".txt"),
    )
    return folder


@pytest.mark.parametrize("make, unpack", [(tar_of, unpack_tar), (zip_of, unpack_zip)])
def test_wanted_files_are_fetched_and_the_archive_is_not_kept(tmp_path, make, unpack):
    archive = make(tmp_path / "remote/things.x", {"a.txt": b"A", "b/c.txt": b"C", "d.bin": b"D"})
    digest = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
    folder = get(tmp_path, archive, digest, unpack)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"a.txt", "b/c.txt"} and (folder / "b/c.txt").read_bytes() == b"C"
    assert [path.name for path in folder.parent.iterdir()] == ["things"]
    archive.unlink()
    get(tmp_path, archive, digest, unpack)  # what is there is not fetched again


def test_an_archive_placed_by_hand_is_used_and_kept(tmp_path):
    archive = tar_of(tmp_path / "data/things.tar.gz", {"a.txt": b"A"})
    digest = "md5:" + hashlib.md5(archive.read_bytes()).hexdigest()
    folder = get(tmp_path, "http://nowhere.invalid/things.tar.gz", digest)
    assert (folder / "a.txt").read_bytes() == b"A" and archive.exists()


def test_an_archive_placed_by_hand_that_is_another_is_named(tmp_path):
    archive = tar_of(tmp_path / "data/things.tar.gz", {"a.txt": b"A"})
    with pytest.raises(UsageError, match="data/things.tar.gz is damaged.*md5:0123"):
        get(tmp_path, "http://nowhere.invalid/things.tar.gz", "md5:0123")
    assert archive.exists() and not (tmp_path / "data/things").exists()


def test_without_network_both_ways_are_named(tmp_path):
    with pytest.raises(UsageError) as caught:
        get(tmp_path, "https://nowhere.invalid/things.tar.gz")
    message = str(caught.value)
    assert str(tmp_path / "data" / "things") in message and "network" in message
    assert "put a.txt there yourself" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../out.txt", "b/../../out.txt", "../out.bin"])
@pytest.mark.parametrize("make, unpack", [(tar_of, unpack_tar), (zip_of, unpack_zip)])
def test_a_path_that_climbs_out_is_refused(tmp_path, name, make, unpack):
    archive = make(tmp_path / "remote/things.x", {"a.txt": b"A", name: b"!"})
    with pytest.raises(UsageError, match="things.x was refused.*out"):
        get(tmp_path, archive, unpack=unpack)
    assert [path.name for path in tmp_path.iterdir()] == ["remote"]


def test_a_link_that_leads_out_is_refused(tmp_path):
    archive = tmp_path / "remote/things.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("a.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../etc/passwd"
        tar.addfile(link)
    with pytest.raises(UsageError, match="refused"):
        get(tmp_path, archive)
    assert [path.name for path in tmp_path.iterdir()] == ["remote"]


@pytest.mark.parametrize("keep", [0, 10, -30])
@pytest.mark.parametrize("make, unpack", [(tar_of, unpack_tar), (zip_of, unpack_zip)])
def test_a_truncated_archive_leaves_nothing_behind(tmp_path, keep, make, unpack):
    content = bytes(range(256)) * 40
    archive = make(tmp_path / "remote/things.x", {"a.txt": content, "b.txt": content})
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(UsageError, match="things.x is damaged"):
        get(tmp_path, archive, unpack=unpack)
    assert [path.name for path in tmp_path.iterdir()] == ["remote"]


def test_changed_bytes_inside_a_zip_are_noticed(tmp_path):
    archive = zip_of(tmp_path / "remote/things.zip", {"a.txt": b"A" * 100})
    archive.write_bytes(archive.read_bytes().replace(b"A" * 100, b"A" * 50 + b"B" * 50))
    with pytest.raises(UsageError, match="things.zip is damaged.*CRC"):
        get(tmp_path, archive, unpack=unpack_zip)


def test_an_archive_of_something_else_is_refused(tmp_path):
    archive = tar_of(tmp_path / "remote/things.tar.gz", {"other.txt": b"A"})
    with pytest.raises(UsageError, match="does not hold Things: no a.txt"):
        get(tmp_path, archive)
    assert [path.name for path in tmp_path.iterdir()] == ["remote"]


@pytest.mark.parametrize("is_there", [False, True])
def test_what_a_kill_while_unpacking_left_is_removed(tmp_path, is_there):
    archive = tar_of(tmp_path / "remote/things.x", {"a.txt": b"A"})
    data = tmp_path / "data"
    (data / ".new-0a1b" / "things").mkdir(parents=True)
    (data / ".new-0a1b" / "things" / "half.txt").write_text("half")
    if is_there:
        (data / "things").mkdir()
    get(tmp_path, archive)
    assert [path.name for path in data.iterdir()] == ["things"]


def test_what_another_process_unpacks_stays(tmp_path):
    (tmp_path / "data/things").mkdir(parents=True)
    (tmp_path / "data/.new-0a1b").mkdir()
    with locked(tmp_path / "data") as is_locked:
        assert is_locked
        get(tmp_path, tmp_path / "none")
    assert (tmp_path / "data/.new-0a1b").exists()


def test_a_bad_file_in_an_archive_is_named_by_the_archive(tmp_path):
    """Not by the folder that it was unpacked in, which is gone."""
    archive = tar_of(tmp_path / "remote/things.x", {"a.txt": b"A"})

    def unpack(path, into, wanted):
        unpack_tar(path, into, wanted)
        raise UsageError(f"{into / 'a.txt'}, line 1: is wrong; {into} is removed")

    with pytest.raises(UsageError) as caught:
        get(tmp_path, archive, unpack=unpack)
    assert str(caught.value) == "things.x: a.txt, line 1: is wrong; it is removed"


def test_without_a_digest_nothing_comes_by_plain_http(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="things.x: a mirror by plain http needs a digest"):
        Remote("things.x", ("https://nowhere.invalid/things.x", "http://nowhere.invalid/things.x"))
    Remote("things.x", ("http://nowhere.invalid/things.x",), "md5:0123")

    class Answer(io.BytesIO):
        url, headers = "http://nowhere.invalid/things.x", {}

    monkeypatch.setattr(download, "urlopen", lambda *_, **__: Answer(b"A"))
    with pytest.raises(UsageError, match="it leads to http://nowhere.invalid.*not encrypted"):
        get(tmp_path, "https://nowhere.invalid/things.x")


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.txt").write_text("mine")
    with pytest.raises(UsageError):
        get(tmp_path, "https://nowhere.invalid/things.tar.gz")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine.txt"]


def test_a_root_that_is_a_file_is_named(tmp_path):
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(UsageError, match="Things could not be written to .*things"):
        get(tmp_path, "https://nowhere.invalid/things.tar.gz")


def test_reading_a_folder_as_a_file_names_it(tmp_path):
    with pytest.raises(UsageError, match=tmp_path.name):
        read_file(tmp_path)
