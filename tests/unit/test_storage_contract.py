"""What every store promises; each backend's tests inherit `StoreContract` and give it a `store` fixture."""

from __future__ import annotations

import multiprocessing
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dreamjobs.errors import InputError, NotFoundError
from dreamjobs.storage import Store, open_store

REFUSED = ["", "/a", "a/", "a//b", "..", "../a", "a/../b", ".", "a/./b", "a\0b", ".dreamjobs-tmp", "a/.dreamjobs-tmp/b"]
ODD = [
    "a b.png",
    " leading and trailing ",
    "100%2Fdone%20.png",
    "a#b?c=d&e+f.png",
    "Übergrößenträger/猫/🐈.png",
    "u\u0308 decomposed.png",
    "quote'\"<>|*:;\\back.png",
    "...",
    "~",
    "tab\t.png",
    "n" * 200 + "/" + "m" * 200,
]


def claim(store: Store, key: str, who: int) -> bool:
    return store.put_if_absent(key, str(who).encode())


def keys(store: Store, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


class StoreContract:
    many = 200

    def test_an_object_comes_back_as_it_was_put(self, store: Store) -> None:
        """get returns the bytes of put, all 256 values and none at all."""
        for data in (bytes(range(256)) * 5, b""):
            store.put("a/b.bin", data)
            assert store.get("a/b.bin") == data

    def test_a_put_replaces(self, store: Store) -> None:
        """The second put of a key wins, and the version tells the two apart."""
        store.put("a", b"first")
        before = store.info("a")
        store.put("a", b"second")
        after = store.info("a")
        assert store.get("a") == b"second"
        assert before is not None
        assert after is not None
        assert before.version != after.version

    def test_info_tells_size_version_and_time(self, store: Store) -> None:
        """info knows size and time of an object without reading it, and list says the same."""
        store.put("a/b", b"12345")
        info = store.info("a/b")
        assert info is not None
        assert (info.key, info.size_bytes) == ("a/b", 5)
        assert info.version.partition(":")[0] in {"etag", "mtime"}
        assert abs(info.modified_s - time.time()) < 60
        (listed,) = store.list()
        assert (listed.size_bytes, listed.version) == (5, info.version)

    def test_what_is_missing_is_said_to_be(self, store: Store) -> None:
        """A key that is not there has no info, does not exist, and get names it."""
        store.put("a/b", b"")
        for key in ("none", "a", "a/b/c"):
            assert store.info(key) is None
            assert not store.exists(key)
            with pytest.raises(NotFoundError, match=key):
                store.get(key)
            with pytest.raises(NotFoundError, match=key):
                store.get_range(key, 0, 1)
        assert store.exists("a/b")

    @pytest.mark.parametrize(
        ("start", "length", "expected"), [(0, 4, b"0123"), (3, 4, b"3456"), (8, 9, b"89"), (10, 1, b""), (99, 9, b"")]
    )
    def test_a_range_ends_with_the_object(self, store: Store, start: int, length: int, expected: bytes) -> None:
        """get_range returns what there is of the bytes asked for."""
        store.put("digits", b"0123456789")
        assert store.get_range("digits", start, length) == expected

    def test_a_range_of_nothing_is_nothing(self, store: Store) -> None:
        """An empty object has no bytes in any range."""
        store.put("empty", b"")
        assert store.get_range("empty", 0, 100) == b""

    @pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, 0), (0, -1)])
    def test_an_impossible_range_is_refused(self, store: Store, start: int, length: int) -> None:
        """A negative start and an empty range are the caller's mistake."""
        with pytest.raises(InputError, match="at least"):
            store.get_range("a", start, length)

    @pytest.mark.parametrize("key", ODD)
    def test_odd_keys_are_plain_characters(self, store: Store, key: str) -> None:
        """No character of a key is decoded, escaped or normalised on its way there and back."""
        store.put(key, key.encode())
        assert store.get(key) == key.encode()
        assert keys(store) == [key]
        store.delete(key)
        assert keys(store) == []

    @pytest.mark.parametrize("key", REFUSED)
    def test_keys_that_may_leave_the_store_are_refused(self, store: Store, key: str) -> None:
        """Nothing is ever written or removed under a key that is not plain and relative."""
        for write in (store.put, store.put_if_absent):
            with pytest.raises(InputError, match="not allowed"):
                write(key, b"data")
        with pytest.raises(InputError, match="not allowed"):
            store.delete(key)
        assert keys(store) == []

    def test_list_is_recursive_and_in_order(self, store: Store) -> None:
        """list gives every key once, in the order of the keys' characters."""
        names = ["b.png", "b/1", "b/10", "b/2", "b/c/d", "b-", "a", "B", "é", "z/z"]
        for name in names:
            store.put(name, b"")
        assert keys(store) == sorted(names)

    def test_list_takes_a_prefix_not_a_folder(self, store: Store) -> None:
        """A prefix may end within a name; with a slash at its end it means the folder."""
        for name in ("a.png", "a/b.png", "a/bc/d", "ab/c", "c"):
            store.put(name, b"")
        assert keys(store, "a") == ["a.png", "a/b.png", "a/bc/d", "ab/c"]
        assert keys(store, "a/") == ["a/b.png", "a/bc/d"]
        assert keys(store, "a/b") == ["a/b.png", "a/bc/d"]
        assert keys(store, "a/bc/") == ["a/bc/d"]
        assert keys(store, "none/") == keys(store, "x") == []

    def test_a_long_list_is_complete(self, store: Store) -> None:
        """list goes on beyond what the store tells at once."""
        names = [f"n/{i:05d}" for i in range(self.many)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: store.put(name, b"x"), names))
        assert keys(store) == names

    def test_only_the_first_creates(self, store: Store) -> None:
        """put_if_absent writes once, says so, and leaves what is there alone."""
        assert store.put_if_absent("a/b", b"first") is True
        assert store.put_if_absent("a/b", b"second") is False
        assert store.get("a/b") == b"first"
        store.put("c", b"by put")
        assert store.put_if_absent("c", b"late") is False
        assert keys(store) == ["a/b", "c"]

    def test_one_of_many_threads_creates(self, store: Store) -> None:
        """Of 16 threads that create the same key at once one wins, and its bytes are there."""
        for key in ("a", "b", "c/d", "c/e", "f"):
            with ThreadPoolExecutor(16) as pool:
                won = list(pool.map(partial(claim, store, key), range(16)))
            assert won.count(True) == 1
            assert store.get(key) == str(won.index(True)).encode()

    def test_one_of_many_processes_creates(self, store: Store) -> None:
        """Of three processes that create the same 20 keys at once, each key has one winner."""
        jobs = [(store, f"key/{i}", who) for i in range(20) for who in range(3)]
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            won = pool.starmap(claim, jobs, chunksize=1)
        assert won.count(True) == 20
        for (_, key, who), mine in zip(jobs, won, strict=True):
            assert (store.get(key) == str(who).encode()) == mine

    def test_a_finished_file_is_stored(self, store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
        """put_file stores the whole of a local file and leaves that file alone."""
        path = tmp_path_factory.mktemp("source") / "big # file.bin"
        data = bytes(range(256)) * 4096 * 18  # 18 MiB: several parts on S3
        path.write_bytes(data)
        store.put_file("parts/big.bin", str(path))
        assert store.get("parts/big.bin") == data
        assert path.read_bytes() == data
        assert keys(store) == ["parts/big.bin"]

    def test_a_file_that_is_not_there_is_not_stored(self, store: Store, tmp_path: object) -> None:
        """put_file names the local file that it did not find."""
        with pytest.raises(NotFoundError, match=r"none\.bin"):
            store.put_file("a", f"{tmp_path}/none.bin")
        assert keys(store) == []

    def test_delete_removes_and_may_be_repeated(self, store: Store) -> None:
        """delete takes one object away; one that is not there is no error."""
        store.put("a/b", b"")
        store.put("a/c", b"")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("a/c/d")
        assert keys(store) == ["a/c"]

    def test_a_store_pickles(self, store: Store) -> None:
        """A store that was used travels to another process and is the same store there."""
        store.put("a", b"x")
        copy = pickle.loads(pickle.dumps(store))
        assert copy == store
        assert copy.get("a") == b"x"

    def test_its_url_opens_it(self, store: Store) -> None:
        """open_store(store.url) is the same store."""
        assert open_store(store.url) == store

    def test_parquet_is_read_and_written(self, store: Store) -> None:
        """arrow() reaches the same objects as the store does, both ways."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({"n": [1, 2, 3], "name": ["a", "ü", "%20"]})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        store.put("odd %2F dir/in.parquet", sink.getvalue().to_pybytes())
        system, root = store.arrow()
        read = pq.read_table(f"{root}/odd %2F dir/in.parquet", filesystem=system)
        assert read.equals(table)
        pq.write_table(table, f"{root}/out.parquet", filesystem=system)
        assert pq.read_table(pa.BufferReader(store.get("out.parquet"))).equals(table)

    def test_sweep_leaves_what_is_whole(self, store: Store) -> None:
        """A sweep of everything takes no object."""
        store.put("a/b", b"x")
        assert store.sweep(0) == 0
        assert keys(store) == ["a/b"]
