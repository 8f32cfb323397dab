"""`RUN/run.json` and the copy of the manifest beside it: what a run was asked to do, enough to list its jobs again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from dreamjobs.errors import InputError, NotFoundError, RunError
from dreamjobs.jobs import ALGORITHM, Job, Keys, NamedFile
from dreamjobs.manifest import Expander, Known, Manifest, open_manifest
from dreamjobs.storage import Store, join_url, read_url


class RunRecord(BaseModel):
    """What a RUN was started with. `weights` maps `net|weights` to digests; `base` starts relative paths.

    `files` are those that parameters name.
    """

    model_config = ConfigDict(frozen=True)

    manifest: str
    manifest_digest: str
    base: str
    rows: int
    jobs: int
    overrides: dict[str, Any]
    trusted_nets: list[str]
    weights: dict[str, str]
    files: list[NamedFile] = []
    algorithm: int = ALGORITHM
    versions: dict[str, str]

    def differences(self, other: "RunRecord") -> list[str]:
        """What `other` asks differently, each in a few words; empty if it is the same run continued."""
        names = {
            "manifest_digest": "the manifest",
            "overrides": "the settings (--set)",
            "weights": "the weights",
            "files": "the files that parameters name",
            "algorithm": "the algorithm's version",
        }
        found = [words for name, words in names.items() if getattr(self, name) != getattr(other, name)]
        changed = [
            f"{name} {self.versions.get(name)} -> {version}"
            for name, version in other.versions.items()
            if self.versions.get(name) != version
        ]
        return found + changed


@dataclass(frozen=True)
class Shard:
    """Slice `index` of `count`, from 1: every `count`-th row of the manifest."""

    index: int = 1
    count: int = 1

    @property
    def name(self) -> str:
        return f"{self.index}-of-{self.count}"

    def holds(self, row: int) -> bool:
        """Whether the row of this number, from 1, is in the slice."""
        return (row - 1) % self.count == self.index - 1

    def before(self, row: int) -> int:
        """How many rows of the slice come before the one of this number."""
        return (row - self.index + self.count - 1) // self.count

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`I/N` with 1 <= I <= N."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise InputError(f"--shard {text!r}: I/N is needed with I from 1 to N, such as 2/8")
        return cls(int(index), int(count))


def planned(record: RunRecord, manifest: Manifest, shard: Shard | None = None) -> Iterator[Job]:
    """Every job that the record asks for, in order, made as they are taken."""
    made = expander(record)
    for row in manifest.read():
        if shard is None or shard.holds(row.number):
            yield from made.jobs(row)


def expander(record: RunRecord) -> Expander:
    """Makes the jobs of a manifest's rows as the record has them."""
    files = {file.name: file for file in record.files}

    def digest_of(net: str, weights: str) -> str:
        return record.weights[f"{net}|{weights}"]

    return Expander(record.base, record.overrides, Known(digest_of, files, frozenset(record.trusted_nets)))


def load_record(run: Store) -> RunRecord:
    """The record of a RUN.

    Raises:
        NotFoundError: if nothing was ever run there.
        RunError: if its record cannot be read.
    """
    try:
        return RunRecord.model_validate_json(run.get(Keys.RUN))
    except NotFoundError:
        raise NotFoundError(f"{run.url!r} holds no run: there is no {Keys.RUN}") from None
    except ValueError as error:
        raise RunError(f"{run.url}/{Keys.RUN} cannot be read: {error}") from None


def own_manifest(run: Store, record: RunRecord) -> Manifest:
    """The copy of the manifest that a RUN keeps, so that it can be told what is left from storage alone."""
    return open_manifest(join_url(run.url, Keys.MANIFEST), record.base)


def claim(run: Store, record: RunRecord, *, extend: bool) -> bool:
    """Make RUN this record's, or check that it already is; returns whether it was another's and is extended.

    Raises:
        RunError: naming what differs, if RUN was started with something else and `extend` is off.
    """
    text = record.model_dump_json(indent=2).encode()
    if run.put_if_absent(Keys.RUN, text):
        run.put(Keys.MANIFEST, read_url(record.manifest))
        return False
    before = load_record(run)
    differences = before.differences(record)
    if differences and not extend:
        raise RunError(
            f"{run.url!r} was started with something else: {'; '.join(differences)}. "
            "Give another RUN, or --extend to add to this one"
        )
    if differences or not run.exists(Keys.MANIFEST):
        run.put(Keys.MANIFEST, read_url(record.manifest))
        run.put(Keys.RUN, text)
    return bool(differences)
