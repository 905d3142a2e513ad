"""Senders of what was never whole, or could not be read, are told: by the process that saw it and by the next one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from aircharge.errors import LedgerError
from aircharge.ledger.parts import NoteParts
from aircharge.protocols.smpp_inbound import PartsOf
from aircharge.sms.unjoined import UnjoinedParts
from tests.sms.test_door import PHONE, World
from tests.switch.world import now

OF = PartsOf(PHONE, "0353911", 7, False, 2, "smsc")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.engine.dispose()


def parts(world: World) -> UnjoinedParts:
    return UnjoinedParts(world.board, 1, Deferred.fromCoroutine)


def test_after_a_crash_the_sender_of_an_unfinished_message_is_told_once(world: World) -> None:
    now(parts(world).began(OF))
    assert world.topics() == []
    assert now(parts(world).recover()) == 1
    [notice] = [one for one in world.notices if one.facts.get("verb") == "parts"]
    assert (notice.recipient, notice.sender, notice.centre) == (PHONE, "0353911", "smsc")
    assert now(parts(world).recover()) == 0


@pytest.mark.parametrize("end", ["ended", "lost"])
def test_what_has_ended_is_not_told_after_a_crash(world: World, end: str) -> None:
    now(parts(world).began(OF))
    getattr(parts(world), end)(OF)
    assert now(parts(world).recover()) == 0
    assert len(world.notices) == (end == "lost")


def test_what_cannot_be_read_is_told(world: World) -> None:
    parts(world).unreadable("86" + PHONE, "0353911", "smsc")
    parts(world).unreadable("CMCC", "0353911", "smsc")  # nobody can be told
    [notice] = world.notices
    words = world.config.phrases().word(notice)
    assert words == "未办理(30):收到的短信损坏,无法读取,未扣款。请重发一次。"


def test_who_could_not_be_told_is_told_later(world: World) -> None:
    now(parts(world).began(OF))
    do = world.ledger.do

    def failing(command: Any) -> Any:
        if isinstance(command, NoteParts):
            return do(command)
        raise LedgerError("the disk is full")

    world.ledger.do = failing  # type: ignore[method-assign]
    parts(world).lost(OF)
    assert world.notices == []
    world.ledger.do = do  # type: ignore[method-assign]
    assert now(parts(world).recover()) == 1
    assert len(world.notices) == 1
