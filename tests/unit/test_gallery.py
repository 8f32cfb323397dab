"""The gallery's page: escaped, linked by relative paths, failures listed."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

from dreamjobs.gallery import page
from dreamjobs.params import DreamParams

EVIL = "<img src=x onerror=alert(1)>.jpg"


def row(image: str = "cat.jpg", **cells: Any) -> dict[str, Any]:
    base = {"id": "0" * 32, "row": 1, "status": "done", "output": f"images/{image}", "width": 4, "height": 3}
    return {"image": image, "error_type": None, "error": None} | base | DreamParams().model_dump() | cells


def failed(image: str, error: str, kind: str = "ImageError") -> dict[str, Any]:
    return row(image, status="failed", output=None, width=None, height=None, error_type=kind, error=error)


class Reader(HTMLParser):
    """Collects tags and text as a browser would."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_names_parameters_and_errors_are_escaped() -> None:
    """A name, objective or error made of HTML is shown as text and makes no tag or attribute."""
    text = page(
        [
            row(EVIL, objective='"><script>alert(2)</script>'),
            row('" onload="alert(3)'),
            failed(EVIL, "<script>alert(4)</script>", "<b>"),
        ]
    )
    found = Reader(text)
    assert "script" not in {name for name, _ in found.tags}
    assert "b" not in {name for name, _ in found.tags}
    assert len(found.all("img")) == 2
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert sum(EVIL in text for text in found.texts) == 2
    assert any("<script>alert(4)</script>" in text for text in found.texts)


def test_links_are_relative_and_quoted() -> None:
    """Pictures are linked from gallery/ to images/, with what a url would take otherwise quoted."""
    names = ["a b/c#1.jpg", "50%.jpg", "é?.jpg", "d:e.jpg", EVIL]
    found = Reader(page([row(name) for name in names]))
    for tag, attribute in (("img", "src"), ("a", "href")):
        links = [attributes[attribute] or "" for attributes in found.all(tag)]
        assert [unquote(link) for link in links] == [f"../images/{name}" for name in names]
        assert not any(set(link) & set(' #?"<>') for link in links)


def test_every_picture_is_described() -> None:
    """Each picture has its size and a text with the photograph and what differs from the defaults."""
    (image,) = Reader(page([row(octaves=7, weights="w.pth")])).all("img")
    assert image["alt"] == "Dream of cat.jpg: mix8c, octaves 7"
    assert (image["width"], image["height"]) == ("4", "3")


def test_failures_stand_in_a_table() -> None:
    """Failed rows are listed with photograph, settings and error, and are not shown as pictures."""
    found = Reader(page([row(), failed("bad.jpg", "truncated after 10 bytes")]))
    assert len(found.all("img")) == 1
    assert "1 pictures" in found.texts
    assert "1 failed" in found.texts
    assert found.texts[found.texts.index("bad.jpg") :][:3] == [
        "bad.jpg",
        "mix8c",
        "ImageError: truncated after 10 bytes",
    ]
    assert len(found.all("tr")) == 2


def test_a_page_without_failures_has_no_table() -> None:
    """Nothing failed, no table; nothing done, an empty page all the same."""
    assert not Reader(page([row()])).all("table")
    assert "0 pictures" in Reader(page([])).texts


def test_the_page_needs_no_script_and_no_network() -> None:
    """The page has no script, and nothing in it is loaded from elsewhere."""
    found = Reader(page([row(), failed("bad.jpg", "no")]))
    assert not found.all("script")
    assert not found.all("link")
    links = [value for _, attributes in found.tags for name, value in attributes.items() if name in ("src", "href")]
    assert links == ["../images/cat.jpg"] * 2
