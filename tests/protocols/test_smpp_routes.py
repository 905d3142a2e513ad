"""Which SMS centre a message of ours goes to."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.errors import ConfigError, NotSent
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


def send(world: World, to: str = PHONE) -> list[Any]:
    outcome: list[Any] = []
    world.gateway.send_text("0353911", to, "x").addBoth(outcome.append)
    return [getattr(one, "value", one) for one in outcome]


@pytest.mark.parametrize("asked", [0, 1])
def test_answers_leave_where_the_question_came_from(asked: int) -> None:
    world = World(ONE, TWO)
    lines = [bound(world, "one"), bound(world, "two")]
    ask(lines[asked])
    for _ in range(6):
        send(world)
    assert [len(line.said()) for line in lines] == ([6, 0] if asked == 0 else [0, 6])


def test_another_only_when_it_was_gone_for_long() -> None:
    world = World(ONE, TWO)
    one, two = bound(world, "one"), bound(world, "two")
    ask(one)
    one.lose()
    assert isinstance(send(world)[0], NotSent)
    world.pass_time(61)
    send(world)
    assert len(two.said()) == 1
    again = bound(world, "one")
    send(world)
    assert len(again.said()) == 1


def test_a_bind_that_only_brings_messages_is_no_way_back() -> None:
    world = World(ONE, TWO)
    one, two = bound(world, "one", Command.BIND_TRANSMITTER), bound(world, "two", Command.BIND_RECEIVER)
    ask(one)
    send(world)
    assert len(two.said()) == 1
    one.lose()
    send(world)
    assert len(two.said()) == 1


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
