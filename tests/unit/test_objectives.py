"""Objectives: the expressions, their algebra, and what they are worth over activations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dreamjobs import objectives
from dreamjobs.errors import ObjectiveError
from dreamjobs.nets import load_net
from dreamjobs.objectives import Objective, Term, parse

names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True)
numbers = st.sampled_from(["2", "0.5", "3.", "1e-3", "12.25", "7e+2", "0"])
layers = st.builds(
    lambda name, channels: name + (":" + ",".join(map(str, channels)) if channels else ""),
    names,
    st.lists(st.integers(0, 99), max_size=3),
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return (
        st.builds("{}*{}".format, numbers, inner)
        | st.builds("({} + {})".format, inner, inner)
        | st.builds("( {}-{})".format, inner, inner)
        | st.builds("(-{} )".format, inner)
    )


expressions = st.recursive(layers, _larger, max_leaves=6)


@settings(deadline=None)
@given(expressions)
def test_parse_print_parse_is_the_identity(text: str) -> None:
    """What an expression stands for, printed and parsed, stands for the same; printed again it is the same text."""
    first = parse(text)
    second = parse(str(first))
    assert str(second) == str(first)
    assert [(term.layer, term.channels) for term in second.terms] == [(t.layer, t.channels) for t in first.terms]
    assert [term.weight for term in second.terms] == pytest.approx([term.weight for term in first.terms], rel=1e-11)


A, B = Objective((Term("a"),)), Objective((Term("b", (1, 2)),))


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
        ("features.9 + layer1.0.conv1:3", Objective((Term("features.9"), Term("layer1.0.conv1", (3,))))),
        ("1.5e-3*a", 1.5e-3 * A),
    ],
)
def test_expressions_are_the_algebra(text: str, objective: Objective) -> None:
    """Text and Python operators build the same objective: sums, differences, factors, signs, parentheses."""
    assert parse(text) == objective


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (A - 0.5 * B, "a - 0.5*b:1,2"),
        (-1.0 * A, "-1*a"),
        (1e-9 * A + B, "1e-09*a + b:1,2"),
        (A - A, "a - 1*a"),
    ],
)
def test_an_objective_prints_as_it_is_written(objective: Objective, text: str) -> None:
    """The text of an objective is an expression for it."""
    assert str(objective) == text
    assert parse(text) == objective


def test_layers_are_named_once() -> None:
    """The layers of a sum come each once, in order of first use."""
    assert parse("b + a - 2*b:1 + c").layers == ("b", "a", "c")


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
        ("a b", 2, "`+`, `-` or the end"),
        ("a)", 1, "`+`, `-` or the end"),
        ("a:1 2", 4, "`+`, `-` or the end"),
        ("(a", 2, "`)` is expected"),
        ("(a b)", 3, "`)` is expected"),
        ("a:", 2, "number of a channel"),
        ("a:x", 2, "number of a channel"),
        ("a:-1", 2, "number of a channel"),
        ("a:1,", 4, "number of a channel"),
        ("b + a:1*c", 6, "number of a channel"),
        ("a:" + "9" * 5000, 2, "number of a channel"),
        ("a + $b", 4, "no layer, number or sign"),
        ("a:1.5", 3, "no layer, number or sign"),
        ("a/2", 1, "no layer, number or sign"),
        ("b + 1e999*a", 4, "infinite"),
        ("1e200*(1e200*a)", 0, "infinite"),
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


@pytest.mark.parametrize("text", ["(" * 5000 + "a" + ")" * 5000, "2*" * 5000 + "a"])
def test_hostile_nesting_is_an_input_error(text: str) -> None:
    """An expression nested thousands deep, as a manifest may hold, is refused as any other mistake."""
    with pytest.raises(ObjectiveError, match="nested too deeply"):
        parse(text)


def test_a_channel_out_of_range_is_refused() -> None:
    """A channel that the layer lacks is an error that says which there are; the last one is not."""
    objectives.check(parse("a:7 + b"), {"a": 8, "b": 1})
    with pytest.raises(ObjectiveError, match=r"layer 'a' has channels 0 to 7, not 8"):
        objectives.check(parse("a:0 + 2*a:3,8"), {"a": 8})


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_parts_sum_to_the_whole(data: st.DataObject) -> None:
    """Split anyhow into boxes, a layer's parts sum to the objective of the whole, per kind of term."""
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    y, x = data.draw(st.integers(0, rows)), data.draw(st.integers(0, columns))
    layer = torch.randn(1, 5, rows, columns, generator=torch.Generator().manual_seed(rows * 10 + columns)).double()
    whole = {"a": (5, rows, columns)}
    objective = parse("2*a - a:1,3 + 0.25*a:4")
    parts = [
        objective.part({"a": layer[:, :, rows_, columns_]}, whole)
        for rows_ in (slice(0, y), slice(y, None))
        for columns_ in (slice(0, x), slice(x, None))
    ]
    assert sum(parts).item() == pytest.approx(objective.part({"a": layer}, whole).item(), rel=1e-12, abs=1e-12)


def _by_hand(activations: dict[str, Tensor]) -> dict[str, Tensor]:
    parts, things = activations["parts"], activations["things"]
    return {
        "things": (things**2).mean() / 2,
        "things:3": things[:, 3].mean(),
        "things:1,2": (things[:, 1].mean() + things[:, 2].mean()) / 2,
        "0.5*parts": (parts**2).mean() / 4,
        "parts - 3*things:0": (parts**2).mean() / 2 - 3 * things[0, 0].mean(),
        "-(things + parts:11)": -((things**2).mean() / 2) - parts[:, 11].mean(),
    }


@pytest.mark.parametrize("text", list(_by_hand({"parts": torch.ones(1, 12, 1, 1), "things": torch.ones(1, 16, 1, 1)})))
def test_each_kind_equals_a_plain_computation(text: str) -> None:
    """Value and gradient of each kind of term are those of the formula written out, on the tiny net."""
    reader = load_net("tiny").reader(("parts", "things"))
    picture = torch.rand(1, 3, 41, 30, generator=torch.Generator().manual_seed(1)).requires_grad_()
    activations = reader(picture)
    expected = _by_hand(activations)[text]
    found = parse(text).part(activations, reader.sizes(41, 30))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    one = torch.autograd.grad(found, picture, retain_graph=True)[0]
    other = torch.autograd.grad(expected, picture)[0]
    assert other.abs().max() > 0
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-6 * other.abs().max().item())


def test_the_l2_gradient_at_the_layer_is_the_activations() -> None:
    """The gradient of a layer's objective by the layer is its activations, over their number."""
    layer = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(parse("a").part({"a": layer}, {"a": (4, 3, 5)}), layer)
    assert torch.allclose(gradient * layer.numel(), layer.detach(), rtol=1e-6)


def test_means_compare_layers_of_any_size() -> None:
    """A layer twice as large with the same values has the same objective."""
    small: Any = torch.full((1, 4, 3, 5), 2.0)
    large = small.repeat(1, 2, 2, 2)
    for text in ("a", "a:1"):
        one = parse(text).part({"a": small}, {"a": tuple(small.shape[1:])})
        other = parse(text).part({"a": large}, {"a": tuple(large.shape[1:])})
        assert math.isclose(one.item(), other.item(), rel_tol=1e-6)
        assert one.item() == 2.0


@pytest.mark.parametrize(
    ("text", "label", "printed"),
    [
        ("class:lion", "lion", "class:lion"),
        ("class:291", "291", "class:291"),
        ('class:"great white shark"', "great white shark", 'class:"great white shark"'),
        ("class : golden_retriever", "golden_retriever", "class:golden_retriever"),
    ],
)
def test_a_class_is_named_by_number_or_name(text: str, label: str, printed: str) -> None:
    """A class is parsed from a number, a word or a quoted name, and prints as what parses to the same."""
    objective = parse(text)
    assert objective.terms == (Term("", label=label),)
    assert str(objective) == printed
    assert parse(printed) == objective


def test_a_class_is_a_channel_of_the_logits() -> None:
    """Resolved, a class is a channel of the layer that holds the logits, its weight kept; other terms stay."""
    objective = parse("edges - 2*class:lion").resolve("logits", {"lion": 291}.__getitem__)
    assert objective == Objective((Term("edges"), Term("logits", (291,), -2.0)))


@pytest.mark.parametrize("text", ["class:", "class:,", 'class:""', "class:1,2", "class:-1"])
def test_a_class_that_is_none_has_a_caret(text: str) -> None:
    """What follows `class:` is one number or name, or an error with a caret."""
    with pytest.raises(ObjectiveError, match=r"\^"):
        parse(text)
