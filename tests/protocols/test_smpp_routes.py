"""Which SMS centre a message of ours goes to."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from aircharge.errors import ConfigError, InDoubt, Unsendable
from aircharge.protocols.smpp import Throttled
from aircharge.wire.smpp.constants import Command
from tests.protocols.smpp_world import TEXT, Line, World, peer

ONE = peer(name="one", system_id="one")
TWO = peer(name="two", system_id="two")
PHONE = "13900000001"


def bound(world: World, name: str, command: Command = Command.BIND_TRANSCEIVER) -> Line:
    line = world.connect()
    assert line.bind(command, system_id=name).status == 0
    return line


def ask(line: Line) -> None:
    line.say(Command.SUBMIT_SM, **TEXT)
    assert [pdu.status for pdu in line.said()] == [0]


def send(world: World, to: str = PHONE, centre: str = "", *, waits: bool = True) -> list[Any]:
    outcome: list[Any] = []
    sending = world.gateway.text("0353911", to, "x", centre=centre, waits=waits)
    Deferred.fromCoroutine(sending).addBoth(outcome.append)
    return outcome


def failed(outcome: list[Any]) -> Any:
    return outcome[0].value


def refuse(line: Line, status: int) -> None:
    """Answer all that it was sent so far."""
    for pdu in line.said():
        line.say(pdu.command | 0x80000000, status, pdu.sequence)


@pytest.mark.parametrize("asked", ["one", "two"])
def test_answers_leave_where_the_question_came_from(asked: str) -> None:
    world = World(ONE, TWO)
    lines = [bound(world, "one"), bound(world, "two")]
    for _ in range(6):
        send(world, centre=asked)
    assert [len(line.said()) for line in lines] == ([6, 0] if asked == "one" else [0, 6])


def test_the_answerer_hears_which_one_it_was_and_nothing_else_steers() -> None:
    """Somebody at two says that he is the phone: what is told to the phone itself still leaves by one."""
    world = World(ONE, TWO)
    one, two = bound(world, "one"), bound(world, "two")
    ask(one)
    ask(two)
    assert [info.name for _, info in world.messages] == ["one", "two"]
    for _ in range(4):
        send(world, centre="one")
    assert (len(one.said()), len(two.said())) == (4, 0)


def test_another_only_when_it_was_gone_for_long() -> None:
    world = World(ONE, TWO)
    one, two = bound(world, "one"), bound(world, "two")
    one.lose()
    world.pass_time(20)
    assert failed(send(world, centre="one")).wait_s == 40
    send(world, centre="one", waits=False)  # it has waited long enough
    assert len(two.said()) == 1
    world.pass_time(41)
    send(world, centre="one")
    assert len(two.said()) == 1
    again = bound(world, "one")
    send(world, centre="one")
    assert len(again.said()) == 1


def test_after_a_start_it_is_waited_for() -> None:
    world = World(ONE, TWO)
    two = bound(world, "two")
    world.pass_time(1)
    assert failed(send(world, centre="one")).wait_s == 59
    world.pass_time(60)
    send(world, centre="one")
    assert len(two.said()) == 1


def test_one_that_another_daemon_has_is_left_to_it_for_a_moment() -> None:
    world = World(ONE, TWO)
    bound(world, "two")
    world.gateway.routes.has_others = True
    world.pass_time(600)
    assert failed(send(world, centre="one")).wait_s == 10
    assert failed(send(world, centre="three")).wait_s == 10
    world.gateway.routes.has_others = False
    assert send(world, centre="three") == []  # nobody else can have it: under way


def test_a_bind_that_only_brings_messages_is_no_way_back() -> None:
    world = World(ONE, TWO)
    one, two = bound(world, "one", Command.BIND_TRANSMITTER), bound(world, "two", Command.BIND_RECEIVER)
    send(world, centre="one")
    assert len(two.said()) == 1
    one.lose()
    world.pass_time(61)
    send(world, centre="one")
    assert len(two.said()) == 1


def test_its_own_says_later_and_is_waited_for_and_final_is_asked_of_another() -> None:
    world = World(ONE, TWO)
    one, two = bound(world, "one"), bound(world, "two")
    outcome = send(world, centre="one")
    refuse(one, 0x58)
    assert isinstance(failed(outcome), Throttled)
    outcome = send(world, centre="one")
    refuse(one, 0x0B)
    refuse(two, 0)
    assert len(outcome[0]) == 1
    outcome = send(world, centre="one", waits=False)
    refuse(one, 0x58)
    refuse(two, 0)
    assert len(outcome[0]) == 1


@pytest.mark.parametrize("status", [0x0B, 0x58, 0x08, 0x45])
def test_what_one_refuses_the_other_is_asked_at_once(status: int) -> None:
    world = World(peer(name="one", system_id="one", routes=("13",)), TWO)
    one, two = bound(world, "one"), bound(world, "two")
    outcome = send(world)
    refuse(one, status)
    refuse(two, 0)
    assert len(outcome[0]) == 1
    assert world.gateway.troubles.refusing == {}


def test_only_what_all_refuse_for_good_is_given_up() -> None:
    world = World(ONE, TWO)
    lines = [bound(world, "one"), bound(world, "two")]
    outcome = send(world)
    for line in lines * 2:
        refuse(line, 0x0B)
    assert isinstance(failed(outcome), Unsendable)
    lines[1].lose()
    outcome = send(world)
    refuse(lines[0], 0x0B)
    assert not isinstance(failed(outcome), Unsendable)  # the other may take it when it is back
    world.pass_time(61)
    outcome = send(world)
    refuse(lines[0], 0x0B)
    assert isinstance(failed(outcome), Unsendable)


def test_an_unanswered_one_is_asked_of_nobody_else() -> None:
    world = World(ONE, TWO)
    lines = [bound(world, "one"), bound(world, "two")]
    outcome = send(world)
    world.pass_time(20)
    assert isinstance(failed(outcome), InDoubt)
    assert sum(len([p for p in line.said() if p.command == Command.DELIVER_SM]) for line in lines) == 1


def test_customers_are_told_by_segment() -> None:
    world = World(
        peer(name="one", system_id="one", routes=("138",)),
        peer(name="two", system_id="two", routes=("1381",)),
    )
    one, two = bound(world, "one"), bound(world, "two")
    for _ in range(3):
        send(world, "13812345678")
        send(world, "13822345678")
    assert (len(one.said()), len(two.said())) == (3, 3)
    for _ in range(4):
        send(world, "13912345678")
    assert len(one.said()) + len(two.said()) == 4
    two.lose()
    world.pass_time(61)
    send(world, "13812345678")
    assert len(one.said()) == 1


@pytest.mark.parametrize("routes", [("",), ("abc",), ("13,",)])
def test_wrong_routes_are_no_routes(routes: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        World(peer(routes=routes))
