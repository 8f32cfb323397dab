"""The local store: the contract, and what only a file system does."""

from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from unit.test_storage_contract import StoreContract, keys

from dreamjobs.errors import AccessError, InputError, NotFoundError, StorageError
from dreamjobs.storage import LocalStore
from dreamjobs.storage.faults import explained_os


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # what it is for, only a power cut would show; it takes 4 ms
    return LocalStore(str(tmp_path / "store"))


class TestLocalStore(StoreContract):
    pass


def all_files(store: LocalStore) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in Path(store.root).rglob("*") if path.is_file())


def put_and_die(store: LocalStore, method: str) -> None:
    os.fsync = lambda fd: None if stat.S_ISDIR(os.fstat(fd).st_mode) else os._exit(9)
    getattr(store, method)("a/b", b"half")


def test_a_name_too_long_is_explained(store: LocalStore) -> None:
    """A part of 300 characters is refused with its reason."""
    with pytest.raises(InputError, match="too long"):
        store.put("n" * 300 + ".png", b"")


def test_a_line_feed_is_a_character(store: LocalStore) -> None:
    """A name may contain whatever the file system allows, bytes that are no UTF-8 too."""
    for key in ("a\nb", os.fsdecode(b"latin-\xe9")):
        store.put(key, b"x")
        assert store.get(key) == b"x"
    assert keys(store) == ["a\nb", os.fsdecode(b"latin-\xe9")]


def test_the_longest_name_is_stored(store: LocalStore) -> None:
    """A name of 255 bytes fits, for the temporary file has a name of its own."""
    store.put("n" * 255, b"x")
    assert keys(store) == ["n" * 255]


def test_a_reader_never_sees_half_a_file(store: LocalStore) -> None:
    """While a writer swaps two contents, every read gives one of them whole."""
    contents = [bytes([n]) * (1 << 20) for n in range(2)]
    store.put("a", contents[0])
    done = threading.Event()

    def swap() -> None:
        for n in range(40):
            store.put("a", contents[n % 2])
        done.set()

    writer = threading.Thread(target=swap)
    writer.start()
    seen = set()
    while not done.is_set():
        data = store.get("a")
        seen.add((data[:1], len(data), data == data[:1] * len(data)))
    writer.join()
    assert seen <= {(b"\0", 1 << 20, True), (b"\1", 1 << 20, True)}


@pytest.mark.parametrize("method", ["put", "put_if_absent"])
def test_a_writer_that_dies_leaves_no_object(store: LocalStore, method: str) -> None:
    """A process killed while it writes leaves nothing a reader sees, and sweep removes the rest."""
    process = multiprocessing.get_context("fork").Process(target=put_and_die, args=(store, method))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert keys(store) == []
    assert not store.exists("a/b")
    assert [os.path.dirname(path) for path in all_files(store)] == [".dreamjobs-tmp"]
    assert store.sweep(3600) == 0
    assert store.sweep(-1) == 1
    assert all_files(store) == []
    assert not os.path.exists(f"{store.root}/.dreamjobs-tmp")


def test_writing_leaves_no_folder_of_its_own(store: LocalStore) -> None:
    """Where files were written nothing stands beside them afterwards, after a failure neither."""
    store.put("a", b"")
    store.put_if_absent("b", b"")
    store.put_file("c", __file__)
    with pytest.raises(InputError):
        store.put("n" * 300, b"")
    assert sorted(os.listdir(store.root)) == ["a", "b", "c"]


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    """A folder of photographs that is only read stays as it is."""
    (tmp_path / "a.png").write_bytes(b"x")
    store = LocalStore(str(tmp_path))
    assert (store.get("a.png"), keys(store), store.sweep(0)) == (b"x", ["a.png"], 0)
    assert os.listdir(tmp_path) == ["a.png"]


def test_writers_share_their_folder(store: LocalStore) -> None:
    """Writers that end take the empty folder from under nobody who begins."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: store.put(f"{number:04}", b"x"), range(2000)))
    assert len(keys(store)) == 2000
    assert not os.path.exists(f"{store.root}/.dreamjobs-tmp")


def test_what_another_store_writes_below_is_no_object(store: LocalStore) -> None:
    """A file that is being written in a store below this one is not listed, one of a like name is."""
    for folder in (".dreamjobs-tmp", "a/.dreamjobs-tmp", "a/.dreamjobs-tmp-b"):
        os.makedirs(f"{store.root}/{folder}")
        Path(store.root, folder, "half").write_bytes(b"")
    assert keys(store) == ["a/.dreamjobs-tmp-b/half"]


@pytest.mark.parametrize("method", ["put", "put_if_absent"])
def test_a_write_is_durable(store: LocalStore, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The content is synced before it gets its name, the name before the call returns, and new folders too."""
    synced: list[tuple[str, list[str]]] = []

    def note(fd: int) -> None:
        name = os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), store.root)
        synced.append(("temporary" if ".dreamjobs-tmp/" in name else name, keys(store)))

    monkeypatch.setattr(os, "fsync", note)
    getattr(store, method)("a/b", b"x")
    assert synced == [("..", []), (".", []), ("temporary", []), ("a", ["a/b"])]


def test_a_write_that_fails_leaves_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is said to be full, the old object stays, and no temporary file does."""
    store.put("a", b"old")

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="disk full"):
        store.put("a", b"new")
    assert store.get("a") == b"old"
    assert all_files(store) == ["a"]


def test_files_are_as_open_makes_them(store: LocalStore) -> None:
    """A stored file may be read by whom the umask lets, not by its owner alone."""
    mask = os.umask(0o022)
    try:
        store.put("a", b"")
        store.put_if_absent("b", b"")
    finally:
        os.umask(mask)
    assert {stat.S_IMODE(os.stat(f"{store.root}/{name}").st_mode) for name in "ab"} == {0o644}


def test_a_folder_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    """Reading a store that was never written makes no folder."""
    store = LocalStore(str(tmp_path / "none"))
    assert keys(store) == []
    assert store.sweep(0) == 0
    assert not (tmp_path / "none").exists()


def test_a_key_below_a_file_is_explained(store: LocalStore) -> None:
    """A file cannot hold another, and a folder cannot be one."""
    store.put("a/b", b"")
    with pytest.raises(InputError, match="is a file"):
        store.put("a/b/c", b"")
    with pytest.raises(InputError, match="is a folder"):
        store.put("a", b"")
    with pytest.raises(InputError, match="is a folder"):
        store.get("a")
    assert all_files(store) == ["a/b"]


def test_list_follows_links_but_not_in_circles(store: LocalStore, tmp_path: Path) -> None:
    """Linked files and folders are listed, a folder linked into itself once, broken links and pipes not at all."""
    store.put("a/b", b"1")
    other = LocalStore(str(tmp_path / "other"))
    other.put("c", b"2")
    root = Path(store.root)
    (root / "a/loop").symlink_to(root)
    (root / "broken").symlink_to(root / "none")
    (root / "linked").symlink_to(other.root)
    os.mkfifo(root / "pipe")
    assert keys(store) == ["a/b", "linked/c"]


def test_a_link_to_itself_is_nothing(store: LocalStore) -> None:
    """A link that leads back to itself is no object, and what stands beside it is listed all the same."""
    store.put("a/b", b"1")
    (Path(store.root) / "a/knot").symlink_to("knot")
    assert keys(store) == ["a/b"]
    assert store.info("a/knot") is None
    with pytest.raises(NotFoundError, match="leads back to itself"):
        store.get("a/knot")


def test_what_may_never_end_is_not_read(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, a socket and a device are refused at once and by name, reached by a link too."""
    os.makedirs(store.root)
    os.mkfifo(f"{store.root}/pipe")
    os.symlink("/dev/zero", f"{store.root}/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(store.root)  # the path of a socket may have 107 bytes
        listening.bind("socket")
        for key in ("pipe", "zero", "socket"):
            with pytest.raises(InputError, match=f"{key}' is no regular file"):
                store.get_range(key, 0, 1)
            with pytest.raises(InputError, match=f"{key}' is no regular file"):
                store.get(key)


def test_list_outside_the_store_is_refused(store: LocalStore) -> None:
    """A prefix can no more leave the folder than a key can."""
    for prefix in ("../", "/", "a/../../b"):
        with pytest.raises(InputError, match="not allowed"):
            keys(store, prefix)


def test_get_outside_the_store_is_refused(store: LocalStore, tmp_path: Path) -> None:
    """Reading stays in the folder as writing does."""
    (tmp_path / "secret").write_bytes(b"x")
    for key in ("../secret", str(tmp_path / "secret")):
        with pytest.raises(InputError, match="not allowed"):
            store.get(key)


@pytest.mark.parametrize(
    ("number", "expected", "words"),
    [
        (errno.ENOENT, NotFoundError, "does not exist"),
        (errno.EXDEV, InputError, "another file system"),
        (errno.EACCES, AccessError, "denied"),
        (errno.EPERM, AccessError, "denied"),
        (errno.EROFS, AccessError, "Read-only"),
        (errno.ENOSPC, StorageError, "disk full"),
        (errno.EDQUOT, StorageError, "disk full"),
        (errno.EIO, StorageError, "failed"),
        (errno.ESTALE, StorageError, "failed"),
    ],
)
def test_errors_of_the_system_become_ours(number: int, expected: type[Exception], words: str) -> None:
    """Each errno becomes the exception that says whether another attempt helps, and names the file."""
    with pytest.raises(expected, match=words) as caught, explained_os("/some/file"):
        raise OSError(number, os.strerror(number))
    assert "/some/file" in str(caught.value)


def test_a_file_system_without_links_is_named(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """put_if_absent on FAT says what is missing instead of writing unsafely."""

    def refuse(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(InputError, match="hard links"):
        store.put_if_absent("a", b"")
    assert all_files(store) == []


def test_importing_storage_loads_no_client() -> None:
    """The import is fast: boto3 and pyarrow come with their first use."""
    code = "import sys, dreamjobs.storage as s; print(sorted({'boto3', 'botocore', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
