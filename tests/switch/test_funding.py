"""Tickets, bank lines, transfers through the switch: looked up first, refused on the way out, expired in rounds."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from aircharge.errors import Reason, Refusal
from aircharge.ledger.credit import ExpireCredit
from aircharge.ledger.tickets import AskTicket, ExpireTicket, PayTicket
from aircharge.ledger.transferring import Transfer
from aircharge.switch.funding import Expiry, ask_ticket, pay_ticket
from aircharge.switch.transfer import move_money
from aircharge.values import Asker, Channel, Key, State
from tests.switch.world import NOW_MS, World, now, receipt

ASKER = Asker("13900000001", "0353911")
KEY = Key("sms:13900000001", "m1")


class Answers:
    """Reads are answered in turn; so are commands."""

    def __init__(self, world: World, reads: list[Any], results: list[Any]) -> None:
        self.world, self.reads, self.results = world, reads, results

    def do(self, command: Any) -> Deferred[Any]:
        self.world.trace.append(command)
        return succeed(self.results.pop(0))

    def read(self, reader: Any) -> Deferred[Any]:
        return succeed(self.reads.pop(0))


def world_of(reads: list[Any], results: list[Any]) -> World:
    world = World()
    world.board.ledger = Answers(world, reads, results)  # type: ignore[assignment]
    return world


def test_a_ticket_takes_one_of_the_free_sums() -> None:
    world = world_of([((100_007, 100_008), 3)], [receipt(State.SETTLED)])
    asked = AskTicket(Channel.SMS, KEY, ASKER, 100_000, (), NOW_MS)
    assert now(ask_ticket(world.board, asked)).state is State.SETTLED
    [command] = world.commands(AskTicket)
    assert (command.sums, command.waiting_n) == ((100_007, 100_008), 3)


def test_a_bank_line_looks_again_when_a_ticket_appeared() -> None:
    world = world_of(["", "A"], ["look again", receipt(State.SETTLED)])
    assert now(pay_ticket(world.board, PayTicket("k", 100_007, NOW_MS))).state is State.SETTLED
    assert [command.code for command in world.commands(PayTicket)] == ["", "A"]


def test_a_bank_line_that_cannot_be_says_why() -> None:
    world = world_of(["", "", ""], ["no"] * 3)
    assert now(pay_ticket(world.board, PayTicket("k", 100_007, NOW_MS))) == "no"


@pytest.mark.parametrize(
    "begin",
    [
        lambda board: ask_ticket(board, AskTicket(Channel.SMS, KEY, ASKER, 100, (), NOW_MS)),
        lambda board: move_money(board, Transfer(Channel.SMS, KEY, ASKER, "B", 100, NOW_MS)),
    ],
)
def test_on_the_way_out_nothing_is_begun(begin: Any) -> None:
    world = world_of([], [])
    world.board.closing = True
    with pytest.raises(Refusal) as refused:
        now(begin(world.board))
    assert refused.value.reason is Reason.BUSY
    assert not world.trace


def test_a_transfer_is_one_command() -> None:
    world = world_of([], [receipt(State.SETTLED)])
    command = Transfer(Channel.SMS, KEY, ASKER, "B", 100, NOW_MS)
    assert now(move_money(world.board, command)).state is State.SETTLED
    assert world.trace == [command]


def test_what_has_had_its_time_ends_in_rounds() -> None:
    due = [ExpireTicket(5, "A")], [ExpireCredit(7, "B")]
    world = world_of([*due, [], []], [True, None])
    expiry = Expiry(world.board, Clock(), 1000)
    assert now(expiry.round()) == 2
    assert world.trace == [*due[0], *due[1]]
    assert now(expiry.round()) == 0
