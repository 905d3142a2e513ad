"""Ids and counters: pure arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.ledger.counters import use_counter
from aircharge.ledger.ids import EPOCH_MS, IdSeries, id_time_ms
from aircharge.ledger.loading import signed, unsigned


def test_an_id_tells_its_time_node_and_sequence() -> None:
    series = IdSeries(5, lambda: EPOCH_MS + 1000)
    first, second = series(), series()
    assert first == 1000 << 22 | 5 << 12
    assert second == first + 1
    assert id_time_ms(second) == EPOCH_MS + 1000


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=50), st.integers(0, 1023))
def test_ids_rise_whatever_the_clock_does(steps: list[int], node: int) -> None:
    now = [EPOCH_MS + 10_000_000]
    series = IdSeries(node, lambda: now[0])
    drawn = []
    for step in steps:
        now[0] += step
        drawn += [series(), series()]
    assert drawn == sorted(set(drawn))
    assert {number >> 12 & 1023 for number in drawn} == {node}


def test_ids_go_on_above_what_is_in_the_ledger() -> None:
    series = IdSeries(1, lambda: EPOCH_MS + 5000)
    highest = [series() for _ in range(5000)][-1]
    assert IdSeries(1, lambda: EPOCH_MS, after=highest)() > highest


@pytest.mark.parametrize("node", [-1, 1024])
def test_nodes(node: int) -> None:
    with pytest.raises(ValueError, match="node"):
        IdSeries(node, lambda: EPOCH_MS)


@given(st.lists(st.integers(1, 300), max_size=300))
def test_the_window_takes_each_counter_once_and_none_that_is_too_old(counters: list[int]) -> None:
    hi = bitmap = 0
    taken: set[int] = set()
    for counter in counters:
        window = use_counter(hi, bitmap, counter)
        may = counter not in taken and counter > max(taken, default=0) - 64
        assert (window is not None) == may
        if window is not None:
            hi, bitmap = window
            taken.add(counter)
            assert hi == max(taken)
            assert 0 < bitmap < 1 << 64


@given(st.integers(0, 2**64 - 1))
def test_64_bits_survive_the_database(number: int) -> None:
    assert -(2**63) <= signed(number) < 2**63
    assert unsigned(signed(number)) == number
