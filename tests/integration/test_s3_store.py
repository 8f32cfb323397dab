"""The S3 store over real HTTP: the contract, and what only a server and a network do."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from integration.s3_server import Fault, broken_proxy, is_moto
from unit.test_storage_contract import StoreContract, keys

from dreamjobs.errors import AccessError, InputError, NotFoundError, RunError, StorageError
from dreamjobs.lease import acquire
from dreamjobs.storage import S3Store, open_store, read_url
from dreamjobs.storage import clients as clients_module
from dreamjobs.storage.clients import s3_client


@pytest.fixture
def store(s3_bucket_url: str) -> S3Store:
    store = open_store(f"{s3_bucket_url}/{uuid.uuid4().hex[:8]}/with space %2F")
    assert isinstance(store, S3Store)
    return store


@pytest.fixture
def real_server(s3_bucket_url: str) -> None:
    """Skip what moto does not imitate: signatures, times of uploads, line feeds in names."""
    if is_moto():
        pytest.skip("needs a real S3 server in AWS_ENDPOINT_URL")


class TestS3Store(StoreContract):
    many = 2500


class Faults:
    """Hands out faults from a script, then none; counts the requests it saw."""

    def __init__(self, *script: Fault, method: str = "") -> None:
        self.script = list(script)
        self.method = method
        self.seen: Counter[str] = Counter()

    def __call__(self, method: str) -> Fault:
        self.seen[method] += 1
        return self.script.pop(0) if self.script and self.method in {"", method} else None


@pytest.fixture
def through(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[str], Fault]], None]]:
    """A function that puts a proxy with the given faults between the store and its server."""
    opened = []

    def begin(choose: Callable[[str], Fault]) -> None:
        proxy = broken_proxy(choose)
        url = proxy.__enter__()
        opened.append(proxy)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)

    yield begin
    for proxy in opened:
        proxy.__exit__(None, None, None)


@pytest.mark.parametrize("fault", [503, "reset", "cut"])
def test_a_failed_read_is_repeated(store: S3Store, through: Callable[..., None], fault: Fault) -> None:
    """An overloaded server, a reset and an answer cut in its middle cost time, not bytes."""
    data = random.Random(0).randbytes(300_000)
    store.put("a", data)
    through(Faults(fault, method="GET"))
    assert store.get("a") == data
    assert store.get_range("a", 5, 7) == data[5:12]


@pytest.mark.parametrize("fault", [503, "reset", "lost"])
def test_a_failed_write_is_repeated(store: S3Store, through: Callable[..., None], fault: Fault) -> None:
    """A put whose request or answer got lost is sent again."""
    faults = Faults(fault, method="PUT")
    through(faults)
    store.put("a", b"data")
    assert store.get("a") == b"data"
    assert faults.seen["PUT"] == 2


def test_a_creation_whose_answer_was_lost_is_ours(store: S3Store, through: Callable[..., None]) -> None:
    """The repeat is told that the object exists; put_if_absent finds that it was its own."""
    faults = Faults("lost", method="PUT")
    through(faults)
    assert store.put_if_absent("a", b"mine") is True
    assert faults.seen["PUT"] == 2
    assert store.put_if_absent("a", b"mine") is False


def test_a_race_is_run_again(store: S3Store, through: Callable[..., None]) -> None:
    """409 says that another put was under way: it is tried again until it is decided."""
    through(Faults(409, 409, method="PUT"))
    assert store.put_if_absent("a", b"x") is True
    through(Faults(409, method="PUT"))
    assert store.put_if_absent("a", b"y") is False


def test_an_endless_race_is_an_error(
    store: S3Store, through: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is never free to be decided is worth another attempt of the job, later."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    through(lambda method: 409)
    with pytest.raises(StorageError, match="being written by others"):
        store.put_if_absent("a", b"x")


def test_one_request_in_twenty_may_fail(store: S3Store, through: Callable[..., None]) -> None:
    """With 5 % of the requests refused, reset, lost or cut, every operation still gives the right answer."""
    chance, lock = random.Random(7), threading.Lock()
    seen: Counter[Fault] = Counter()

    def choose(method: str) -> Fault:
        with lock:
            fault = chance.choice([503, "reset", "lost", "cut"]) if chance.random() < 0.05 else None
            seen[fault] += 1
        return fault

    def work(number: int) -> bool:
        key, data = f"n/{number:03d}", str(number).encode() * 1000
        created = store.put_if_absent(key, data)
        store.put(f"m/{number:03d}", data)
        info = store.info(key)
        return created and info is not None and info.size_bytes == len(data) and store.get(key) == data

    through(choose)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(120)))
    assert len(keys(store)) == 240
    assert set(seen) == {None, 503, "reset", "lost", "cut"}


def test_a_server_that_stays_down_is_a_storage_error(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody at the endpoint: an error that may be retried, which says where to look."""
    monkeypatch.setattr(clients_module, "RETRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL"):
        store.get("a")


def test_a_server_that_keeps_failing_is_a_storage_error(
    store: S3Store, through: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 after all retries: an error that may be retried, with the server's word."""
    monkeypatch.setattr(clients_module, "RETRIES", 1)
    through(lambda method: 503)
    with pytest.raises(StorageError, match="SlowDown"):
        store.put("a", b"")


def test_denied_is_said_and_not_retried(store: S3Store, through: Callable[..., None]) -> None:
    """403 is an AccessError on every operation, after one request each."""
    faults = Faults(*[403] * 100)
    through(faults)
    path = __file__
    for attempt in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.put_if_absent("a", b""),
        lambda: store.put_file("a", path),
        lambda: store.info("a"),
        lambda: list(store.list()),
        lambda: store.delete("a"),
        lambda: store.sweep(0),
    ):
        with pytest.raises(AccessError, match="denied"):
            attempt()
    assert faults.seen.total() == 8


def test_missing_credentials_are_explained(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any credentials the error lists the ways to have some, also for Parquet."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    for attempt in (lambda: store.get("a"), store.arrow):
        with pytest.raises(AccessError, match="AWS_ACCESS_KEY_ID"):
            attempt()


def test_a_profile_that_is_not_there_is_named(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong AWS_PROFILE is an AccessError with its name."""
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-this")
    with pytest.raises(AccessError, match="nobody-has-this"):
        store.get("a")


def test_a_bucket_that_does_not_exist_is_named(store: S3Store) -> None:
    """A wrong bucket is a NotFoundError that says which."""
    other = S3Store("dreamjobs-no-such-bucket-1")
    for attempt in (lambda: other.get("a"), lambda: other.put("a", b""), lambda: list(other.list())):
        with pytest.raises(NotFoundError, match="dreamjobs-no-such-bucket-1"):
            attempt()


def test_impossible_names_are_refused(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bucket names, keys and endpoints that cannot be are input errors."""
    with pytest.raises(InputError):
        S3Store("Not A Bucket").get("a")
    with pytest.raises(InputError, match="1024"):
        store.put("n" * 1025, b"")
    with pytest.raises(InputError):
        store.put("\ud800", b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost")
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL"):
        store.get("a")


def test_long_names_are_stored(store: S3Store) -> None:
    """A name of 300 characters, too long for a file, is a key like any other."""
    store.put("n" * 300 + ".png", b"x")
    assert store.get("n" * 300 + ".png") == b"x"
    assert keys(store) == ["n" * 300 + ".png"]


def test_a_name_and_names_below_it_are_apart(store: S3Store) -> None:
    """On S3 `a` and `a/b` may both be objects."""
    store.put("a", b"1")
    store.put("a/b", b"2")
    assert (store.get("a"), store.get("a/b"), keys(store)) == (b"1", b"2", ["a", "a/b"])


def test_foreign_names_are_listed_and_read(store: S3Store) -> None:
    """Empty parts, which photo archives contain, are read by key and by url; folder markers are left out."""
    for name in ("x//b.png", "x/", "x/./c.png"):
        s3_client().put_object(Bucket=store.bucket, Key=f"{store.prefix}/{name}", Body=b"x")
    assert keys(store) == ["x/./c.png", "x//b.png"]
    assert keys(store, "x//") == ["x//b.png"]
    for name in keys(store):
        assert store.get(name) == read_url(f"{store.url}/{name}") == b"x"


def test_the_whole_bucket_is_a_store(store: S3Store) -> None:
    """A store without a prefix has the same objects under their full names."""
    store.put("a", b"x")
    whole = S3Store(store.bucket)
    assert whole.get(f"{store.prefix}/a") == b"x"
    assert keys(whole, f"{store.prefix}/") == [f"{store.prefix}/a"]
    system, root = whole.arrow()
    with system.open_input_stream(f"{root}/{store.prefix}/a") as stream:
        assert stream.read() == b"x"


def test_a_neighbour_with_the_same_beginning_is_not_ours(store: S3Store) -> None:
    """The prefix `run` does not hold the objects of `run2`."""
    S3Store(store.bucket, store.prefix + "2").put("a", b"")
    assert keys(store) == []


def test_pages_are_shown_not_saved(store: S3Store) -> None:
    """A gallery's files have the type by which a browser shows them, however they were put."""
    store.put("index.html", b"<p>")
    store.put_if_absent("a.png", b"")
    store.put_file("b.JPG", __file__)
    types = [
        s3_client().head_object(Bucket=store.bucket, Key=f"{store.prefix}/{key}")["ContentType"]
        for key in ("index.html", "a.png", "b.JPG")
    ]
    assert types == ["text/html; charset=utf-8", "image/png", "image/jpeg"]


def test_unfinished_uploads_are_swept(store: S3Store) -> None:
    """Parts that a killed upload left are removed once they are old, those of another prefix never."""
    neighbour = S3Store(store.bucket, store.prefix + "2")
    for place in (store, neighbour):
        s3_client().create_multipart_upload(Bucket=place.bucket, Key=f"{place.prefix}/big")
    assert store.sweep(-60) == 1
    assert store.sweep(-60) == 0
    assert neighbour.sweep(-60) == 1


def test_young_uploads_are_left(real_server: None, store: S3Store) -> None:
    """An upload younger than asked for may still be written, and stays."""
    s3_client().create_multipart_upload(Bucket=store.bucket, Key=f"{store.prefix}/big")
    assert store.sweep(3600) == 0
    assert store.sweep(-60) == 1


def test_wrong_keys_are_denied(real_server: None, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that checks signatures and ids refuses ours with what to do."""
    store.put("a", b"x")
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "WRONG")
        for attempt in (lambda: store.get("a"), lambda: store.put("a", b""), lambda: store.info("a")):
            with pytest.raises(AccessError, match="denied"):
                attempt()


def test_control_characters_are_characters(real_server: None, store: S3Store) -> None:
    """A line feed and other characters that XML cannot hold come back in get and list."""
    for key in ("a\nb", "a\x01b"):
        store.put(key, b"x")
        assert store.get(key) == b"x"
    assert keys(store) == ["a\x01b", "a\nb"]


def test_a_profile_with_an_endpoint_is_enough(store: S3Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials, region and endpoint of AWS_PROFILE serve the store and Parquet alike."""
    store.put("a", b"x")
    (tmp_path / "config").write_text(
        f"[profile lab]\naws_access_key_id = {os.environ['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {os.environ['AWS_SECRET_ACCESS_KEY']}\n"
        f"region = us-east-1\nendpoint_url = {os.environ['AWS_ENDPOINT_URL']}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert store.get("a") == b"x"
    system, root = store.arrow()
    with system.open_input_stream(f"{root}/a") as stream:
        assert stream.read() == b"x"


def test_the_endpoint_of_s3_alone_is_honoured(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_ENDPOINT_URL_S3 goes before AWS_ENDPOINT_URL for the store and for Parquet."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store.put("a", b"x")
    system, root = store.arrow()
    with system.open_input_stream(f"{root}/a") as stream:
        assert stream.read() == b"x"


def read_in_child(store: S3Store) -> bytes:
    return store.get("a")


def test_a_fork_has_a_client_of_its_own(store: S3Store) -> None:
    """Forked processes do not share the parent's connections."""
    store.put("a", b"x" * 100_000)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        answers = pool.map_async(read_in_child, [store] * 60)
        for _ in range(20):
            assert store.get("a") == b"x" * 100_000
        assert answers.get(60) == [b"x" * 100_000] * 60


def test_threads_share_one_client(store: S3Store) -> None:
    """Later calls from any thread get the same client."""
    s3_client()
    with ThreadPoolExecutor(4) as pool:
        assert {id(client) for client in pool.map(lambda _: s3_client(), range(8))} == {id(s3_client())}


def test_a_lease_works_over_s3(store: S3Store) -> None:
    """Of 8 drivers that start at once one holds the lease, and after its release the next one does."""

    def attempt(_: int) -> object:
        try:
            return acquire(store, "run")
        except RunError:
            return None

    with ThreadPoolExecutor(8) as pool:
        held = [lease for lease in pool.map(attempt, range(8)) if lease]
    assert len(held) == 1
    held[0].release()
    with acquire(store, "run") as lease:
        assert lease.generation == 2
