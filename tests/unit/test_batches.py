"""Batches on graphics cards: as many tiles as each card's own memory takes. The cards are played; no test has one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from dreamjobs.octaves.batches import in_batches
from dreamjobs.tiles import Box, Span

GIB = 2**30
TILE = Box(Span(0, 512), Span(0, 512))


@dataclass(frozen=True)
class Piece:
    """A tile of 512 x 512 pixels."""

    crop: Box


class Card:
    """A graphics card's memory: `free` of it, net and spare memory that torch keeps apart, and what a batch takes."""

    net, spare = 2 * GIB, GIB

    def __init__(self, free: int) -> None:
        self.free, self.peak = free, 0

    def work(self, batch: int, bytes_a_tile: int) -> int:
        """Put a batch through; its size, if there is room."""
        if batch * bytes_a_tile > self.free + self.spare:
            raise torch.OutOfMemoryError
        self.peak = max(self.peak, batch * bytes_a_tile)
        return batch


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[Card]:
    """A card of 8 GiB and one of 24, as torch would tell of them."""
    found = [Card(8 * GIB), Card(24 * GIB)]

    def reset(device: torch.device) -> None:
        found[device.index].peak = 0

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: Card.net)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: Card.net + Card.spare)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: Card.net + found[device.index].peak)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (found[device.index].free, 80 * GIB))
    return found


def sizes(cards: list[Card], index: int, tiles: int, bytes_a_tile: int) -> list[int]:
    """The sizes of the batches in which a card takes so many tiles."""
    device = torch.device("cuda", index)
    done = in_batches([Piece(TILE)] * tiles, lambda batch: cards[index].work(len(batch), bytes_a_tile), None, device)
    return [made for _, made in done]


def test_two_kinds_of_cards_each_get_batches_of_their_own(cards: list[Card]) -> None:
    """The same tiles go by 5 through the smaller card and by 15 through the larger, after one that tells."""
    assert sizes(cards, 0, 40, GIB) == [1, 5, 5, 5, 5, 5, 5, 5, 4]
    assert sizes(cards, 1, 40, GIB) == [1, 15, 15, 9]


def test_the_largest_crop_tells_how_many_fit(cards: list[Card]) -> None:
    """Crops at the picture's edge are smaller; of what one of them takes, too many would be put together."""
    small = Piece(Box(Span(0, 256), Span(0, 512)))
    done = in_batches([small] * 10 + [Piece(TILE)] * 10, lambda batch: batch, None, torch.device("cuda", 0))
    first, *_ = (batch for batch, _ in done)
    assert first == [Piece(TILE)]


def test_a_card_that_others_use_gets_smaller_batches(cards: list[Card]) -> None:
    """What counts is the memory that is free, not what the card was made with."""
    cards[1].free = 4 * GIB
    assert max(sizes(cards, 1, 12, GIB)) == 3


def test_memory_taken_meanwhile_halves_the_batch_and_loses_no_tile(cards: list[Card]) -> None:
    """Another process takes half of the card while a batch is on its way."""
    device = torch.device("cuda", 0)
    seen: list[int] = []

    def work(batch: object) -> int:
        count = len(batch)  # type: ignore[arg-type]
        if count > 1 and cards[0].free == 8 * GIB:
            cards[0].free = 3 * GIB
        return cards[0].work(count, GIB)

    for batch, _ in in_batches([Piece(TILE)] * 12, work, None, device):
        seen.append(len(batch))
    assert sum(seen) == 12
    assert max(seen) <= 4
