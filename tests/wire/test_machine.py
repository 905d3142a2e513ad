"""Machines as tables."""

from __future__ import annotations

from enum import Enum

import pytest

from aircharge.errors import WireError
from aircharge.wire.machine import IllegalInput, advance, draw


class Door(Enum):
    OPEN = 1
    SHUT = 2


TABLE = {(Door.OPEN, "push"): Door.SHUT, (Door.SHUT, "pull"): Door.OPEN, (Door.SHUT, "kick"): Door.OPEN}


def test_advance_follows_the_table() -> None:
    assert advance(TABLE, Door.OPEN, "push") is Door.SHUT
    with pytest.raises(IllegalInput) as caught:
        advance(TABLE, Door.OPEN, "pull", standard="SMPP 3.4", section="2.2", hint=4)
    error = caught.value
    assert isinstance(error, WireError)
    assert (error.state, error.input, error.hint) == (Door.OPEN, "pull", 4)


def test_draw() -> None:
    assert draw(TABLE, Door.OPEN) == (
        "stateDiagram-v2\n    [*] --> open\n    open --> shut: push\n    shut --> open: pull, kick\n"
    )
