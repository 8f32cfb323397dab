"""The gallery's page as a person uses it, in Chromium, opened from disk."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from browser.conftest import DONE, GRID, HOSTILE, Open
from integration.photos import encoded, noise
from playwright.sync_api import Page, Route, expect
from unit.gallery_rows import put_rows, row, site
from unit.other_values import OTHER_VALUES

from dreamjobs.gallery import write_gallery
from dreamjobs.grid import merge_settings
from dreamjobs.params import DreamParams, make_params
from dreamjobs.storage import open_store
from dreamjobs.storage.clients import s3_client

TILES = "#tiles .tile"
MISSING = "ERR_FILE_NOT_FOUND"  # the pictures of rows that are made up
ALL = DONE + 1  # the sequence


def names(page: Page) -> list[str]:
    """What stands under the pictures of the wall that are drawn."""
    return page.locator(f"{TILES} .caption b").all_inner_texts()


def tick(page: Page, field: str, value: str) -> None:
    """Choose a value of a filter."""
    box = page.locator(f"details[data-field={field}]")
    if box.get_attribute("open") is None:
        box.locator("summary").click()
    box.locator(f"input[value='{value}']").click()


# ---- the wall --------------------------------------------------------------------------------------------------


def test_the_wall_shows_every_picture_with_its_thumbnail(real: str, open_page: Open) -> None:
    """As many tiles as pictures, each with a text in place of the picture, and every thumbnail there."""
    page = open_page(real)
    expect(page.locator("#count")).to_have_text(f"{ALL} pictures")
    expect(page.locator(TILES)).to_have_count(ALL)
    page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    alts = page.locator(f"{TILES} img").evaluate_all("nodes => nodes.map(n => n.alt)")
    assert all("dreamed: " in alt for alt in alts)


def test_filters_narrow_and_can_be_taken_back(real: str, open_page: Open) -> None:
    """Two values of one field widen, two fields narrow; numbers beside values say what is left; Back undoes."""
    page = open_page(real)
    tick(page, "octaves", "2")
    expect(page.locator("#count")).to_have_text(f"12 of {ALL} pictures")
    tick(page, "objective", "edges")
    expect(page.locator("#count")).to_have_text(f"4 of {ALL} pictures")
    expect(page.locator("details[data-field=objective] li", has_text="parts").locator(".much")).to_have_text("4")
    tick(page, "objective", "parts")
    expect(page.locator("#count")).to_have_text(f"8 of {ALL} pictures")
    page.go_back()
    expect(page.locator("#count")).to_have_text(f"4 of {ALL} pictures")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("#count")).to_have_text(f"{ALL} pictures")


def test_photographs_are_found_by_name(real: str, open_page: Open) -> None:
    """The search takes any part of a name, in either case; what matches nothing says so."""
    page = open_page(real)
    search = page.get_by_label("Search photographs by name")
    search.fill("A.PN")
    expect(page.locator("#count")).to_have_text(f"6 of {ALL} pictures")
    assert set(names(page)) == {"a.png"}
    search.fill("nowhere")
    expect(page.locator("#tiles")).to_contain_text("No picture is left")
    search.fill("")
    expect(page.locator(TILES)).to_have_count(ALL)


def test_pictures_are_sorted(real: str, open_page: Open) -> None:
    """By the objective's rise, largest first, and turned around."""
    page = open_page(real)
    page.get_by_label("Sort by").select_option("rise")
    rises = "[...document.querySelectorAll('#tiles a')].map(a => rows.rise[rows.find(a.href.match(/p=(\\w+)/)[1])])"
    down = page.evaluate(rises)
    assert down == sorted(down, reverse=True)
    page.locator(".turn").click()
    up = page.evaluate(rises)
    assert up == sorted(up)
    assert len(up) == ALL


# ---- the matrix ------------------------------------------------------------------------------------------------


def test_the_matrix_lays_two_fields_out(real: str, open_page: Open) -> None:
    """Objective by octaves of one photograph at first; another photograph, and other axes, by selectors."""
    page = open_page(real, "#/matrix?at.frames=1")
    expect(page.locator("#grid .side")).to_have_text(GRID["objective"])
    expect(page.locator("#grid .head")).to_have_text(["1", "2"])
    expect(page.locator("#grid .cell a")).to_have_count(6)
    page.get_by_label("photograph", exact=True).select_option(label="b.png")
    alts = page.locator("#grid .cell img").evaluate_all("nodes => nodes.map(n => n.alt)")
    assert len(alts) == 6
    assert all(alt.startswith("b.png, ") for alt in alts)
    page.get_by_label("Swap rows and columns").click()
    expect(page.locator("#grid .side")).to_have_text(["1", "2"])
    page.get_by_label("Rows", exact=True).select_option("photograph")
    expect(page.locator("#grid .side").first).to_be_visible()
    expect(page.locator("#grid .cell a.failed").first).to_have_text("failed")


def test_the_matrix_is_walked_by_arrows(real: str, open_page: Open) -> None:
    """One cell can be tabbed to; arrows move from cell to cell; Enter opens the picture, Escape returns to its cell."""
    page = open_page(real, "#/matrix?at.photograph=photos/a.png&at.frames=1")
    page.locator("#grid a").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    cell = page.evaluate("[document.activeElement.dataset.y, document.activeElement.dataset.x]")
    assert cell == ["1", "1"]
    page.keyboard.press("Enter")
    expect(page.locator("#picture .settings")).to_have_text("parts")
    page.keyboard.press("Escape")
    expect(page.locator("#picture")).to_be_hidden()
    assert page.evaluate("[document.activeElement.dataset.y, document.activeElement.dataset.x]") == cell


# ---- one picture -----------------------------------------------------------------------------------------------


def test_the_slider_uncovers_the_photograph(real: str, open_page: Open) -> None:
    """Dragging over the picture, the slider's own keys, and B each set how much of the photograph is seen."""
    page = open_page(real)
    page.locator(f"{TILES} a").first.click()
    before = page.locator("#picture .before")
    expect(before).to_be_visible()
    page.wait_for_function("document.querySelector('#picture .before').naturalWidth > 0")
    box = page.locator("#picture .frame").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    page.mouse.up()
    slider = page.get_by_label("How much of the photograph is uncovered")
    assert abs(float(slider.input_value()) - 75) <= 1
    assert re.match(
        r"inset\(0(px|%)? calc\(25|inset\(0px (24|25|26)", before.evaluate("n => getComputedStyle(n).clipPath")
    )
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert abs(float(slider.input_value()) - 76) <= 1
    page.locator("#picture .view").focus()
    page.keyboard.press("b")
    assert slider.input_value() == "0"
    page.keyboard.press("b")
    assert slider.input_value() == "100"


def test_a_picture_is_shown_one_to_one(tmp_path: Path, real: str, open_page: Open) -> None:
    """The button and Z show a pixel of the picture as one of the screen, and the whole picture again."""
    page = open_page(real)
    page.locator(f"{TILES} a").first.click()
    width = "document.querySelector('#picture .frame').getBoundingClientRect().width"
    whole = page.evaluate(width)
    page.get_by_role("button", name="1:1").click()
    assert page.evaluate(width) == pytest.approx(96, abs=0.5)
    page.keyboard.press("z")
    assert page.evaluate(width) == whole


def test_arrows_go_from_picture_to_picture(real: str, open_page: Open) -> None:
    """Right and left move in the order of the wall, its filters kept; Escape returns to the picture seen last."""
    page = open_page(real, "#/wall?objective=parts")
    page.locator(f"{TILES} a").first.click()
    seen = [page.evaluate("location.hash")]
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        seen.append(page.evaluate("location.hash"))
    assert len(set(seen)) == 4
    assert all("objective=parts" in address for address in seen)
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("location.hash") == seen[2]
    page.keyboard.press("Escape")
    expect(page.locator("#picture")).to_be_hidden()
    assert page.evaluate("location.hash") == "#/wall?objective=parts"
    assert page.evaluate("document.activeElement.closest('.tile').getAttribute('aria-posinset')") == "3"


def test_the_wall_is_walked_by_the_keyboard(real: str, open_page: Open) -> None:
    """One picture can be tabbed to; arrows, Home and End move from there; Enter opens."""
    page = open_page(real)
    assert page.locator(f"{TILES} a[tabindex='0']").count() == 1
    page.locator(f"{TILES} a[tabindex='0']").focus()
    at = "Number(document.activeElement.dataset.at)"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(at) == 1
    page.keyboard.press("ArrowDown")
    assert page.evaluate(at) > 2
    page.keyboard.press("End")
    assert page.evaluate(at) == ALL - 1
    page.keyboard.press("Home")
    assert page.evaluate(at) == 0
    page.keyboard.press("Enter")
    expect(page.locator("#picture")).to_be_visible()


def test_what_has_the_focus_shows_it(real: str, open_page: Open) -> None:
    """Whatever Tab reaches has an outline."""
    page = open_page(real)
    for _ in range(9):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_the_recipe_marks_what_differs(real: str, open_page: Open) -> None:
    """All parameters are listed; those that are no defaults are marked, with what the default is."""
    page = open_page(real, "#/wall?objective=parts&octaves=2")
    page.locator(f"{TILES} a").first.click()
    page.locator("#picture .all summary").click()
    listed = page.locator("#picture .all th").all_inner_texts()
    assert listed == list(DreamParams.model_fields)
    marked = page.locator("#picture .all tr.changed th").all_inner_texts()
    assert marked == ["net", "objective", "octaves", "steps", "jitter"]
    row_ = page.locator("#picture .all tr.changed", has_text="octaves")
    expect(row_.locator("td")).to_have_text("2 (default 4)")


def test_the_curve_is_drawn(real: str, open_page: Open) -> None:
    """The objective over the steps, as a drawing with words."""
    page = open_page(real, "#/wall?objective=parts&octaves=2")
    page.locator(f"{TILES} a").first.click()
    expect(page.locator("#picture .curve svg")).to_have_attribute(
        "aria-label", re.compile(r"over 4 steps: from \S+ to \S+")
    )
    points = page.locator("#picture .curve polyline").get_attribute("points") or ""
    assert len(points.split()) == 4
    assert "NaN" not in points
    expect(page.locator("#picture .facts")).to_contain_text("on cpu")


# Values that a shell or YAML would take for something else, and one of every parameter.
STRANGE: list[dict[str, Any]] = [
    {"objective": "mix8d + 0.5*style(mix4b, it's a wave.jpg)"},
    {"objective": "mix8c:3,7", "mask": "null"},
    {"objective": "class: 'x' #1", "mask": "$(rm -rf ~) `x` \"y\" \\ é", "weights": "1e5"},
    {"mask": "- a\nb\u2028", "size": "512", "overlap": "64", "keep_colors": True},
    {"seed": 2**63 - 1, "step_size": 1e-05},
    OTHER_VALUES,
]  # fmt: skip


@pytest.mark.parametrize("values", STRANGE, ids=range(len(STRANGE)))
def test_a_copied_recipe_is_the_recipe(values: dict[str, Any], tmp_path: Path, open_page: Open) -> None:
    """Both the command and the grid give back the parameters that they were copied from, and the photograph."""
    params = make_params(values)
    cells = {name: str(value) if name == "overlap" else value for name, value in params.model_dump().items()}
    image = "-it's $HOME/<b> `x`.jpg"
    page = open_page(site(str(tmp_path), [row(0, image, **cells)]), "#/wall?p=" + "0" * 16, allow=MISSING)
    command, grid = page.evaluate("[recipe.command(0), recipe.grid(0)]")
    first, *words = shlex.split(command.partition(" && ")[0])
    settings = merge_settings([words[at + 1] for at, word in enumerate(words) if word == "--set"])
    assert (first, words[1]) == ("dreamjobs", f"./{image}")
    assert words[0] == ("manifest" if params.frames > 1 else "dream")
    assert make_params(settings) == params
    assert make_params(yaml.safe_load(grid)) == params


def test_copying_fills_the_clipboard(real: str, open_page: Open) -> None:
    """The buttons put the text where it can be pasted, and say so."""
    page = open_page(real, "#/wall?objective=parts&octaves=2", permissions=["clipboard-read", "clipboard-write"])
    page.locator(f"{TILES} a").first.click()
    page.get_by_role("button", name="Copy as command").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("dreamjobs dream ")
    assert "--set objective=parts" in text
    page.get_by_role("button", name="Copy as grid").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text.startsWith('net: tiny'))")


def test_a_sequence_is_marked_and_plays(real: str, open_page: Open) -> None:
    """An animated WebP has a badge on the wall and no slider; where little motion is wished it waits to be started."""
    page = open_page(real, "#/wall?frames=3", reduced_motion="reduce")
    expect(page.locator(f"{TILES} .badge")).to_have_text("▶ video")
    page.locator(f"{TILES} a").first.click()
    expect(page.locator("#picture .before")).to_have_count(0)
    expect(page.locator("#picture .still img")).to_have_attribute("src", re.compile("^thumbs/"))
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#picture .still img")).to_have_attribute("src", re.compile(r"\.webp$"))
    assert "dreamjobs manifest" in page.evaluate("recipe.command(rows.find(location.hash.match(/p=(\\w+)/)[1]))")


def test_an_mp4_is_a_video(tmp_path: Path, open_page: Open) -> None:
    """What ends in .mp4 is shown by the browser's player."""
    rows = [row(0, output="images/zoom.mp4", frames=9)]
    page = open_page(site(str(tmp_path), rows), "#/wall?p=" + "0" * 16, allow=MISSING)
    video = page.locator("#picture video")
    expect(video).to_have_attribute("src", "../images/zoom.mp4")
    assert video.evaluate("v => v.controls && v.loop && v.muted")


def test_a_missing_picture_leaves_words(tmp_path: Path, open_page: Open) -> None:
    """Where the picture is gone or of a kind that browsers do not show, the page says so."""
    page = open_page(site(str(tmp_path), [row(0, output="images/a.tiff")]), allow=MISSING)
    expect(page.locator(TILES)).to_contain_text("no preview")
    page.locator(f"{TILES} a").click()
    expect(page.locator("#picture .instead")).to_contain_text("cannot show this tiff file")


# ---- addresses -------------------------------------------------------------------------------------------------


def test_a_picture_has_an_address(real: str, open_page: Open) -> None:
    """A link opens its picture; Back after opening one by hand closes it; Escape after a link leads to the wall."""
    page = open_page(real, "#/wall?objective=parts&sort=rise")
    page.locator(f"{TILES} a").nth(2).click()
    address = page.evaluate("location.hash")
    name = page.locator("#picture-name").inner_text()
    page.go_back()
    expect(page.locator("#picture")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#picture-name")).to_have_text(name)
    other = open_page(real, address)
    expect(other.locator("#picture-name")).to_have_text(name)
    other.keyboard.press("Escape")
    expect(other.locator("#picture")).to_be_hidden()
    assert other.evaluate("location.hash") == "#/wall?objective=parts&sort=rise"
    expect(other.locator("#count")).to_have_text(f"8 of {ALL} pictures")


def test_views_have_addresses(real: str, open_page: Open) -> None:
    """Each view by its link; Back from one to the other; a tab leads to its view as it was left."""
    page = open_page(real, "#/wall?objective=parts")
    tabs = page.locator("#tabs a")
    tabs.get_by_text("Matrix").click()
    expect(page.locator("#matrix")).to_be_visible()
    tabs.get_by_text("Run").click()
    expect(page.locator("#run")).to_contain_text("time at work")
    tabs.get_by_text("Wall").click()
    expect(page.locator("#count")).to_have_text(f"8 of {ALL} pictures")
    page.go_back()
    expect(page.locator("#run")).to_be_visible()


@pytest.mark.parametrize(
    "address", ["#/nowhere", "#/wall?p=gone", "#/wall?objective=gone", "#/matrix?x=gone&y=%00", "#%%%"]
)
def test_strange_addresses_do_no_harm(real: str, open_page: Open, address: str) -> None:
    """An address of a picture or a value that is no longer there shows what there is."""
    page = open_page(real, address)
    expect(page.locator("#tabs a").first).to_be_visible()
    expect(page.locator("#picture")).to_be_hidden()


def test_the_page_opens_from_a_bucket(s3_bucket_url: str, open_page: Open) -> None:
    """A run on S3 gets its site there; over HTTPS, by objects' own types, all of it is found, strange names too."""
    run = open_store(f"{s3_bucket_url}/run")
    name = "a b#1 50%+é.png"
    run.put(f"images/{name}", encoded(noise(1, (64, 48))))
    put_rows(run.url, [row(0, name, output=f"images/{name}", width=64, height=48)])
    assert write_gallery(run) == f"{s3_bucket_url}/run/gallery/index.html"

    def serve(route: Route) -> None:
        key = "run" + unquote(urlsplit(route.request.url).path)
        found = s3_client().get_object(Bucket=s3_bucket_url.removeprefix("s3://"), Key=key)
        route.fulfill(body=found["Body"].read(), content_type=found["ContentType"])

    page = open_page("https://site.test/gallery/index.html", "#/wall?p=" + "0" * 16, serve=serve)
    expect(page.locator("#picture-name")).to_have_text(name)
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    expect(page.locator("#picture .facts")).to_contain_text("on cpu")


# ---- failures and names ----------------------------------------------------------------------------------------


def test_failures_are_listed_with_reasons(real: str, open_page: Open) -> None:
    """What failed alike is one line, with its photograph, how many settings, the error's type and message."""
    page = open_page(real)
    page.locator("#tabs a", has_text="Failed").click()
    expect(page.locator("#failed h2")).to_have_text("6 failed jobs")
    line = page.locator("#failed tbody tr")
    expect(line).to_have_count(1)
    expect(line).to_contain_text("torn<script>.png")
    expect(line).to_contain_text("6 settings")
    expect(line).to_contain_text("ImageError")
    expect(line).to_contain_text("no picture that can be read")


def test_hostile_names_are_text(real: str, open_page: Open) -> None:
    """Names made of HTML are shown as they are, in every view, and nothing in them runs."""
    page = open_page(real)
    assert set(HOSTILE) <= set(names(page))
    page.locator("details[data-field=photograph] summary").click()
    expect(page.locator(".menu .value", has_text=HOSTILE[0])).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(f"{TILES} a", has_text=HOSTILE[0]).first.click()
    expect(page.locator("#picture-name")).to_have_text(HOSTILE[0])
    page.wait_for_function("document.querySelector('#picture .before').naturalWidth > 0")
    page.keyboard.press("Escape")
    for view in ("matrix?y=photograph&x=objective", "failed", "run"):
        page.evaluate(f"location.hash = '#/{view}'")
        page.wait_for_timeout(50)
    assert page.locator("img[src='x'], b:has-text('bold<!--') b").count() == 0


def test_inline_script_is_refused(real: str, open_page: Open) -> None:
    """The policy holds on a page from disk: an inline script that got in would not run."""
    page = open_page(real, allow="Content Security Policy")
    blocked = page.evaluate(
        """() => new Promise(resolve => {
            addEventListener('securitypolicyviolation', event => resolve(event.violatedDirective), { once: true });
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
        })"""
    )
    assert blocked.startswith("script-src")
    assert page.evaluate("window.ran") is None


# ---- screens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "#/matrix", "#/failed", "#/run", "picture", "filters"])
def test_a_phone_needs_no_sideways_scrolling(real: str, open_page: Open, address: str) -> None:
    """At 360 pixels everything fits the width, in every view."""
    page = open_page(
        real,
        address if address.startswith("#") else "",
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
    )
    if address == "picture":
        page.locator(f"{TILES} a").first.click()
        expect(page.locator("#picture .facts")).to_contain_text("on cpu")
        assert page.locator("#picture").evaluate("n => n.scrollWidth <= n.clientWidth")
    if address == "filters":
        page.get_by_role("button", name="Filters", exact=True).click()
        tick(page, "objective", "parts")
        expect(page.locator("#count")).to_have_text(f"8 of {ALL} pictures")
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_text_has_contrast(real: str, open_page: Open, scheme: Any) -> None:
    """Text, dim text, links and errors have 4.5 to 1 on the page and on raised parts, dark and light (WCAG 2 AA)."""
    page = open_page(real, color_scheme=scheme)
    colours = page.evaluate(
        """names => Object.fromEntries(names.map(name => {
            const probe = document.createElement('i');
            probe.style.color = `var(--${name})`;
            document.body.append(probe);
            return [name, getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(Number)];
        }))""",
        ["back", "raised", "sunk", "text", "dim", "accent", "on-accent", "alarm"],
    )
    pairs = [(front, back) for front in ("text", "dim", "accent", "alarm") for back in ("back", "raised")]
    for front, back in [*pairs, ("dim", "sunk"), ("on-accent", "accent")]:
        assert contrast(colours[front], colours[back]) >= 4.5, (front, back)


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast ratio of two sRGB colours of 0 to 255, as WCAG 2 defines it."""

    def luminance(colour: list[float]) -> float:
        linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


# ---- 20,000 pictures -------------------------------------------------------------------------------------------

# What a person does, as JavaScript; {n} differs from one time to the next.
ACTS = {
    "search": "q.value = 'img_0{n}'; q.dispatchEvent(new Event('input', { bubbles: true }))",
    "filter": "place.go({ objective: ['mix8c', 'mix6a', 'mix4b', 'mix8d'][{n} % 4], octaves: String(2 + {n} % 4) })",
    "clear": "place.go({ objective: null, octaves: null, q: null, sort: ['end', null][{n} % 2] })",
    "sort": "place.go({ sort: ['rise', 'seconds', 'end', 'octaves'][{n} % 4], order: ['up', 'down'][{n} % 2] })",
    "menu": "document.querySelector('[data-field=photograph]').open = {n} % 2 === 0",
    "scroll": "scrollTo(0, {n} * 9973 % document.documentElement.scrollHeight)",
    "end": "scrollTo(0, {n} % 2 ? 0 : document.documentElement.scrollHeight)",
    "open": "place.go({ p: rows.id[{n} * 1999 % rows.count] })",
    "close": "place.go({ p: {n} % 2 ? null : rows.id[5] })",
    "matrix": "place.go({ y: 'photograph', x: ['objective', 'octaves'][{n} % 2] }, { view: 'matrix' })",
    "down the matrix": "document.getElementById('grid').scrollTop = {n} * 7919",
    "wall": "place.go({}, { view: ['run', 'wall'][{n} % 2] })",
}
LIMIT_MS = 100
TIMED = """async (act) => {
    const q = document.querySelector('#filters input[type=search]');
    const begun = performance.now();
    eval(act);
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - begun;
}"""


def test_20000_pictures_answer_within_100_ms(large: str, open_page: Open) -> None:
    """Each thing that a person does, from the event until the next frame is drawn, takes less than 100 ms.

    The best of some tries counts, so that it is the page that is measured and not what else the machine does.
    """
    page = open_page(large, allow=MISSING)
    expect(page.locator("#count")).to_have_text("20,000 pictures")
    best = {name: min(timings(page, act)) for name, act in ACTS.items()}
    assert {name: ms for name, ms in best.items() if ms >= LIMIT_MS} == {}
    assert page.locator(TILES).count() < 400


def timings(page: Page, act: str) -> list[float]:
    """Milliseconds of at least three tries, more where they were slow."""
    found: list[float] = []
    while len(found) < 3 or (min(found) >= LIMIT_MS and len(found) < 30):
        found.append(page.evaluate(TIMED, act.replace("{n}", str(len(found) + 1))))
        page.wait_for_timeout(50)
    return found


def test_the_whole_wall_can_be_reached(large: str, open_page: Open) -> None:
    """The keyboard's End leads to the last of 20,000 pictures, which then is drawn and has the focus."""
    page = open_page(large, allow=MISSING)
    page.locator(f"{TILES} a").first.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.at") == "19999"
    expect(page.locator(f"{TILES} a:focus")).to_be_in_viewport()
    expect(page.locator(f"{TILES} a:focus .caption b")).to_have_text("IMG_0999.jpg")
