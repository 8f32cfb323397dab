"""Objectives: the expressions, their algebra, and what they are worth over activations and pixels."""

from __future__ import annotations

import functools
import itertools
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dreamjobs.errors import ObjectiveError
from dreamjobs.nets import Reader, load_net
from dreamjobs.objectives import Objective, Term, files, measures, parse
from dreamjobs.objectives.grammar import (
    ClassLogit,
    Direction,
    Guide,
    Layer,
    Penalty,
    Rank,
    Style,
    TextMatch,
)
from dreamjobs.objectives.terms import Bound, LocalTerm, View, bind


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """On layers this small, threads wait for each other ten times longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# The grammar, to the letter ---------------------------------------------------------------------------------------

names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True) | st.sampled_from(
    ["mean", "guide", "style", "class", "text", "strong"]
)
layers = names.filter(lambda name: name not in ("tv", "l2"))
plain_layers = layers.filter(lambda name: name not in ("class", "text"))
numbers = st.sampled_from(["2", "0.5", "3.", "1e-3", "12.25", "7e+2", "0", "1", "0.1"])
channels = st.integers(0, 99).map(str)
ranks = st.builds("{}({})".format, st.sampled_from(["strong", "weak", "average"]), st.integers(1, 20))
spots = st.builds("@{!r} ,{!r}".format, st.floats(0, 1), st.floats(0, 1) | st.just(1))
quoted = st.text(st.characters(exclude_characters='"', exclude_categories=["Cs"]), min_size=1, max_size=9).filter(
    lambda text: bool(text.strip())
)
paths = quoted.map('"{}"'.format) | st.from_regex(r"[\w./:~%+@-]{1,12}", fullmatch=True)


@st.composite
def pick_lists(draw: st.DrawFn) -> str:
    """Channels to take and to leave out and at most one ranking, in any order."""
    picks = draw(st.lists(channels | channels.map("- {}".format), min_size=1, max_size=4))
    picks += draw(st.lists(ranks, max_size=1))
    return " ,".join(draw(st.permutations(picks)))


atoms = st.one_of(
    layers,
    st.builds("{}:{}".format, plain_layers, pick_lists()),
    st.builds("{} : {}{}".format, plain_layers, pick_lists(), spots),
    st.builds("mean({})".format, layers),
    st.builds("mean ( {}:{} )".format, layers, pick_lists()),
    st.builds("{}({}, {} )".format, st.sampled_from(["guide", "style", "direction"]), layers, paths),
    st.builds("class:{}".format, st.sampled_from(["lion", "291", '"great white shark"', '" 3 | - + "'])),
    quoted.map('text:"{}"'.format),
    st.sampled_from(["tv", "l2"]),
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return (
        st.builds("{}*{}".format, numbers, inner)
        | st.builds("({} + {})".format, inner, inner)
        | st.builds("( {}-{})".format, inner, inner)
        | st.builds("(-{} )".format, inner)
    )


expressions = st.lists(st.recursive(atoms, _larger, max_leaves=5), min_size=1, max_size=3).map("| ".join)


@settings(max_examples=300)
@given(expressions)
def test_parse_print_parse_is_the_identity(text: str) -> None:
    """What an expression stands for, printed and parsed, stands for the same; printed again it is the same text."""
    first = parse(text)
    printed = " | ".join(map(str, first))
    second = parse(printed)
    assert " | ".join(map(str, second)) == printed
    assert [[term.what for term in one.terms] for one in second] == [[t.what for t in one.terms] for one in first]
    for one, other in zip(second, first, strict=True):
        assert [term.weight for term in one.terms] == pytest.approx([t.weight for t in other.terms], rel=1e-11)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([*'ab:1,-+*()|@".0 ', "mean(", "guide(", "class", "text", "strong(", "tv"])).map("".join)
)
def test_any_text_parses_or_is_an_objective_error(text: str) -> None:
    """No text makes the parser fail in another way, and the caret of an error lies within the text or at its end."""
    try:
        parse(text)
    except ObjectiveError as error:
        _, shown, caret = str(error).split("\n")
        assert caret.strip() == "^"
        assert len(caret) <= len(shown) + 1


def one(text: str) -> Objective:
    """The objective of an expression that has only one."""
    (objective,) = parse(text)
    return objective


A, B = Objective((Term(Layer("a")),)), Objective((Term(Layer("b", (1, 2))),))


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("a", A),
        ("  a ", A),
        ("b:1,2", B),
        ("b : 1 , 2", B),
        ("a + b:1,2", A + B),
        ("a - b:1,2", A - B),
        ("2*a", 2 * A),
        ("2 * a", A * 2),
        ("-a", -1.0 * A),
        ("-a + b:1,2", -1.0 * A + B),
        ("2*(a - b:1,2)", 2 * A - 2 * B),
        ("a - (a - b:1,2)", A - A + B),
        ("-(a + b:1,2) - a", -1.0 * A - B - A),
        ("2*3*a", 6 * A),
        ("0.5*(2*a + 4*(b:1,2))", A + 2 * B),
        ("features.9 + layer1.0.conv1:3", Objective((Term(Layer("features.9")), Term(Layer("layer1.0.conv1", (3,)))))),
        ("1.5e-3*a", 1.5e-3 * A),
    ],
)
def test_expressions_are_the_algebra(text: str, objective: Objective) -> None:
    """Text and Python operators build the same objective: sums, differences, factors, signs, parentheses."""
    assert one(text) == objective


@pytest.mark.parametrize(
    ("text", "what", "printed"),
    [
        ("a:-3", Layer("a", without=(3,)), "a:-3"),
        ("a:-3,5", Layer("a", (5,), without=(3,)), "a:5,-3"),
        ("a:strong(3),7,-2", Layer("a", (7,), (2,), Rank("strong", 3)), "a:7,strong(3),-2"),
        ("a:weak(1)@0.5,1", Layer("a", rank=Rank("weak", 1), spot=(0.5, 1)), "a:weak(1)@0.5,1"),
        ("a : 3 @ 5e-1 , 0", Layer("a", (3,), spot=(0.5, 0)), "a:3@0.5,0"),
        ("mean(a)", Layer("a", mean=True), "mean(a)"),
        ("mean (a:average(2))", Layer("a", rank=Rank("average", 2), mean=True), "mean(a:average(2))"),
        ("guide(a, s3://bucket/key.jpg)", Guide("a", "s3://bucket/key.jpg"), "guide(a, s3://bucket/key.jpg)"),
        (
            "guide(a,C - 2/b%20+~@1.jpg)".replace(" - ", "-"),
            Guide("a", "C-2/b%20+~@1.jpg"),
            "guide(a, C-2/b%20+~@1.jpg)",
        ),
        ('style(a, "my wave (1).jpg")', Style("a", "my wave (1).jpg"), 'style(a, "my wave (1).jpg")'),
        ('style(a, "plain.jpg")', Style("a", "plain.jpg"), "style(a, plain.jpg)"),
        ("direction(a, v.npy)", Direction("a", "v.npy"), "direction(a, v.npy)"),
        ("class:lion", ClassLogit("lion"), "class:lion"),
        ("class:291", ClassLogit("291"), "class:291"),
        ('class:"great white shark"', ClassLogit("great white shark"), 'class:"great white shark"'),
        ("class : golden_retriever", ClassLogit("golden_retriever"), "class:golden_retriever"),
        ('text:"a + -b | c"', TextMatch("a + -b | c"), 'text:"a + -b | c"'),
        ("tv", Penalty("tv"), "tv"),
        ("l2", Penalty("l2"), "l2"),
        ("mean", Layer("mean"), "mean"),
        ("guide:1", Layer("guide", (1,)), "guide:1"),
        ("class", Layer("class"), "class"),
    ],
)
def test_each_kind_of_term_is_written_and_printed(text: str, what: object, printed: str) -> None:
    """Every kind of term parses to its record, which prints in one form that parses to the same."""
    assert one(text) == Objective((Term(what),))  # type: ignore[arg-type]
    assert str(one(text)) == printed
    assert one(printed) == one(text)


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (A - 0.5 * B, "a - 0.5*b:1,2"),
        (-1.0 * A, "-1*a"),
        (1e-9 * A + B, "1e-09*a + b:1,2"),
        (A - A, "a - 1*a"),
        (A - 5 * one("tv"), "a - 5*tv"),
    ],
)
def test_an_objective_prints_as_it_is_written(objective: Objective, text: str) -> None:
    """The text of an objective is an expression for it."""
    assert str(objective) == text
    assert one(text) == objective


def test_octaves_have_objectives_of_their_own() -> None:
    """`|` parts an expression into objectives, in order, whatever quotes hold."""
    assert parse('a | b:1,2 - a|text:"|"') == (A, B - A, one('text:"|"'))


def test_layers_and_files_are_named_once() -> None:
    """Layers and files come each once, in order of first use; classes, texts and penalties have neither."""
    text = 'b + guide(a, x.jpg) - 2*b:1 + style(c, y.jpg) + class:1 + text:"t" - tv'
    text += " | direction(d, v.npy) + guide(c, x.jpg)"
    first, second = parse(text)
    assert first.layers == ("b", "a", "c")
    assert first.files == ("x.jpg", "y.jpg")
    assert second.files == ("v.npy", "x.jpg")
    assert files(text) == ("x.jpg", "y.jpg", "v.npy")
    assert files("mix8d") == ()


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("", 0, "a layer is expected"),
        ("a +", 3, "a layer is expected"),
        ("a  ++ b", 4, "a layer is expected"),
        ("2 a", 0, "a layer is expected"),
        ("*a", 0, "a layer is expected"),
        ("--a", 1, "a layer is expected"),
        ("2*", 2, "a layer is expected"),
        ("a + $b", 4, "a layer is expected"),
        ("a |", 3, "a layer is expected"),
        ("| a", 0, "a layer is expected"),
        ("mean()", 5, "a layer is expected"),
        ("a b", 2, "`+`, `-`, `|` or the end"),
        ("a)", 1, "`+`, `-`, `|` or the end"),
        ("a/2", 1, "`+`, `-`, `|` or the end"),
        ("a:1 2", 4, "`+`, `-`, `|` or the end"),
        ("a:1.5", 3, "`+`, `-`, `|` or the end"),
        ("b + a:1*c", 7, "`+`, `-`, `|` or the end"),
        ("tv:3", 2, "`+`, `-`, `|` or the end"),
        ("class:1,2", 7, "`+`, `-`, `|` or the end"),
        ("(a", 2, "`)` is expected"),
        ("(a b)", 3, "`)` is expected"),
        ("(a | b)", 3, "`)` is expected"),
        ("mean(a:1@0,0)", 8, "`)` is expected"),
        ("guide(a, b c)", 11, "`)` is expected"),
        ("guide(a)", 7, "`,` is expected"),
        ("guide(a:3, b.jpg)", 7, "`,` is expected"),
        ("a:3@0.5", 7, "`,` is expected"),
        ("a:strong 3", 9, "`(` is expected"),
        ("a:", 2, "number of a channel"),
        ("a:x", 2, "known are strong, weak, average"),
        ("a:stong(3)", 2, "did you mean `strong`?"),
        ("a:--1", 3, "number of a channel"),
        ("a:1,", 4, "number of a channel"),
        ("a:strong()", 9, "how many channels"),
        ("a:strong(0)", 9, "how many channels"),
        ("a:weak(1),3,strong(1)", 12, "one ranking"),
        ("a@0.5,0.5", 1, "channels are expected before `@`, such as `a:3@0.5,0.5`"),
        ("a:3@1.5,0", 4, "from 0 to 1"),
        ("a:3@0,-1", 6, "from 0 to 1"),
        ("b + gide(a, b.jpg)", 4, "did you mean `guide`?"),
        ("guide(a, )", 9, "path or url"),
        ('style(a, "")', 9, "path or url"),
        ('style(a, "b.jpg)', 9, "path or url"),
        ("class:", 6, "name of a class"),
        ("class:,", 6, "name of a class"),
        ('class:""', 6, "name of a class"),
        ("class:-1", 6, "name of a class"),
        ("text:wave", 5, "text in double quotes"),
        ('text:" "', 5, "text in double quotes"),
        ("b + 1e999*a", 4, "infinite"),
        ("1e200*(1e200*a)", 0, "infinite"),
        ("1e999*(0*a)", 0, "infinite"),
    ],
)
def test_the_caret_is_under_the_place(text: str, place: int, says: str) -> None:
    """A wrong expression is shown with a caret under where it stops making sense."""
    with pytest.raises(ObjectiveError) as error:
        parse(text)
    reason, shown, caret = str(error.value).split("\n")
    assert says in reason
    assert shown == "  " + text
    assert caret == "  " + " " * place + "^"


def test_of_a_long_text_the_place_is_shown() -> None:
    """The error in a text of thousands of signs shows what is around the place, its lines made one."""
    with pytest.raises(ObjectiveError, match="a layer is expected") as error:
        parse("a +\n" * 1000 + "?" + " + a" * 1000)
    _, shown, caret = str(error.value).split("\n")
    assert len(shown) < 150
    assert shown[len(caret) - 1] == "?"


@pytest.mark.parametrize("text", ["(" * 5000 + "a" + ")" * 5000, "2*" * 5000 + "a"])
def test_hostile_nesting_is_an_input_error(text: str) -> None:
    """An expression nested thousands deep, as a manifest may hold, is refused as any other mistake."""
    with pytest.raises(ObjectiveError, match="nested too deeply"):
        parse(text)


def test_hostile_digits_are_an_input_error() -> None:
    """A channel of five thousand digits is refused before it is made a number."""
    with pytest.raises(ObjectiveError, match="number of a channel"):
        parse("a:" + "9" * 5000)


def test_the_page_shows_expressions() -> None:
    """Every expression in the first column of docs/objectives.md's table parses."""
    page = (Path(__file__).parents[2] / "docs/objectives.md").read_text()
    rows = re.findall(r"^\| (`.+?`) \| .*\|$", page, flags=re.MULTILINE)
    written = [text.replace(r"\|", "|") for row in rows for text in re.findall("`([^`]+)`", row)]
    assert len(written) >= 20
    assert all(parse(text) for text in written)


def test_the_grammar_needs_no_torch() -> None:
    """The driver parses expressions without loading torch."""
    code = (
        "import sys; sys.modules['torch'] = None; from dreamjobs.objectives import files; print(files('guide(a, b)'))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.stdout == "('b',)\n", shown.stderr


# What the terms are worth -----------------------------------------------------------------------------------------


def random(*shape: int, seed: int = 0) -> Tensor:
    """Seeded normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class FakeContext:
    """Made-up features, vectors and photographs for layers with the given numbers of channels."""

    counts: dict[str, int] = field(default_factory=lambda: {"edges": 8, "parts": 12, "things": 16, "logits": 10})
    class_layer: str = "logits"

    def class_index(self, label: str) -> int:
        return {"lion": 7, "none": 99}[label]

    def channels(self, layer: str) -> int:
        return self.counts[layer]

    def features(self, layer: str, file: str) -> Tensor:
        return random(1, self.counts[layer], 3, 4, seed=len(file)) * (file != "black.jpg")

    def vector(self, file: str) -> Tensor:
        return {"v.npy": random(16, seed=5), "zero.npy": torch.zeros(16), "short.npy": torch.ones(3)}[file]

    def mean_activation(self, layer: str) -> Tensor:
        means = torch.zeros(self.counts[layer])
        means[:5] = torch.tensor([0.3, 0.1, 0.3, 0.2, 0.5])
        return means

    def text_matcher(self, text: str) -> Callable[[Tensor], Tensor]:
        return lambda picture: (picture * len(text)).sin().mean()


CONTEXT = FakeContext()


def whole(layer: Tensor) -> View:
    """The view of a layer in one block."""
    return View(layer.shape[2], layer.shape[3], 0, 0)


def value(bound: Bound, activations: dict[str, Tensor], picture: Tensor | None = None) -> Tensor:
    """The objective over whole layers and a whole picture."""
    total = torch.zeros(())
    for local in bound.local:
        total = total + local.part(activations[local.layer], whole(activations[local.layer]))
    for summed in bound.sums:
        layer = activations[summed.layer]
        total = total + summed.value(summed.reduce(layer, whole(layer)))
    for term in bound.pixels:
        assert picture is not None
        total = total + term.value(picture)
    return total


def _guided(layer: Tensor, file: str) -> Tensor:
    """The guide's objective, position by position."""
    features = CONTEXT.features("things", file)[0].flatten(1).T
    best = [max(position @ feature for feature in features) for position in layer[0].flatten(1).T]
    return torch.stack(best).mean() / 16


def _gram(layer: Tensor) -> Tensor:
    return torch.einsum("nchw,ndhw->cd", layer, layer) / (layer.shape[2] * layer.shape[3])


def _style(layer: Tensor, file: str) -> Tensor:
    wanted = _gram(CONTEXT.features("things", file))
    return -((_gram(layer) - wanted) ** 2).mean() / (wanted**2).mean()


def _roughness(p: Tensor) -> Tensor:
    down, along = (p[:, :, 1:] - p[:, :, :-1]) ** 2, (p[..., 1:] - p[..., :-1]) ** 2
    return torch.cat([down.flatten(), along.flatten()]).mean()


# Expression -> the same by hand, given the activations t of `things`, p of `parts`, c of the logits, and the picture x.
# The mean activations of the photograph are 0.3 0.1 0.3 0.2 0.5 and then zeros.
BY_HAND: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "things": lambda t, p, c, x: (t**2).mean() / 2,
    "things:3": lambda t, p, c, x: t[:, 3].mean(),
    "things:1,2": lambda t, p, c, x: (t[:, 1].mean() + t[:, 2].mean()) / 2,
    "things:1,1,2": lambda t, p, c, x: (t[:, 1].mean() + t[:, 2].mean()) / 2,
    "things:-0,-15": lambda t, p, c, x: (t[:, 1:15] ** 2).mean() / 2,
    "things:4,5,-4": lambda t, p, c, x: t[:, 5].mean(),
    "things:strong(1)": lambda t, p, c, x: t[:, 4].mean(),
    "things:strong(3)": lambda t, p, c, x: t[:, [4, 0, 2]].mean(),
    "things:strong(3),9,-0": lambda t, p, c, x: t[:, [4, 2, 9]].mean(),
    "things:weak(2)": lambda t, p, c, x: t[:, [5, 6]].mean(),
    "things:weak(16)": lambda t, p, c, x: t.mean(),
    "things:average(2)": lambda t, p, c, x: t[:, [12, 13]].mean(),
    "mean(things)": lambda t, p, c, x: t.mean(),
    "mean(things:3)": lambda t, p, c, x: t[:, 3].mean(),
    "mean(things:-0)": lambda t, p, c, x: t[:, 1:].mean(),
    "things:3@0,0": lambda t, p, c, x: t[0, 3, 0, 0],
    "things:3,4@1,0.5": lambda t, p, c, x: t[0, 3:5, -1, t.shape[3] // 2].mean(),
    "things:-0@0.5,1": lambda t, p, c, x: (t[0, 1:, t.shape[2] // 2, -1] ** 2).mean() / 2,
    "guide(things, a.jpg)": lambda t, p, c, x: _guided(t, "a.jpg"),
    "style(things, b.jpg)": lambda t, p, c, x: _style(t, "b.jpg"),
    "direction(things, v.npy)": lambda t, p, c, x: (
        torch.tensordot(CONTEXT.vector("v.npy"), t[0], 1).mean() / (CONTEXT.vector("v.npy") ** 2).sum().sqrt()
    ),
    "class:lion": lambda t, p, c, x: c[0, 7].mean(),
    'text:"waves"': lambda t, p, c, x: (x * 5).sin().mean(),
    "tv": lambda t, p, c, x: _roughness(x),
    "l2": lambda t, p, c, x: ((x - 0.5) ** 2).mean(),
    "0.5*parts": lambda t, p, c, x: (p**2).mean() / 4,
    "parts - 3*things:0": lambda t, p, c, x: (p**2).mean() / 2 - 3 * t[0, 0].mean(),
    "-(things + parts:11)": lambda t, p, c, x: -(t**2).mean() / 2 - p[:, 11].mean(),
    "2*guide(things, a.jpg) - 3*style(things, b.jpg)": lambda t, p, c, x: (
        2 * _guided(t, "a.jpg") - 3 * _style(t, "b.jpg")
    ),
    "-2*class:lion - 5*tv + 3*l2": lambda t, p, c, x: (
        -2 * c[0, 7].mean() - 5 * _roughness(x) + 3 * ((x - 0.5) ** 2).mean()
    ),
}
KINDS = [text for text in BY_HAND if "*" not in text and text[0] != "-"]


@dataclass(frozen=True)
class Seen:
    """A random picture and what the tiny net makes of it."""

    picture: Tensor
    activations: dict[str, Tensor]

    def gradient(self, value: Tensor) -> Tensor:
        """By the pixels; zeros where they do not matter."""
        (found,) = torch.autograd.grad(value, self.picture, retain_graph=True, allow_unused=True)
        return torch.zeros_like(self.picture) if found is None else found


@functools.cache
def _reader() -> Reader:
    return load_net("tiny").reader(("parts", "things", "logits"))


def look(picture: Tensor) -> Seen:
    """A picture seen by the tiny net."""
    picture = picture.detach().clone().requires_grad_()
    return Seen(picture, _reader()(picture))


def photograph() -> Tensor:
    """Random pixels of an odd size."""
    return torch.rand(1, 3, 41, 30, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("text", list(BY_HAND))
def test_each_kind_equals_a_plain_computation(text: str) -> None:
    """Value and gradient of each kind of term are those of the formula written out, on the tiny net."""
    seen = look(photograph())
    layers = seen.activations
    expected = BY_HAND[text](layers["things"], layers["parts"], layers["logits"], seen.picture)
    found = value(bind(one(text), CONTEXT), layers, seen.picture)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-8)
    gradient, wanted = seen.gradient(found), seen.gradient(expected)
    assert torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-6 * wanted.abs().max().item())


@pytest.mark.parametrize("text", list(BY_HAND))
def test_each_kind_equals_a_plain_computation_on_noise(text: str) -> None:
    """The same on normal activations, of either sign, whose gradients are not zero."""
    t, p, c = (random(1, count, 6, 5, seed=count).requires_grad_() for count in (16, 12, 10))
    x = photograph().requires_grad_()
    expected = BY_HAND[text](t, p, c, x)
    found = value(bind(one(text), CONTEXT), {"things": t, "parts": p, "logits": c}, x)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-7)
    wanted = torch.autograd.grad(expected, (t, p, c, x), allow_unused=True, materialize_grads=True)
    gradients = torch.autograd.grad(found, (t, p, c, x), allow_unused=True, materialize_grads=True)
    assert max(by.abs().max() for by in wanted) > 0
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-7) for one, other in zip(gradients, wanted, strict=True))


@settings(max_examples=30)
@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.floats(-3, 3))
def test_gradients_add_and_scale(text: str, other: str, weight: float) -> None:
    """The gradient of A + w B is the gradient of A plus w times the gradient of B."""
    seen = look(photograph())
    a, b = one(text), one(other)
    gradient_a, gradient_b, both = (
        seen.gradient(value(bind(objective, CONTEXT), seen.activations, seen.picture))
        for objective in (a, b, a + weight * b)
    )
    wanted = gradient_a + weight * gradient_b
    scale = gradient_a.abs().max() + abs(weight) * gradient_b.abs().max()
    assert (both - wanted).abs().max() <= 1e-5 * scale


@settings(max_examples=150)
@given(st.sampled_from([text for text in KINDS if "things" in text or "class" in text]), st.data())
def test_parts_sum_to_the_whole(text: str, data: st.DataObject) -> None:
    """Split anyhow into blocks, some of them empty, the parts of a layer sum to the term of the whole."""
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    y, x = data.draw(st.integers(0, rows)), data.draw(st.integers(0, columns))
    shift = (data.draw(st.floats(-1, 1)), data.draw(st.floats(-1, 1)))
    layer = random(1, 16, rows, columns, seed=rows * 10 + columns).double()
    bound = bind(one("2*" + text), CONTEXT)
    blocks = [(top, left, layer[:, :, top:bottom, left:right])
              for top, bottom in ((0, y), (y, rows)) for left, right in ((0, x), (x, columns))]  # fmt: skip
    all_of_it = View(rows, columns, 0, 0, shift)
    for term in bound.local:
        parts = [term.part(block, View(rows, columns, top, left, shift)) for top, left, block in blocks]
        assert sum(parts).item() == pytest.approx(term.part(layer, all_of_it).item(), rel=1e-12, abs=1e-12)  # type: ignore
    for summed in bound.sums:
        total = sum(summed.reduce(block, View(rows, columns, top, left, shift)) for top, left, block in blocks)
        expected = summed.value(summed.reduce(layer, all_of_it))
        assert summed.value(total).item() == pytest.approx(expected.item(), rel=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", KINDS)
def test_an_empty_block_adds_nothing(text: str) -> None:
    """A block without positions is worth 0 and has a gradient of zeros."""
    layer = random(1, 16, 4, 4).requires_grad_()
    bound = bind(one(text), CONTEXT)
    for empty in (layer[:, :, :0], layer[..., :0], layer[:, :, :0, :0]):
        for local in bound.local:
            part = local.part(empty, View(4, 4, 0, 0))
            assert part.item() == 0
            assert not torch.autograd.grad(part, layer)[0].any()
        for summed in bound.sums:
            assert not summed.reduce(empty, View(4, 4, 0, 0)).any()


@pytest.mark.parametrize("text", KINDS)
def test_a_step_along_the_gradient_raises_each_kind(text: str) -> None:
    """A small step along its gradient makes each kind of term larger."""
    bound = bind(one(text), CONTEXT)
    t, logits = (random(1, count, 6, 5, seed=count).double() for count in (16, 10))
    inputs = [tensor.requires_grad_() for tensor in (t, logits, photograph().double())]

    def climbed(values: list[Tensor]) -> Tensor:
        return value(bound, {"things": values[0], "logits": values[1]}, values[2])

    before = climbed(inputs)
    slopes = torch.autograd.grad(before, inputs, allow_unused=True, materialize_grads=True)
    steepest = max(slope.abs().max() for slope in slopes)
    after = climbed([old + 1e-3 / steepest * slope for old, slope in zip(inputs, slopes, strict=True)])
    assert after > before


@pytest.mark.parametrize("text", ["things", "things:-0", "guide(things, a.jpg)", "style(things, b.jpg)", "class:lion"])
def test_ascent_on_the_tiny_net_raises_it(text: str) -> None:
    """Five small steps on pixels through the tiny net raise the objective each time."""
    bound, picture = bind(one(text), CONTEXT), photograph()
    curve = []
    for _ in range(6):
        seen = look(picture)
        worth = value(bound, seen.activations, seen.picture)
        slope = seen.gradient(worth)
        curve.append(worth.item())
        picture = picture + 1e-3 * slope / slope.abs().mean()
    assert all(later > earlier for earlier, later in itertools.pairwise(curve))


@pytest.mark.parametrize(("rows", "fraction"), [(8, 0.3), (8, 1.0), (7, 0.0), (49, 0.0), (1, 0.5)])
@pytest.mark.parametrize("rolled", [-3, 0, 1, 2, 7])
def test_a_neuron_follows_the_rolled_picture(rows: int, fraction: float, rolled: int) -> None:
    """The neuron at a spot is the same one after the picture was rolled by whole positions, at the far edge too."""
    layer = random(1, 16, rows, 5)
    (term,) = bind(one(f"things:3@{fraction},0.5"), CONTEXT).local
    turned = layer.roll(rolled, 2)
    there = term.part(turned, View(rows, 5, 0, 0, (rolled / rows, 0)))
    assert there == term.part(layer, View(rows, 5, 0, 0)) == layer[0, 3, min(int(fraction * rows), rows - 1), 2]


def test_a_guide_is_read_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few products are held at a time, the guide's objective and its gradient are the same."""
    (term,) = bind(one("guide(things, a.jpg)"), CONTEXT).local
    layer = random(1, 16, 9, 7).requires_grad_()
    expected = term.part(layer, whole(layer))
    for numbers in (1, 12, 100):
        monkeypatch.setattr(measures, "_LARGEST_MATRIX", numbers)
        found = term.part(layer, whole(layer))
        assert found == expected
        assert torch.equal(
            torch.autograd.grad(found, layer)[0], torch.autograd.grad(expected, layer, retain_graph=True)[0]
        )


def test_the_style_of_the_same_picture_is_the_best() -> None:
    """A style term is 0 for its own picture, -1 for one without activation, and never above 0."""
    (term,) = bind(one("style(things, b.jpg)"), CONTEXT).sums
    same = CONTEXT.features("things", "b.jpg")
    assert abs(term.value(term.reduce(same, whole(same))).item()) < 1e-12
    assert term.value(term.reduce(0 * same, whole(same))).item() == pytest.approx(-1)
    assert term.value(term.reduce(3 * same, whole(same))).item() < -1


@pytest.mark.parametrize("columns", [96, 90])
def test_the_square_of_a_large_map_is_exact(columns: int) -> None:
    """To float32's own precision, of a whole channels-last map and of a part of it: three million squares."""
    owned = torch.randn(1, 384, 90, 96).contiguous(memory_format=torch.channels_last)[..., :columns]
    (term,) = bind(one("things"), CONTEXT).local
    assert float(term.part(owned, whole(owned))) == pytest.approx(float(owned.double().square().mean() / 2), rel=2e-6)


@pytest.mark.parametrize("text", ["tv", "l2"])
def test_grey_costs_no_penalty(text: str) -> None:
    """A picture of mid grey, even one pixel of it, has no penalty; noise has."""
    (term,) = bind(one(text), CONTEXT).pixels
    assert term.value(torch.full((1, 3, 5, 4), 0.5)).item() == 0
    assert term.value(torch.full((1, 3, 1, 1), 0.5)).item() == 0
    assert term.value(photograph()).item() > 0


def test_the_l2_gradient_at_the_layer_is_the_activations() -> None:
    """The gradient of a layer's objective by the layer is its activations, over their number."""
    layer = random(1, 16, 3, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(value(bind(one("things"), CONTEXT), {"things": layer}), layer)
    assert torch.allclose(gradient * layer.numel(), layer.detach(), rtol=1e-6)


@pytest.mark.parametrize("text", ["a", "a:1", "mean(a)", "a:-1", "guide(a, b.jpg)", "a:weak(2)", "class:lion"])
def test_means_compare_layers_of_any_size(text: str) -> None:
    """A layer of more positions with the same values has the same objective."""
    context = FakeContext({"a": 9}, class_layer="a")
    (term,) = bind(one(text), context).local
    small, large = torch.full((1, 9, 3, 5), 2.0), torch.full((1, 9, 6, 10), 2.0)
    assert math.isclose(term.part(small, whole(small)).item(), term.part(large, whole(large)).item(), rel_tol=1e-6)


def test_terms_are_bound_by_kind() -> None:
    """Bound, terms are sorted into local, summed and of pixels; layers come each once, the classes' among them."""
    objective = one('things - style(parts, b.jpg) + class:lion + 2*style(things, b.jpg) - 5*tv + text:"t" + edges:1')
    bound = bind(objective, CONTEXT)
    assert [(term.layer, term.weight) for term in bound.local] == [("things", 1), ("logits", 1), ("edges", 1)]
    assert [(term.layer, term.weight) for term in bound.sums] == [("parts", -1), ("things", 2)]
    assert [term.weight for term in bound.pixels] == [-5, 1]
    assert bound.layers == ("things", "logits", "edges", "parts")
    assert all(isinstance(term, LocalTerm) for term in bound.local)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("things:16", r"objective 'things:16': layer 'things' has channels 0 to 15, not 16"),
        ("edges + 2*things:3,16", r"objective 'edges \+ 2\*things:3,16': layer 'things' has channels 0 to 15, not 16"),
        ("mean(things:-16)", "channels 0 to 15, not 16"),
        ("class:none", "layer 'logits' has channels 0 to 9, not 99"),
        ("edges:strong(9)", r"layer 'edges' has 8 channels, too few for `strong\(9\)`"),
        ("edges:3,-3", "`edges:3,-3` leaves no channel of layer 'edges'"),
        ("edges:weak(8),-0,-1,-2,-3,-4,-5,-6,-7", "leaves no channel"),
        ("edges:-0,-1,-2,-3,-4,-5,-6,-7", "leaves no channel"),
        ("direction(things, short.npy)", "vector's length is 3, the layer has 16 channels"),
        ("direction(things, zero.npy)", "a vector of length 0 has no direction"),
        ("style(things, black.jpg)", "the picture moves no channel of layer 'things'"),
    ],
)
def test_what_does_not_fit_the_net_is_refused(text: str, says: str) -> None:
    """Binding names the channel, count or length that the layer lacks, and which there are."""
    with pytest.raises(ObjectiveError, match=says):
        bind(one(text), CONTEXT)


def test_the_last_channel_fits() -> None:
    """Channels count from 0 to one less than their number, and all of them may be ranked."""
    assert bind(one("things:15,-0 + edges:strong(8)"), CONTEXT).layers == ("things", "edges")
