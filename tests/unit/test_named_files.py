"""Files that parameters name, masks and guides: where they are found, and that their content counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamjobs import images, ledger, results, worker
from dreamjobs.engine import Outlook, Progress, RunOptions, Watcher, run
from dreamjobs.errors import ImageError, InputError, ManifestError, NotFoundError, RunError, SourceChangedError
from dreamjobs.jobs import Job, NamedFile, Source, Summary, file_names
from dreamjobs.manifest import build
from dreamjobs.params import make_params
from dreamjobs.storage import LocalStore
from dreamjobs.worker import Library
from dreamjobs.worker.dreamer import reader

TINY: dict[str, Any] = {"net": "tiny", "octaves": 1, "steps": 1, "jitter": 0}
GUIDED = "guide(things, guide.png) + 0.5*style(edges, style.png)"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.chdir(tmp_path)


def picture(path: str, seed: int = 0, size: tuple[int, int] = (24, 20)) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def half_mask(path: str, *, white_on: str = "right") -> None:
    pixels = np.zeros((20, 24, 3), np.uint8)
    half = slice(12, None) if white_on == "right" else slice(0, 12)
    pixels[:, half] = 255
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    Image.fromarray(pixels).save(path)


def archive(manifest: str = "lists/m.parquet", count: int = 1, **mapping: Any) -> str:
    """A manifest of so many photographs, in a folder of its own."""
    for number in range(count):
        picture(f"photos/{number}.png", number)
    os.makedirs(os.path.dirname(manifest) or ".", exist_ok=True)
    build(["photos"], manifest, [TINY | {"objective": "things"} | mapping])
    return manifest


def go(manifest: str, url: str = "run", *, watcher: Watcher | None = None, **options: Any) -> Summary:
    return run(manifest, url, {}, RunOptions(inline=True, **options), watcher)


def rows_of(url: str = "run") -> list[dict[str, Any]]:
    return results.read(LocalStore(os.path.abspath(url))).to_pylist()


def pixels_of(row: dict[str, Any], url: str = "run") -> Any:
    return np.asarray(Image.open(f"{url}/{row['output']}"))


def test_names_are_each_given_once() -> None:
    """Mask and names of classes first, then what the objective names, and nothing twice; weights are no such file."""
    objective = f"{GUIDED} | guide(parts, guide.png)"
    given = {"objective": objective, "mask": "m.png", "labels": "names.txt"}
    assert file_names(make_params(given)) == ("m.png", "names.txt", "guide.png", "style.png")
    assert file_names(make_params({"objective": objective, "mask": "style.png"})) == ("style.png", "guide.png")
    assert file_names(make_params({"weights": "some/file.pth"})) == ()


def test_the_mask_is_obeyed() -> None:
    """Where the mask is black the picture stays as it was, where it is white it is dreamed."""
    half_mask("lists/mask.png")
    go(archive(mask="mask.png", format="png"))
    (row,) = rows_of()
    before, after = np.asarray(Image.open("photos/0.png")), pixels_of(row)
    assert np.array_equal(after[:, :12], before[:, :12])
    assert not np.array_equal(after[:, 12:], before[:, 12:])


def test_the_manifests_folder_comes_first() -> None:
    """A name that is in the manifest's folder and in the current one is the manifest's."""
    half_mask("lists/mask.png", white_on="left")
    half_mask("mask.png", white_on="right")
    go(archive(mask="mask.png"))
    (file,) = ledger.load_record(LocalStore(os.path.abspath("run"))).files
    assert (file.name, file.url) == ("mask.png", os.path.abspath("lists/mask.png"))


def test_the_current_folder_comes_second() -> None:
    """A name that the manifest's folder lacks is looked for in the current folder."""
    half_mask("mask.png")
    picture("guides/guide.png", 5)
    go(archive(mask="mask.png", objective="guide(things, guides/guide.png)"))
    files = ledger.load_record(LocalStore(os.path.abspath("run"))).files
    assert [file.name for file in files] == ["guides/guide.png", "mask.png"]
    assert [file.url for file in files] == [os.path.abspath("guides/guide.png"), os.path.abspath("mask.png")]
    assert rows_of()[0]["status"] == "done"


def test_a_missing_file_is_listed(tmp_path: Path) -> None:
    """Before anything starts every row whose files are not there is listed, with their names."""
    half_mask("lists/here.png")
    manifest = archive(mask=["here.png", "gone.png"], objective=["things", "guide(things, lost.png)"])
    with pytest.raises(ManifestError) as caught:
        go(manifest)
    lines = str(caught.value).splitlines()
    assert any("row 1: there is no file 'gone.png'" in line and "lists" in line for line in lines)
    assert any("row 1: there is no file 'lost.png'" in line for line in lines)
    assert not any("here.png" in line for line in lines)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mapping", [{"mask": "text.png"}, {"objective": "guide(things, text.png)"}])
def test_a_file_that_is_no_picture_is_listed(mapping: dict[str, Any]) -> None:
    """A mask or guide that cannot be decoded is a bad row, not a failed job."""
    os.mkdir("lists")
    Path("lists/text.png").write_text("no picture")
    with pytest.raises(ManifestError, match="row 1: "):
        go(archive(**mapping))


@pytest.mark.parametrize("name", ["http://a/b.png", "lists", "lists/", ""])
def test_a_name_of_no_file_is_listed(name: str) -> None:
    """A folder, an empty name or a url of another kind as a mask is a bad row, too."""
    os.mkdir("lists")
    with pytest.raises(InputError):
        run(archive(), "run", {"mask": name}, RunOptions(inline=True))
    assert not os.path.exists("run")


def test_labels_name_the_classes() -> None:
    """A file of names, found like a mask, says what `class:` means; what is not in it is a bad row."""
    os.mkdir("lists")
    Path("lists/names.txt").write_text("".join(f"thing {number}\n" for number in range(10)))
    go(archive(labels="names.txt", objective='class:"thing 7"'), "named")
    go(archive(objective="class:7"), "numbered")
    (named,), (numbered,) = rows_of("named"), rows_of("numbered")
    assert named["status"] == "done", named["error"]
    assert named["objective_curve"] == numbered["objective_curve"]
    with pytest.raises(ManifestError, match=r"row 1: .*knows no class 'thong_7'.*did you mean `thing 7`"):
        go(archive(labels="names.txt", objective="class:thong_7"), "other")


def test_a_file_changed_meanwhile_fails_the_job() -> None:
    """A mask that is replaced while the run goes on fails the jobs that are still to come, and says what to do."""
    half_mask("lists/mask.png")
    manifest = archive(count=3, mask="mask.png")

    def change(progress: Progress) -> None:
        if progress.done == 1:
            half_mask("lists/mask.png", white_on="left")

    summary = go(manifest, watcher=Watcher(on_progress=change))
    assert (summary.done, summary.failed) == (1, 2)
    failed = [row for row in rows_of() if row["status"] == "failed"]
    assert [row["error_type"] for row in failed] == ["SourceChangedError"] * 2
    assert all("mask.png' changed since the run began; run again with --extend" in row["error"] for row in failed)


def test_a_file_changed_before_the_first_job_fails_all() -> None:
    """What was checked is what is dreamed with: a guide replaced after the check is not taken."""
    picture("lists/guide.png", 5)

    def change(outlook: Outlook) -> None:
        picture("lists/guide.png", 6)

    manifest = archive(count=2, objective="guide(things, guide.png)")
    summary = go(manifest, watcher=Watcher(on_outlook=change))
    assert (summary.done, summary.failed) == (0, 2)
    assert {row["error_type"] for row in rows_of()} == {"SourceChangedError"}


def test_a_reader_knows_its_files_only() -> None:
    """What is read is the version that the job's id stands for; a changed one is an input error."""
    Path("a.bin").write_bytes(b"a")
    file = NamedFile(
        "name", os.path.abspath("a.bin"), "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    )
    assert reader([file])("name") == b"a"
    Path("a.bin").write_bytes(b"b")
    with pytest.raises(SourceChangedError, match=r"a\.bin' changed"):
        reader([file])("name")


def test_a_file_changed_between_runs_is_another_run() -> None:
    """Another mask of the same name is told among the differences; with --extend its jobs are new ones."""
    half_mask("lists/mask.png")
    manifest = archive(mask="mask.png")
    go(manifest)
    (before,) = rows_of()
    assert go(manifest).done_before == 1
    half_mask("lists/mask.png", white_on="left")
    with pytest.raises(RunError, match="started with something else: the files that parameters name"):
        go(manifest)
    summary = go(manifest, extend=True)
    assert (summary.done, summary.done_before) == (1, 0)
    found = rows_of()
    assert len({row["id"] for row in found}) == len({row["output"] for row in found}) == 2
    assert before["id"] in {row["id"] for row in found}


def job(*files: NamedFile, mask: str = "mask.png") -> Job:
    return Job(1, Source("a.png", "/a.png", 1, "etag:1"), make_params({"mask": mask}), "w", files=files)


def test_an_id_counts_content_not_place() -> None:
    """Where a file lies does not count; what it is called and what is in it do."""
    one = job(NamedFile("mask.png", "/here/mask.png", "aa"))
    assert job(NamedFile("mask.png", "s3://there/mask.png", "aa")).id == one.id
    assert job(NamedFile("mask.png", "/here/mask.png", "bb")).id != one.id
    assert job(NamedFile("m.png", "/here/mask.png", "aa"), mask="m.png").id != one.id


def test_names_are_looked_up_once() -> None:
    """A library reads a file at its first use and keeps what it found, in the order of names."""
    picture("b.png", 1)
    picture("a.png", 2)
    library = Library()
    params = make_params({"objective": "guide(things, b.png)", "mask": "a.png"})
    first = library.files(params, ".")
    assert [file.name for file in first] == ["a.png", "b.png"]
    os.remove("a.png")
    assert library.files(params, ".") == first
    assert [file.name for file in library.named_files()] == ["a.png", "b.png"]
    with pytest.raises(NotFoundError, match=r"no file 'a\.png' in the current folder"):
        Library().files(params, ".")


def made_with_files() -> str:
    """A picture of a run with a mask, a guide and a style, those in the manifest's folder; its path."""
    half_mask("lists/mask.png")
    picture("lists/guide.png", 5)
    picture("lists/style.png", 6)
    go(archive(mask="mask.png", objective=GUIDED))
    (row,) = rows_of()
    assert row["status"] == "done", row["error"]
    return os.path.abspath(f"run/{row['output']}")


def test_the_recipe_holds_the_files_digests() -> None:
    """A picture says which mask and guide it was made with by name and content, not where they lie."""
    data = Path(made_with_files()).read_bytes()
    files = ledger.load_record(LocalStore(os.path.abspath("run"))).files
    assert images.read_recipe(data)["files"] == {file.name: file.sha256 for file in files}
    assert os.getcwd().encode() not in data


def test_a_masked_and_guided_picture_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reproduce finds mask and guide where the picture's run found them, and gives the same bytes."""
    made = made_with_files()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = worker.reproduce_picture(made)
    assert found.same
    assert found.differences == ()


def test_another_mask_is_told() -> None:
    """With a mask that is no longer the same the picture is made, and the difference named."""
    made = made_with_files()
    half_mask("lists/mask.png", white_on="left")
    found = worker.reproduce_picture(made)
    assert not found.same
    assert any(difference.startswith("files mask.png: ") for difference in found.differences)


def test_a_lost_guide_is_named() -> None:
    """A picture whose guide is gone is not made without it."""
    made = made_with_files()
    os.remove("lists/guide.png")
    with pytest.raises(NotFoundError, match=r"no file 'guide\.png'"):
        worker.reproduce_picture(made)


def test_one_picture_takes_files_from_the_current_folder() -> None:
    """A single dream looks for its mask beside where it is asked for, and refuses one that is no picture."""
    picture("a.png")
    half_mask("mask.png")
    params = make_params(TINY | {"objective": "things", "mask": "mask.png"})
    assert images.read_recipe(worker.one_picture("a.png", params, device="cpu"))["files"].keys() == {"mask.png"}
    Path("mask.png").write_text("no picture")
    with pytest.raises(ImageError):
        worker.one_picture("a.png", params, device="cpu")
