"""Checking manifests: everything wrong is told at once, before anything starts."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dreamjobs.errors import ManifestError, ParamsError
from dreamjobs.manifest import Checked, Manifest, check, open_manifest
from dreamjobs.params import DreamParams
from dreamjobs.worker import Dreamer, Library

TINY = {"net": "tiny", "objective": "things"}


@pytest.fixture(scope="module")
def net_check() -> Any:
    library, dreamer = Library(), Dreamer()

    def check_net(params: DreamParams) -> None:
        dreamer.check(params, library.weights(params.net, params.weights), library.files(params, "."))

    return check_net


def manifest_of(folder: Path, columns: dict[str, Any]) -> Manifest:
    pq.write_table(pa.table(columns), folder / "m.parquet")
    return open_manifest(str(folder / "m.parquet"))


def message_of(manifest: Manifest, net_check: Any, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ManifestError) as caught:
        check(manifest, overrides or {}, net_check)
    return str(caught.value)


def test_a_sound_manifest_is_counted(tmp_path: Path, net_check: Any) -> None:
    """A row counts as the product of its lists, settings included, and the most threads are found."""
    columns = {
        "image": ["a", "b"],
        "net": ["tiny", "tiny"],
        "objective": [["edges", "parts"], ["things"]],
        "threads": pa.array([[1], [2, 3]]),
    }
    assert check(manifest_of(tmp_path, columns), {"seed": [0, 1, 2]}, net_check) == Checked(
        jobs=2 * 3 + 2 * 3, threads=3
    )


def test_threads_with_a_gap_are_a_whole_number(tmp_path: Path, net_check: Any) -> None:
    """Where pandas made floats of the threads column, the most threads are still a whole number."""
    columns = {"image": ["a", "b"], "net": ["tiny"] * 2, "objective": ["edges"] * 2, "threads": [2.0, None]}
    found = check(manifest_of(tmp_path, columns), {}, net_check)
    assert found == Checked(jobs=2, threads=2)
    assert isinstance(found.threads, int)


def test_an_empty_list_is_refused(tmp_path: Path, net_check: Any) -> None:
    """A row whose axis has no values would have no jobs: it is named with the column, and so is such a setting."""
    manifest = manifest_of(tmp_path, {"image": ["a", "b"], "seed": pa.array([[1], []], pa.list_(pa.int64()))})
    assert "  row 2: seed: the list is empty; an axis has at least one value" in message_of(manifest, net_check, TINY)
    with pytest.raises(ParamsError, match="octaves: the list is empty"):
        check(manifest, TINY | {"octaves": []}, net_check)


def test_a_wrong_name_without_a_value_is_refused(tmp_path: Path, net_check: Any) -> None:
    """A setting's name is looked at even if its value is null."""
    with pytest.raises(ParamsError, match="max_sied: no such parameter; did you mean `max_side`"):
        check(manifest_of(tmp_path, {"image": ["a"]}), TINY | {"max_sied": None}, net_check)


def test_every_bad_row_is_listed(tmp_path: Path, net_check: Any) -> None:
    """One error names for each bad row its number, the column, the value and what is allowed."""
    columns = {
        "image": ["a", "b", None, "", "e"],
        "net": ["tiny"] * 5,
        "objective": ["edges", "edges", "edges", "edges", "edgs"],
        "octaves": pa.array([[4], [0, 99], [4], [4], [4]]),
        "normalize": ["std", "loud", "std", "std", "std"],
    }
    message = message_of(manifest_of(tmp_path, columns), net_check)
    assert message.splitlines()[0].startswith("4 row(s) of ")
    assert "nothing was started" in message
    lines = message.splitlines()[1:]
    assert "  row 2: octaves: 0 is refused; allowed is a whole number, at least 1 and at most 32" in lines
    assert "  row 2: octaves: 99 is refused; allowed is a whole number, at least 1 and at most 32" in lines
    assert "  row 2: normalize: 'loud' is refused; allowed is `mean_abs`, `std`, `rms`, `laplacian`" in lines
    assert "  row 3: image: None is refused; allowed is a path or an s3:// url" in lines
    assert "  row 4: image: '' is refused; allowed is a path or an s3:// url" in lines
    assert any(line.startswith("  row 5: ") and "'edgs'" in line and "`edges`" in line for line in lines)
    assert not any("row 1:" in line for line in lines)


def test_the_list_is_cut_and_the_count_is_not(tmp_path: Path, net_check: Any) -> None:
    """Of more than 50 bad rows the first are shown and all are counted."""
    message = message_of(manifest_of(tmp_path, {"image": ["a"] * 5_000, "steps": [-1] * 5_000}), net_check, TINY)
    assert len(message.splitlines()) == 52
    assert "row 50: steps: -1" in message
    assert "row 51" not in message
    assert message.splitlines()[0].startswith("5,000 row(s)")
    assert message.splitlines()[-1] == "  ... 5,000 bad rows in all"


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("net", "googlenot", "net 'googlenot' is not known; did you mean `googlenet`?"),
        ("net", "os:getcwd", "names code; that is taken from --set net=... or from Python only"),
        ("objective", "partz", "net 'tiny' has no layer 'partz'; did you mean `parts`?"),
        ("objective", "edges:8", "8"),
        ("objective", "edges +", "edges +"),
        ("weights", "IMAGENET9", "weights 'IMAGENET9' of 'tiny' are not known"),
        ("weights", "missing.safetensors", "missing.safetensors"),
        ("octaves", 2.5, "octaves: 2.5 is refused"),
        ("octaves", "4", "octaves: '4' is refused; allowed is a whole number"),
        ("octaves", True, "octaves: True is refused"),
        ("octave_scale", float("nan"), "octave_scale: nan is refused"),
        ("octave_scale", 1, "octave_scale: 1 is refused; allowed is a number, above 1"),
        ("steps", [[1, 2]], "steps: [1, 2] is refused"),
        ("steps", {"a": 1}, "steps: {'a': 1} is refused"),
        ("overlap", "some", "overlap: 'some' is refused; allowed is `exact`, `auto` or a whole number"),
        ("format", "gif", "format: 'gif' is refused; allowed is `auto`, `jpeg`"),
        ("image", b"a.jpg", "image: b'a.jpg' is refused"),
        ("image", 5, "image: 5 is refused"),
        ("image", "http://a/b.jpg", "place 'http://a/b.jpg' is not allowed"),
        ("size_bytes", "12", "size_bytes: '12' is refused; allowed is a whole number, at least 0"),
        ("size_bytes", -1, "size_bytes: -1 is refused"),
        ("size_bytes", 1e19, "size_bytes: 1e+19 is refused; allowed is a whole number, at least 0 and below 2^63"),
        ("size_bytes", float("inf"), "size_bytes: inf is refused"),
        ("width", 10.5, "width: 10.5 is refused"),
        ("height", [3], "height: [3] is refused"),
        ("mtime", datetime.datetime(2024, 5, 1), "mtime: datetime.datetime(2024, 5, 1, 0, 0) is refused"),
        ("etag", 5, "etag: 5 is refused; allowed is text"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, net_check: Any, column: str, cell: Any, said: str) -> None:
    """Whatever a cell holds that cannot be used, the row is listed with the value and no exception of another kind."""
    columns = {"image": ["a"], "net": ["tiny"], "objective": ["edges"]} | {column: pa.array([cell])}
    message = message_of(manifest_of(tmp_path, columns), net_check)
    assert "  row 1: " in message
    assert said in message


def test_code_from_settings_is_allowed(tmp_path: Path, net_check: Any) -> None:
    """A net of one's own comes from the settings alone, and then stands in place of the manifest's."""
    code = "dreamjobs.nets.tiny:Tiny"
    columns = {"image": ["a"], "net": ["os:getcwd"], "objective": ["edges"]}
    manifest = manifest_of(tmp_path, columns)
    assert check(manifest, {"net": code}, net_check, frozenset([code])) == Checked(jobs=1, threads=1)
    message_of(manifest, net_check)


def test_a_manifests_code_is_not_imported(tmp_path: Path, net_check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that a manifest names is refused without a look at it."""
    (tmp_path / "evil_net.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    columns = {"image": ["a"], "net": ["evil_net:make"]}
    assert "names code" in message_of(manifest_of(tmp_path, columns), net_check, {"objective": "edges"})
    assert "evil_net" not in sys.modules


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"octave": 3}, "octave: no such parameter; did you mean `octaves`?"),
        ({"octaves": [3, 0]}, "octaves: 0 is refused"),
        ({"objective": 5}, "objective: 5 is refused; allowed is text"),
    ],
)
def test_wrong_settings_are_an_error_of_their_own(
    tmp_path: Path, net_check: Any, overrides: dict[str, Any], said: str
) -> None:
    """A bad setting is told once, not once for each row."""
    with pytest.raises(ParamsError) as caught:
        check(manifest_of(tmp_path, {"image": ["a"] * 10}), TINY | overrides, net_check)
    assert str(caught.value).startswith(said)


def test_a_setting_hides_a_bad_cell(tmp_path: Path, net_check: Any) -> None:
    """What a setting replaces is not looked at."""
    manifest = manifest_of(tmp_path, {"image": ["a"], "steps": [-1]})
    assert check(manifest, TINY | {"steps": 2}, net_check).jobs == 1


def test_each_combination_is_checked_once(tmp_path: Path) -> None:
    """A thousand rows of two objectives load their net twice, not a thousand times."""
    seen: list[str] = []
    columns = {"image": ["a"] * 1_000, "objective": [["edges", "parts"]] * 1_000}
    found = check(manifest_of(tmp_path, columns), {"net": "tiny"}, lambda params: seen.append(params.objective))
    assert found.jobs == 2_000
    assert sorted(seen) == ["edges", "parts"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"optimizer": ["adam"]}, "optimizer: 'adam' is refused where fan_out_mpx is set; allowed is `ascent`"),
        ({"until": [[0.0, 0.5]]}, "until: 0.5 is refused where fan_out_mpx is set"),
        ({"start": ["noise"]}, "start: 'noise' is refused"),
        ({"fan_out_overlap": [512], "fan_out_tile": [1024]}, "allowed is at most a quarter"),
        ({"preset": ["neural-dream"]}, "optimizer: 'adam' is refused"),
        ({"objective": ["style(things, a.jpg)"]}, "looks at the whole picture"),
        ({"net": ["tiny"], "objective": ["things:3@0.5,0.5"]}, "looks at the whole picture"),
        (
            {"net": ["mobilenet_v3_small"], "weights": ["random"], "objective": ["features.4"]},
            "features.4 of mobilenet",
        ),
    ],
)
def test_what_tiles_cannot_follow_is_refused(
    tmp_path: Path, net_check: Any, columns: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one of a grid's points is to be fanned out, before anything starts; where none is, it is sound."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("a.jpg")
    manifest = manifest_of(tmp_path, {"image": ["a"]} | columns)
    more = {name: value for name, value in TINY.items() if name not in columns}
    assert message_of(manifest, net_check, more | {"fan_out_mpx": [None, 2.0, 3.0]}).count(said) == 1
    check(manifest, more, net_check)


def test_a_preset_may_be_fanned_out_but_for_its_optimizer(tmp_path: Path, net_check: Any) -> None:
    """What a preset brings and a setting replaces is not looked at."""
    manifest = manifest_of(tmp_path, {"image": ["a"], "preset": ["neural-dream"], "fan_out_mpx": [2.0]})
    assert check(manifest, TINY | {"optimizer": "ascent"}, net_check).jobs == 1


def test_a_path_that_climbs_out_of_a_bucket_is_listed(tmp_path: Path, net_check: Any) -> None:
    """`..` means nothing on S3: the row is listed."""
    local = manifest_of(tmp_path, {"image": ["../a.jpg"]})
    on_s3 = Manifest(local.url, "s3://bucket/photos", local.rows, local.digest)
    assert "row 1: image: '../a.jpg' in s3://bucket/photos: '..' has no meaning" in message_of(on_s3, net_check, TINY)
