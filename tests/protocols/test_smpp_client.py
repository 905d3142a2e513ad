"""We dial: bind, back-off with jitter, outbind both ways; roles apart from who dials."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError

from aircharge.errors import LinkError
from aircharge.protocols.smpp import SmppClient, SmppPeer
from aircharge.wire.smpp.constants import Command, Status
from aircharge.wire.smpp.states import Side, State
from tests.protocols.smpp_world import PASSWORD, TEXT, Line, World, peer

ESME = SmppPeer(
    name="centre", system_id="us", role="esme", system_type="CHARGE", mt_pdu="submit_sm", enquire_link_s=0.0
)


class Endpoint:
    """An endpoint whose every attempt waits for the test."""

    def __init__(self) -> None:
        self.attempts: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        attempt: Deferred[Any] = Deferred()
        self.attempts.append((factory, attempt))
        return attempt

    def succeed(self) -> Line:
        factory, attempt = self.attempts[-1]
        connection = factory.buildProtocol(None)
        line = Line(getattr(connection, "_wrappedProtocol", connection))
        line.outer = connection  # type: ignore[attr-defined]
        attempt.callback(connection)
        return line


def dial(world: World, profile: SmppPeer = ESME) -> Endpoint:
    endpoint = Endpoint()
    client: Any = SmppClient(world.gateway, profile, PASSWORD, endpoint, lambda: 0.5)  # type: ignore[arg-type]
    client.startService()
    world.client = client  # type: ignore[attr-defined]
    return endpoint


def answer_bind(line: Line, status: int = 0) -> None:
    (bind,) = line.said()
    assert bind.command == Command.BIND_TRANSCEIVER
    assert (bind.fields["system_id"], bind.fields["password"]) == ("us", PASSWORD)
    assert bind.fields["system_type"] == "CHARGE"
    fields = {} if status else {"system_id": "mc"}
    line.say(bind.command | 0x80000000, status, bind.sequence, **fields)


def test_bind_and_both_directions() -> None:
    world = World()
    line = dial(world).succeed()
    answer_bind(line)
    assert world.gateway.bound_peers() == ("centre",)
    line.say(Command.DELIVER_SM, **TEXT)
    assert [pdu.command for pdu in line.said()] == [Command.DELIVER_SM_RESP]
    assert world.messages[0][0].text == "13812345678 50"
    results: list[Any] = []
    world.gateway.send_text("0353911", "13812345678", "ok").addCallback(results.append)
    (submit,) = line.said()
    assert submit.command == Command.SUBMIT_SM
    line.say(Command.SUBMIT_SM_RESP, 0, submit.sequence, message_id="77")
    assert results == [("77",)]


def test_refused_bind_and_lost_lines_back_off() -> None:
    world = World()
    endpoint = dial(world)
    line = endpoint.succeed()
    answer_bind(line, Status.ESME_RBINDFAIL)
    assert line.is_closing
    line.lose()
    waits = []
    for _ in range(4):
        made, start = len(endpoint.attempts), world.clock.seconds()
        while len(endpoint.attempts) == made:
            world.clock.advance(0.25)
        waits.append(world.clock.seconds() - start)
        endpoint.attempts[-1][1].errback(ConnectError())
    assert waits == sorted(waits)
    assert 1.0 < waits[0] < waits[-1] < 10.0


def test_a_centre_that_never_answers_the_bind() -> None:
    world = World()
    endpoint = dial(world)
    line = endpoint.succeed()
    bound: list[Any] = []
    line.connection.when_bound().addErrback(lambda failure: bound.append(failure.type))
    world.pass_time(16)
    assert line.is_closing
    line.lose()
    assert world.gateway.connections == 0


def test_we_dial_and_send_outbind_and_the_peer_binds() -> None:
    world = World()
    line = dial(world, peer(name="shy", system_id="shy", outbind=True)).succeed()
    (outbind,) = line.said()
    assert (outbind.command, outbind.fields["password"]) == (Command.OUTBIND, PASSWORD)
    assert line.connection.session.state is State.OUTBOUND
    line.say(Command.BIND_RECEIVER, system_id="shy", password=PASSWORD, interface_version=0x34)
    assert [pdu.status for pdu in line.said()] == [0]
    assert world.gateway.bound_peers() == ("shy",)


@pytest.mark.parametrize("alone", [True, False], ids=["only outbind expected", "bind expected too"])
def test_a_centre_dials_us_with_outbind_and_we_bind(alone: bool) -> None:
    world = World(ESME) if alone else World(peer(), ESME)
    line = world.connect()
    line.say(Command.OUTBIND, system_id="us", password=PASSWORD)
    answer_bind(line)
    assert world.gateway.bound_peers() == ("centre",)
    assert line.connection.session.side is Side.ESME


def test_outbind_of_a_stranger() -> None:
    world = World(ESME)
    line = world.connect()
    line.say(Command.OUTBIND, system_id="us", password="wrong")
    assert line.said() == []
    assert line.is_closing


def test_bind_where_only_outbind_is_expected() -> None:
    world = World(ESME)
    line = world.connect()
    assert line.bind().status == Status.ESME_RINVBNDSTS


def test_when_bound_fails_with_the_connection() -> None:
    world = World()
    line = world.connect()
    errors: list[Any] = []
    line.connection.when_bound().addErrback(lambda failure: errors.append(failure.type))
    line.lose()
    assert errors == [LinkError]
