"""Every target: its corpus again, changed examples and random ones, and what a length bomb costs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutants
from tests.fuzz.target import Target, cuts, memory_of, same_however_cut
from tests.fuzz.targets import CORPUS, TARGETS, corpus_of
from tests.fuzz.trace import fewest, steps_of

BEYOND_MAX = 1024
"""Octets that a length bomb may cost more than a claim that is only just wrong."""
CORPORA_MAX = 100 * 1024
SLOW = {"smpp-session", "operator-session", "tpdu-link", "stx-link", "fsk-link", "hdlc-link", "wordings"}

every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_the_corpus_again(name: str) -> None:
    target = TARGETS[name]
    examples = [*(data for _, data in corpus_of(name)), *target.seeds()]
    assert examples
    assert any([target.run(data) for data in examples]), "not one example is taken"  # noqa: C419  all are run


@every_target
def test_changed_and_random_examples(name: str) -> None:
    target = TARGETS[name]
    examples = [*(data for _, data in corpus_of(name)), *target.seeds()]

    @settings(max_examples=25 if name in SLOW else 120)
    @given(st.binary(max_size=200) | st.integers(0, 2**32).map(lambda seed: next(mutants(examples, seed))))
    def run(data: bytes) -> None:
        target.run(data)

    run()


@pytest.mark.parametrize(
    ("name", "bomb"),
    [
        pytest.param(name, bomb, id=f"{name}-{number}")
        for name, target in TARGETS.items()
        for number, bomb in enumerate(target.bombs)
    ],
)
def test_a_length_bomb_costs_next_to_nothing(name: str, bomb: bytes) -> None:
    target = TARGETS[name]
    cost = memory_of(target, bomb)
    if target.copies:  # a reader of whole files holds them as text and as cells, never as more
        assert cost.peak <= target.copies * len(bomb) + 8 * BEYOND_MAX
        return
    tame = memory_of(target, target.tame)
    assert cost.peak - tame.peak < BEYOND_MAX
    assert cost.kept - tame.kept < BEYOND_MAX
    assert cost.peak < 6 * BEYOND_MAX  # the error, its traceback, the answer to the peer
    assert cost.kept < 2 * BEYOND_MAX
    if target.opened is not None:  # a stream is lost: what still comes is dropped
        assert memory_of(target, bomb, bytes(64 * BEYOND_MAX)).kept < 2 * BEYOND_MAX


def test_corpora_are_small_and_of_targets_there_are() -> None:
    folders = {path.name for path in CORPUS.iterdir()}
    assert folders == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= CORPORA_MAX


# -- the harness itself -------------------------------------------------------------------------------------


def greedy(data: bytes) -> bytes:
    """A decoder that believes the length it is told."""
    return data[2:].ljust(int.from_bytes(data[:2], "big") * 100, b"\0")


def hasty(pieces: object) -> list[int]:
    """A receiver that takes the first octet of every piece for a header."""
    return [piece[0] for piece in pieces]  # type: ignore[attr-defined]


def picky(data: bytes) -> None:
    if data[:1] == b"\x80":
        raise KeyError("an error nobody announced")
    if data[1:2] == b"\x7f":
        raise ValueError("an error that was announced")


def test_the_harness_sees_a_decoder_that_believes_lengths() -> None:
    target = Target(greedy)
    assert memory_of(target, b"\xff\xff").peak - memory_of(target, b"\0\0").peak > 1000 * BEYOND_MAX


def test_the_harness_sees_what_depends_on_the_cutting() -> None:
    assert list(cuts(b"abc")) == [(b"a", b"b", b"c"), (b"a", b"bc"), (b"ab", b"c")]
    with pytest.raises(AssertionError, match="cut into"):
        same_however_cut(hasty, hasty((b"abc",)), b"abc")


def test_the_harness_sees_an_error_nobody_announced() -> None:
    target = Target(picky, allowed=(ValueError,))
    assert target.run(b"ok")
    assert not target.run(b"a\x7f")
    with pytest.raises(KeyError):
        any(not target.run(data) and data is None for data in mutants([b"\x00\x00"], 1))


def test_what_the_check_raises_is_never_taken_for_a_refusal() -> None:
    def check(value: object, data: bytes) -> None:
        raise ValueError("raised by the second decoding")

    with pytest.raises(ValueError, match="second"):
        Target(picky, check, (ValueError,)).run(b"ok")


def test_the_same_seed_gives_the_same_examples() -> None:
    one, two = mutants([b"abc", b"xyz"], 7), mutants([b"abc", b"xyz"], 7)
    assert [next(one) for _ in range(50)] == [next(two) for _ in range(50)]


def test_the_fewest_examples_reach_what_all_reach() -> None:
    target = TARGETS["stk"]
    examples = list(target.seeds())
    kept = fewest(target.run, [*examples, *examples, b"", b"\x01"], 10_000)
    assert len(kept) <= len(examples) + 2
    every = set().union(*(steps_of(target.run, data) for data in examples))
    assert every <= set().union(*(steps_of(target.run, data) for data in kept))


def test_every_row_says_where_its_corpus_began() -> None:
    for name, target in TARGETS.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert list(target.seeds())
