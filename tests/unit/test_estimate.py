"""How much work jobs are, the rates fitted to dreams, and what a run takes by them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from dreamjobs import images
from dreamjobs.estimate.ends import Ends, bytes_a_pixel, bytes_out, measure_ends
from dreamjobs.estimate.photographs import Photographs
from dreamjobs.estimate.plan import lay_out
from dreamjobs.estimate.rates import Rate, RateFile, Timed, cache_path, fit
from dreamjobs.estimate.sample import spread
from dreamjobs.estimate.tally import Tally
from dreamjobs.estimate.wall import READY_S, Layout, wall
from dreamjobs.estimate.work import Amounts, JobWork, Kind, Weigher
from dreamjobs.images.tiled import Tiled
from dreamjobs.jobs import Job, Source
from dreamjobs.params import make_params
from dreamjobs.sizes import octave_sizes
from dreamjobs.tiles import Box
from dreamjobs.worker import Library, fetch

KIND = Kind("tiny", "d" * 64, "things", 1, "")
RATE = Rate(0.0, 0.0, 2.0)


@pytest.fixture(scope="module")
def weigher() -> Weigher:
    return Weigher(Library())


def a_job(photograph: tuple[int, int] = (240, 320), image: str = "a.jpg", **changes: Any) -> Job:
    params = make_params({"net": "tiny", "objective": "things"} | changes)
    source = Source(image, image, 1000, width=photograph[1], height=photograph[0])
    return Job(1, source, params, Library().digest(params.net, params.weights))


def a_work(megapixels: float = 1.0, steps: float = 10.0, kind: Kind = KIND, format: str = "jpeg") -> JobWork:  # noqa: A002
    amounts = Amounts(1, steps, megapixels * steps)
    return JobWork(kind, amounts, 1, megapixels * steps, "jpg", megapixels, format, megapixels, megapixels)


def a_tally(works: list[JobWork], example: Job | None = None) -> Tally:
    tally = Tally()
    for work in works:
        tally.add(example or a_job(), work)
    return tally


@given(
    st.tuples(st.integers(20, 2000), st.integers(20, 2000)),
    st.integers(1, 6),
    st.floats(1.05, 2.0),
    st.integers(0, 50),
)
def test_megapixel_steps_are_pixels_of_octaves_times_steps(
    weigher: Weigher, size: tuple[int, int], octaves: int, scale: float, steps: int
) -> None:
    """Megapixel-steps are the sum over the octaves' own sizes of pixels x steps; below a tile nothing is seen twice."""
    job = a_job(size, octaves=octaves, octave_scale=scale, steps=steps, tile_size=4096)
    work = weigher.weigh(job)
    (least, *_) = {way.goal.reader.least_side for way in weigher.ways(job.params, ())}
    sizes = octave_sizes(size, job.params, least)
    assert work.megapixel_steps == pytest.approx(sum(h * w for h, w in sizes) * steps / 1e6)
    assert work.amounts.passes == octaves * steps
    assert work.amounts.seen_megapixels == pytest.approx(work.megapixel_steps)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"max_side": 160}, (120, 160)),
        ({"octave_sizes": "80 640"}, (480, 640)),
        ({"start": "noise", "size": "96x64"}, (96, 64)),
    ],
)
def test_the_picture_has_the_size_that_the_dream_gives_it(
    weigher: Weigher, changes: dict[str, Any], size: tuple[int, int]
) -> None:
    """`max_side`, `octave_sizes` and noise of a size decide about the pixels written."""
    assert weigher.weigh(a_job(**changes)).megapixels == pytest.approx(size[0] * size[1] / 1e6)


def test_a_sequence_counts_every_frame(weigher: Weigher) -> None:
    """A job of 7 frames is 7 pictures, 7 times the megapixel-steps, and a video of 7 pictures' pixels."""
    one, seven = weigher.weigh(a_job()), weigher.weigh(a_job(frames=7, zoom=1.1))
    assert (one.pictures, seven.pictures) == (1, 7)
    assert seven.megapixel_steps == pytest.approx(7 * one.megapixel_steps)
    assert seven.written_megapixels == pytest.approx(7 * one.megapixels)
    assert seven.amounts.frame_megapixels == pytest.approx(7 * one.megapixels)
    assert (one.format, seven.format) == ("jpeg", "webp video")


def test_tiles_are_counted_with_their_halos(weigher: Weigher) -> None:
    """A picture of several tiles has a pass for each, sees more than its pixels, and has as many megapixel-steps."""
    uncut, tiled = (weigher.weigh(a_job(octaves=1, tile_size=size)) for size in (1024, 64))
    assert tiled.megapixel_steps == uncut.megapixel_steps
    assert tiled.amounts.passes == 20 * uncut.amounts.passes
    assert 1.0 < tiled.amounts.seen_megapixels / uncut.amounts.seen_megapixels < 2.0


def test_fanned_out_tiles_are_counted_with_their_overlaps(weigher: Weigher) -> None:
    """Fanned out, the same picture has as many megapixel-steps, and the net sees the tiles' views."""
    fan_out = {"fan_out_mpx": 0.1, "fan_out_tile": 256, "fan_out_overlap": 64}
    alone, fanned = (weigher.weigh(a_job((512, 512), octaves=1, **more)) for more in ({}, fan_out))
    assert fanned.megapixel_steps == alone.megapixel_steps
    assert fanned.amounts.passes == 4 * alone.amounts.passes
    assert fanned.amounts.seen_megapixels / alone.amounts.seen_megapixels == pytest.approx((352 / 256) ** 2)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"objective": "things:3"}, True),
        ({"steps": 3, "octaves": 2, "seed": 5, "max_side": 64}, True),
        ({"objective": "parts"}, False),
        ({"objective": "things + parts"}, False),
        ({"objective": "things | parts"}, False),
        ({"objective": "things + 2*tv"}, False),
        ({"threads": 2}, False),
        ({"normalize": "laplacian"}, False),
        ({"optimizer": "adam"}, False),
        ({"weights": "random", "net": "squeezenet1_0", "objective": "features.3"}, False),
    ],
)
def test_kinds_are_what_a_rate_depends_on(weigher: Weigher, changes: dict[str, Any], same: bool) -> None:
    """Channels, steps and sizes share a rate; layers, other terms, threads, shaping and weights do not."""
    assert (weigher.weigh(a_job(**changes)).kind == weigher.weigh(a_job()).kind) is same


def test_photographs_without_a_size_are_looked_at(weigher: Weigher, tmp_path: Path) -> None:
    """The first few are read from their headers, the others taken for their mean; none is read for its pixels."""
    paths = []
    for number in range(20):
        pixels = images.Photo(_grey(30 + number, 40), None, None, "png")
        (tmp_path / f"{number}.png").write_bytes(images.encode(pixels, format="png", quality=95, recipe={}))
        paths.append(str(tmp_path / f"{number}.png"))
    photographs = Photographs()
    assert [photographs.size(Source(path, path)) for path in paths[:16]] == [(30 + n, 40) for n in range(16)]
    assert photographs.size(Source(paths[19], paths[19])) == (38, 40)
    assert photographs.size(Source("x", "x", width=5, height=7)) == (7, 5)
    assert Photographs().size(Source("gone", str(tmp_path / "gone.png"))) == (3464, 4619)


def test_a_photograph_by_tiles_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be all of a gigapixel, far away: what encodes is timed upon the copy that was made as it was fetched."""
    path = str(tmp_path / "a.tif")
    tifffile.imwrite(path, np.full((600, 420, 3), 90, np.uint8), photometric="rgb", tile=(128, 128))
    job = replace(a_job(fan_out_mpx=0.1), source=Source(path, path, width=420, height=600))
    seen: list[Box] = []
    window = Tiled.window
    monkeypatch.setattr(Tiled, "window", lambda tiled, box: seen.append(box) or window(tiled, box))
    fetch(job)
    once = len(seen)
    assert measure_ends(a_tally([a_work()], job)).encode_s
    assert len(seen) == 2 * once > 0


def _grey(height: int, width: int) -> Any:
    return np.full((height, width, 3), 0.5, np.float32)


def test_groups_sum_jobs_alike() -> None:
    """Jobs of a kind and a size class are one group; its sums give the times and their squares for any rate."""
    other = Kind("tiny", "d" * 64, "parts", 1, "")
    tally = a_tally([a_work(0.5), a_work(0.9), a_work(2.0), a_work(0.5, kind=other)])
    assert sorted((key.kind.layers, key.size, group.jobs) for key, group in tally.groups.items()) == [
        ("parts", 1, 1),
        ("things", 1, 2),
        ("things", 2, 1),
    ]
    both = next(group for group in tally.groups.values() if group.jobs == 2)
    assert both.seconds(RATE) == pytest.approx(2 * 10 * (0.5 + 0.9))
    assert both.squares(RATE) == pytest.approx((2 * 5) ** 2 + (2 * 9) ** 2)
    assert both.longest(RATE) == pytest.approx(18)
    assert tally.bytes_in == 4000
    assert tally.photographs == 1


@given(st.tuples(*[st.floats(0.001, 2.0)] * 3))
def test_fit_finds_the_rate_behind_exact_times(rate: tuple[float, float, float]) -> None:
    """From dreams of two sizes with few and many steps, the time of any other follows to 1%."""
    amounts = [Amounts(1, 1, 0.04), Amounts(1, 5, 0.2), Amounts(1, 1, 0.3), Amounts(1, 3, 0.9)]
    found = fit([Timed(item, Rate(*rate).seconds(item)) for item in amounts])
    other = Amounts(1, 40, 12.0)
    assert found.seconds(other) == pytest.approx(Rate(*rate).seconds(other), rel=0.01)
    for item in amounts:
        assert found.seconds(item) == pytest.approx(Rate(*rate).seconds(item), rel=0.01)


def test_fit_leaves_out_the_first_dream_of_an_actor() -> None:
    """One dream that took far longer, because the net was loaded in it, does not raise the rate."""
    amounts = [Amounts(1, 10 * n, float(n)) for n in range(1, 20)]
    timed = [Timed(item, 3.0 * item.seen_megapixels) for item in amounts]
    assert fit([Timed(amounts[0], 60.0), *timed]).megapixel_s == pytest.approx(3.0, rel=0.02)


def test_fit_of_one_dream_is_a_rate_a_megapixel() -> None:
    """With nothing to tell amounts apart, the time is put down to megapixels."""
    assert fit([Timed(Amounts(1, 10, 4.0), 8.0)]) == Rate(0.0, 0.0, 2.0)


def test_rates_are_never_negative() -> None:
    """Noise does not make a coefficient that would earn time."""
    found = fit([Timed(Amounts(1, 1, 1.0), 3.0), Timed(Amounts(1, 5, 5.0), 4.0), Timed(Amounts(1, 3, 9.0), 2.0)])
    assert min(found.row) >= 0


def test_wall_time_of_one_actor_with_cores_to_spare() -> None:
    """Reading and writing overlap the dreams where a core is free for them: the dreams decide."""
    tally = a_tally([a_work()] * 10)
    rates = dict.fromkeys(tally.groups, RATE)
    ends = Ends(0.0, 0.0, {"jpg": 0.5}, {("jpeg", 95): 1.5})
    took = wall(tally, rates, ends, Layout(1, 1, 4), 1.0)
    assert took.work_s == pytest.approx(200)
    assert took.tail_s == pytest.approx(2)
    assert took.start_s == pytest.approx(1 + 6 + READY_S)


@pytest.mark.parametrize(("side", "handling_s"), [(4000, 0.25), (40, 0.002)], ids=["by stages", "in bundles"])
def test_wall_time_where_actors_have_every_core(side: int, handling_s: float) -> None:
    """Reading and writing take their share of the same cores; of two actors one waits for the last dream."""
    tally = a_tally([a_work()] * 10, a_job((side, side)))
    rates = dict.fromkeys(tally.groups, RATE)
    took = wall(tally, rates, Ends(0.0, 0.0, {"jpg": 0.5}, {("jpeg", 95): 1.5}), Layout(2, 2, 2), 0.0)
    assert took.work_s == pytest.approx(200 / 2 + (20 + 10 * handling_s) / 2)
    assert took.tail_s == pytest.approx(20 / 6 + 2)


def test_times_of_an_earlier_run_are_not_slowed_again() -> None:
    """Rates that were found in a run tell of the stages beside it already."""
    tally = a_tally([a_work()] * 10)
    rates = dict.fromkeys(tally.groups, Rate(0.0, 0.0, 2.0, in_run=True))
    took = wall(tally, rates, Ends(0.0, 0.0, {"jpg": 0.5}, {("jpeg", 95): 1.5}), Layout(2, 2, 2), 0.0)
    assert took.work_s == pytest.approx(100)


def test_a_run_takes_at_least_its_longest_dream() -> None:
    """One job is not shared out over eight actors."""
    tally = a_tally([a_work(steps=50)])
    took = wall(tally, dict.fromkeys(tally.groups, RATE), Ends(0.0, 0.0), Layout(8, 8, 8), 0.0)
    assert took.work_s + took.tail_s >= 100


def test_nothing_to_do_takes_the_check_alone() -> None:
    """A run that has everything starts no actor."""
    assert wall(Tally(), {}, Ends(), Layout(2, 2, 2), 3.0).seconds == 3.0


def test_bytes_out_follow_from_pixels_and_format() -> None:
    """By the table of formats, or by what an earlier run's files were."""
    tally = a_tally([a_work(2.0), a_work(1.0, format="png")])
    assert bytes_out(Ends(), tally) == round(2e6 * bytes_a_pixel("jpeg", 95) + 1e6 * bytes_a_pixel("png", 95))
    assert bytes_out(Ends(bytes_a_pixel={"jpeg": 2.0, "png": 3.0}), tally) == 7_000_000
    assert bytes_a_pixel("jpeg", 80) < bytes_a_pixel("jpeg", 85) < bytes_a_pixel("jpeg", 90)


@given(st.integers(0, 200), st.integers(1, 30))
def test_a_sample_is_spread_over_all_jobs(total: int, count: int) -> None:
    """One job of each of so many equal stretches; all of them where there are fewer."""
    jobs: list[Any] = list(range(total))
    chosen = spread(jobs, total, count)
    assert len(chosen) == min(count, total)
    for number, job in enumerate(chosen):
        assert total * number // len(chosen) <= job < total * (number + 1) // len(chosen)


def test_actors_are_those_of_run() -> None:
    """Without --actors there are cores / threads; more than that are on further machines."""
    cores = os.cpu_count() or 1
    assert lay_out(None, 1, "cpu") == Layout(cores, cores, cores)
    assert lay_out(None, 10 * cores, "cpu").actors == 1
    assert lay_out(3 * cores, 1, "cpu").machines == 3


def test_rates_are_kept_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is added is there again, beside what was; XDG_CACHE_HOME says where."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    RateFile().add({"a": RATE})
    RateFile().add({"b": Rate(1.0, 2.0, 3.0)})
    assert RateFile().load() == {"a": RATE, "b": Rate(1.0, 2.0, 3.0)}
    assert cache_path() == str(tmp_path / "dreamjobs" / "rates.json")
    assert os.listdir(tmp_path / "dreamjobs") == ["rates.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 0, "rates": {"a": {}}}', '{"version": 1, "rates": [1]}'])
def test_a_damaged_cache_is_as_none(tmp_path: Path, text: str) -> None:
    """It costs the time to time dreams again, and no error."""
    path = tmp_path / "rates.json"
    path.write_text(text)
    assert RateFile(str(path)).load() == {}
    RateFile(str(path)).add({"a": RATE})
    assert RateFile(str(path)).load() == {"a": RATE}
