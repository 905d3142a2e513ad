"""150 of the 300 worlds that every run of the suite goes through, and half of the planted bugs."""

from __future__ import annotations

import pytest

from tests.world.mutants import MUTANTS
from tests.world.runs import check_worlds, mutant

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_nothing_is_lost_or_done_twice_in_any_world() -> None:
    check_worlds(151, 150, again=25)


@pytest.mark.parametrize("name", sorted(MUTANTS)[1::2])
def test_a_planted_bug_is_caught(name: str) -> None:
    code, said = mutant(name)
    assert code == 0, said
