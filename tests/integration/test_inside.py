"""The commands that look inside a net: sheets of responses and of dreamed channels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from integration.photos import noise, pictures, put_photos, rows
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from dreamjobs.cli import app
from dreamjobs.errors import DreamjobsError, NetError, ParamsError, RunError
from dreamjobs.worker import inside

QUICK = ["--inline", "--size", "24", "--set", "steps=2", "--set", "octaves=2"]

Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Runs a command in a folder of its own with a photograph; what it raises comes through."""
    monkeypatch.chdir(tmp_path)
    put_photos("photos", 1, size=(96, 64))

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(app, arguments)
        if isinstance(result.exception, DreamjobsError):
            raise result.exception
        return result

    return run


def read(path: str) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_activations_are_a_sheet(call: Call) -> None:
    """The photograph and the strongest channels are drawn; fewer channels make a smaller sheet."""
    assert (
        call("activations", "photos/0.png", "-o", "all.png", "--net", "tiny", "--layer", "parts").output == "all.png\n"
    )
    few = call("activations", "photos/0.png", "-o", "few.png", "--net", "tiny", "--layer", "parts", "--top", "2")
    assert few.exit_code == 0
    assert read("few.png").size < read("all.png").size
    photograph, sheet = np.asarray(noise(0, (96, 64))), read("few.png")
    top, left = np.argwhere((sheet == photograph[0, 0]).all(2))[0]
    assert np.array_equal(sheet[top : top + 64, left : left + 96], photograph)


def test_responses_come_strongest_first(call: Call) -> None:
    """Means descend, maps are grey with the photograph's shape, and white where they are largest."""
    found = inside.responses("photos/0.png", inside.open_net("tiny", "default"), "things", top=5, side=512)
    assert found.channels == 16
    assert len(found.maps) == 5
    means = [item.mean for item in found.maps]
    assert means == sorted(means, reverse=True)
    for item in found.maps:
        assert item.picture.shape == found.photo.shape == (64, 96, 3)
        assert np.ptp(item.picture, axis=2).max() == 0
        assert 0.8 < item.picture.max() <= 1


def test_responses_are_the_nets(call: Call) -> None:
    """A channel's mean is that of the layer over the photograph, brought to `side` first."""
    net = inside.open_net("tiny", "default")
    whole, small = (inside.responses("photos/0.png", net, "edges", top=8, side=side) for side in (96, 48))
    assert small.photo.shape == (32, 48, 3)
    picture = net.reader(("edges",))(_tensor(whole.photo))["edges"][0]
    assert {item.channel: item.mean for item in whole.maps} == pytest.approx(
        dict(enumerate(picture.mean((1, 2)).tolist())), rel=1e-5
    )


def _tensor(pixels: NDArray[np.float32]) -> object:
    import torch

    return torch.tensor(pixels).permute(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["photos/0.png", "-o", "x.png", "--layer", "prts"], "did you mean `parts`?"),
        (["photos/0.png", "-o", "x.png", "--layer", "logits"], "one number a channel.*not a map"),
        (["photos/0.png", "-o", "x.jpg", "--layer", "parts"], "a sheet is a PNG"),
        (["photos/none.png", "-o", "x.png", "--layer", "parts"], "none.png"),
    ],
)
def test_bad_activations_are_refused(call: Call, arguments: list[str], said: str) -> None:
    """The message says what is wrong and what is near; nothing is written."""
    with pytest.raises(DreamjobsError, match=said):
        call("activations", *arguments, "--net", "tiny")
    assert not list(Path().glob("x.*"))


def test_filters_are_a_run(call: Call) -> None:
    """One picture a channel, with the objective and size asked for, and a sheet beside them."""
    ended = call("filters", "tiny", "parts", "run", "--channels", "0-2,5", *QUICK)
    assert ended.exit_code == 0
    assert "4 done, 0 failed, 0 left, 0 done before" in ended.output
    found = rows("run")
    assert [row["image"] for row in found] == [f"noise:parts-000{channel}" for channel in (0, 1, 2, 5)]
    assert [row["objective"] for row in found] == ["parts:0", "parts:1", "parts:2", "parts:5"]
    assert {(row["height"], row["width"], row["net"], row["steps"]) for row in found} == {(24, 24, "tiny", 2)}
    sheet = read("run/filters.png")
    for data in pictures("run").values():
        with Image.open(io.BytesIO(data)) as image:
            assert _holds(sheet, np.asarray(image))
    assert call("verify", "run").output.endswith("sound\n")


def _holds(sheet: NDArray[np.uint8], picture: NDArray[np.uint8]) -> bool:
    """Whether a picture stands somewhere on a sheet, to the bit."""
    places = np.argwhere((sheet == picture[0, 0]).all(2))
    height, width = picture.shape[:2]
    return any(np.array_equal(sheet[y : y + height, x : x + width], picture) for y, x in places)


def test_filters_again_do_nothing_new(call: Call) -> None:
    """The same command finds everything done, and gives the same sheet."""
    command = ("filters", "tiny", "edges", "run", *QUICK)
    assert "8 done, 0 failed" in call(*command).output
    before = pictures("run"), Path("run/filters.png").read_bytes()
    Path("run/filters.png").unlink()
    again = call(*command)
    assert (again.exit_code, "0 done, 0 failed, 0 left, 8 done before" in again.output) == (0, True)
    assert before == (pictures("run"), Path("run/filters.png").read_bytes())


def test_filters_go_on_where_they_were_stopped(call: Call) -> None:
    """A run that did a part is completed, by `run` or by the same command."""
    from dreamjobs.engine import RunOptions, run

    command = ("filters", "tiny", "edges", "run", *QUICK)
    call(*command)
    (manifest,) = Path("run").glob("filters-*.parquet")
    Path("part").mkdir()
    Path("part", manifest.name).write_bytes(manifest.read_bytes())
    run(f"part/{manifest.name}", "part", {}, RunOptions(inline=True, limit=3))
    ended = call(*(word.replace("run", "part") for word in command))
    assert "5 done, 0 failed, 0 left, 3 done before" in ended.output
    assert pictures("part") == pictures("run")


def test_other_filters_need_extend(call: Call) -> None:
    """Other channels in the same RUN are refused and leave it as it was; --extend dreams only the new ones."""
    call("filters", "tiny", "parts", "run", "--channels", "0,1", *QUICK)
    before = sorted(Path("run").rglob("*"))
    with pytest.raises(RunError, match="--extend"):
        call("filters", "tiny", "parts", "run", "--channels", "0-2", *QUICK)
    assert sorted(Path("run").rglob("*")) == before
    ended = call("filters", "tiny", "parts", "run", "--channels", "0-2", *QUICK, "--extend")
    assert "1 done, 0 failed, 0 left, 2 done before" in ended.output
    assert call("filters", "tiny", "parts", "run", "--channels", "0-2", *QUICK).exit_code == 0


def test_a_failed_channel_is_an_empty_cell(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is told, the sheet is written all the same, and the exit code is 1."""
    from dreamjobs.errors import ImageError
    from dreamjobs.worker import Dreamer

    dream = Dreamer.dream

    def broken(self: Dreamer, job: object, *rest: object) -> object:
        if job.params.objective == "parts:1":  # type: ignore[attr-defined]
            raise ImageError("no luck with this one")
        return dream(self, job, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Dreamer, "dream", broken)
    ended = call("filters", "tiny", "parts", "run", "-o", "sheet.png", "--channels", "0-2", *QUICK)
    assert ended.exit_code == 1
    assert "2 done, 1 failed" in ended.output
    assert "  channel 1 failed: ImageError: no luck with this one\n" in ended.output
    assert ended.output.endswith("sheet.png\n")
    assert read("sheet.png").size
    assert not Path("run/filters.png").exists()


def test_filters_of_a_net_of_ones_own(call: Call) -> None:
    """A net that is code is named by the command, and never by the manifest."""
    import pyarrow.parquet as pq

    ended = call("filters", "integration.photos:Gated", "edges", "run", "--channels", "3", *QUICK)
    assert ended.exit_code == 0
    (manifest,) = Path("run").glob("filters-*.parquet")
    assert "net" not in pq.read_schema(manifest).names
    assert {row["net"] for row in rows("run")} == {"integration.photos:Gated"}


def test_filters_of_logits(call: Call) -> None:
    """Channels of a vector are dreamed like those of a map."""
    assert call("filters", "tiny", "logits", "run", "--channels", "9", *QUICK).exit_code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["prts", "run"], "did you mean `parts`?"),
        (["parts", "run", "--channels", "12"], "the layer's channels are 0 to 11"),
        (["parts", "run", "--channels", "5-3"], "the layer's channels are 0 to 11"),
        (["parts", "run", "--channels", "a-b"], "such as 0-15,40"),
        (["parts", "run", "--channels", "1,,2"], "such as 0-15,40"),
        (["parts", "run", "--set", "objective=edges"], "objective: 'edges' is refused"),
        (["parts", "run", "--set", "size=64"], "size: 64 is refused"),
        (["parts", "run", "--set", "steps=[1,2]"], "one value is needed"),
        (["parts", "run", "--set", "stps=1"], "did you mean `steps`?"),
        (["parts", "run", "-o", "x.jpg"], "a sheet is a PNG"),
    ],
)
def test_bad_filters_are_refused(call: Call, options: list[str], said: str) -> None:
    """The message says what is wrong and what is allowed; no RUN appears."""
    with pytest.raises(DreamjobsError) as caught:
        call("filters", "tiny", *options, "--inline")
    assert said in str(caught.value)
    assert not Path("run").exists()


def test_channels_as_text() -> None:
    """Numbers and ranges, in any order and with blanks, each once; nothing stands for all."""
    assert inside.parse_channels("7, 0-2,1", 8) == [0, 1, 2, 7]
    assert inside.parse_channels("", 3) == [0, 1, 2]
    with pytest.raises(ParamsError, match="0 to 7"):
        inside.parse_channels("0-8", 8)


def test_a_photograph_smaller_than_the_net_needs(call: Call) -> None:
    """It is padded, not refused, as long as the layer has more than one position there; one position is no map."""
    put_photos("small", 1, size=(6, 5))
    net = inside.open_net("tiny", "default")
    assert inside.responses("small/0.png", net, "edges", top=1, side=64).photo.shape == (5, 6, 3)
    put_photos("least", 1, size=(1, 1))
    with pytest.raises(NetError, match="1 x 1 pixels"):
        inside.responses("least/0.png", net, "things", top=1, side=64)


def test_layers_that_see_the_whole_picture(call: Call) -> None:
    """`layers` says so without a word on tiles."""
    output = call("layers", "tiny").output
    assert "not tiled" not in output
    assert "3 x 3" in output
