"""Strangers at every listening door: they never keep a peer out, and whoever guesses is slowed down and told of."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import globalLogPublisher

from aircharge.wire.smpp.constants import Command, Status
from aircharge.wire.smpp.pdu import Pdu, encode
from tests.protocols.smpp_world import PASSWORD, World, peer
from tests.protocols.test_operator_link import _World as OperatorWorld
from tests.protocols.test_pos_line import House, frame


def wrong(world: World, host: str, name: str = "smsc") -> Any:
    """A wrong bind; None where the connection is refused."""
    connection = world.server.buildProtocol(IPv4Address("TCP", host, 1))
    if connection is None:
        return None
    wire = StringTransport(peerAddress=IPv4Address("TCP", host, 1))
    connection.makeConnection(wire)
    fields = {"system_id": name, "password": "guess", "interface_version": 0x34}
    connection.dataReceived(encode(Pdu(Command.BIND_TRANSCEIVER, 1, 0, fields), 0x34))
    return connection, wire


class TestOperator:
    def test_idle_strangers_do_not_keep_the_operator_out(self) -> None:
        world = OperatorWorld(lines=0, links_max=16)
        for number in range(200):
            world.dial(host=f"192.0.2.{number % 250}")
        platform = world.dial(host="10.0.0.1")
        assert platform is not None
        platform.turn()
        assert world.link.ready()

    def test_one_address_cannot_take_all(self) -> None:
        world = OperatorWorld(lines=0, links_max=16)
        for _ in range(100):
            world.dial(host="192.0.2.1")
        assert world.link.gate.strangers == 16
        waiting = world.dial(host="10.0.0.1")
        for _ in range(100):
            world.dial(host="192.0.2.1")
        waiting.turn()
        assert world.link.ready()

    def test_strangers_leave_by_themselves(self) -> None:
        world = OperatorWorld(lines=0)
        platform = world.dial()
        world.pass_time(6)
        assert platform.transport.disconnecting

    def test_a_false_operator_is_slowed_and_the_true_one_at_its_address_is_not(self) -> None:
        world = OperatorWorld(lines=1)
        seen = EventLoggingObserver()
        globalLogPublisher.addObserver(seen)
        try:
            for _ in range(20):
                false = world.dial()
                false.session._secrets = {"aircharge": b"f" * 16}
                false.turn()
        finally:
            globalLogPublisher.removeObserver(seen)
        assert 4 <= world.link.gate.counted["wrong"] < 20
        assert sum("ALARM" in event.get("log_format", "") for event in seen) == 1
        world.platforms[0].cut()
        again = world.dial().turn()
        assert again.session.is_open
        assert world.link.ready()

    def test_too_much_before_its_turn_ends_it(self) -> None:
        world = OperatorWorld(lines=0)
        for _ in range(4):
            false = world.dial()
            false.session._secrets = {"aircharge": b"f" * 16}
            false.turn()
        held = world.dial()
        held.line.dataReceived(b"\0" * 5000)
        assert held.transport.disconnecting
        patient = world.dial().turn()
        assert not world.link.ready()
        world.pass_time(2)
        patient.turn()
        assert world.link.ready()

    def test_no_more_lines_than_links_max(self) -> None:
        world = OperatorWorld(lines=0, links_max=1)
        first, second = world.dial(), world.dial()
        first.turn()
        second.turn()
        world.pass_time(1)
        second.turn()
        assert world.link.lines_bound == 1


class TestSmpp:
    def test_idle_strangers_do_not_keep_a_peer_out(self) -> None:
        world = World()
        strangers = [world.connect(f"192.0.2.{number % 250}") for number in range(6000)]
        assert sum(not one.wire.was_aborted for one in strangers) <= 256
        world.bound()

    def test_no_more_than_their_share_from_one_place(self) -> None:
        world = World()
        for number in range(300):
            world.connect(f"2001:db8::{number + 1:x}")
        assert world.server.gate.strangers == 64
        for number in range(3):
            world.connect(f"2001:db8:0:{number + 1}::1")
        assert world.server.gate.strangers == 67

    def test_whoever_says_nothing_leaves(self) -> None:
        world = World()
        line = world.connect()
        world.pass_time(6)
        assert line.wire.was_aborted
        line.lose()
        assert world.server.gate.counted["silent"] == 1
        assert world.server.gate.connections == 0

    @pytest.mark.parametrize("host", ["192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1"])
    def test_strange_places_are_refused_before_a_word(self, host: str) -> None:
        world = World(peer(allow=("10.0.0.0/8", "::ffff:172.16.0.0/108")))
        address = IPv6Address("TCP", host, 1) if ":" in host else IPv4Address("TCP", host, 1)
        assert world.server.buildProtocol(address) is None
        assert world.server.buildProtocol(IPv6Address("TCP", "::ffff:10.1.2.3", 1)) is not None
        assert world.server.buildProtocol(IPv4Address("TCP", "172.16.0.1", 1)) is not None

    def test_guesses_one_after_another_wait_longer_each_time(self) -> None:
        world = World()
        took = []
        for _ in range(10):
            began = world.clock.seconds()
            _, wire = wrong(world, "192.0.2.1")
            while not wire.value():
                world.clock.advance(0.25)
            took.append(world.clock.seconds() - began)
        assert took[:3] == [0.0, 0.0, 0.0]
        assert took[-1] == 8.0
        assert took == sorted(took)

    def test_guesses_all_at_once_are_few_and_told_once(self) -> None:
        """393 a second were tried at 515f26d; every one was judged."""
        world = World()
        seen = EventLoggingObserver()
        globalLogPublisher.addObserver(seen)
        try:
            for _ in range(60):
                for _ in range(393):
                    wrong(world, "192.0.2.1", "nobody")
                world.pass_time(1)
        finally:
            globalLogPublisher.removeObserver(seen)
        assert world.server.gate.counted["wrong"] < 60 * 20
        assert sum("ALARM" in event.get("log_format", "") for event in seen) == 1

    def test_an_alarm_an_hour(self) -> None:
        world = World()
        seen = EventLoggingObserver()
        globalLogPublisher.addObserver(seen)
        try:
            for _ in range(8 * 3600 // 300):
                for _ in range(5):
                    wrong(world, "192.0.2.1")
                world.clock.advance(300)
        finally:
            globalLogPublisher.removeObserver(seen)
        assert 8 <= sum("ALARM" in event.get("log_format", "") for event in seen) <= 9

    def test_a_peer_behind_the_guessers_address_comes_back(self) -> None:
        world = World()
        line = world.bound()
        for _ in range(200):
            wrong(world, "10.0.0.1")
        line.lose()
        for _ in range(200):
            wrong(world, "10.0.0.1")
        world.bound()
        # Now that it is there, nobody guesses its password at the speed of the line.
        before = world.server.gate.counted["wrong"]
        for _ in range(200):
            wrong(world, "10.0.0.1")
        assert world.server.gate.counted["wrong"] == before

    def test_a_peer_that_is_new_there_waits_and_comes_in(self) -> None:
        world = World()
        for _ in range(30):
            wrong(world, "10.0.0.1")
        line = world.connect()
        fields = {"system_id": "smsc", "password": PASSWORD, "interface_version": 0x34}
        line.say(Command.BIND_TRANSCEIVER, **fields)
        assert line.said() == []
        world.pass_time(9)
        (answer,) = line.said()
        assert answer.status == 0

    def test_a_place_of_the_configuration_is_heard_at_once(self) -> None:
        world = World(peer(allow=("10.0.0.1",)))
        for _ in range(30):
            wrong(world, "10.0.0.1")
        world.bound()

    def test_elsewhere_nobody_waits(self) -> None:
        world = World()
        for _ in range(30):
            wrong(world, "192.0.2.1")
        world.bound()

    def test_the_right_password_with_no_room_is_no_guess(self) -> None:
        world = World(peer(sessions_max=1))
        world.bound()
        for _ in range(20):
            assert world.connect().bind().status == Status.ESME_RBINDFAIL
        assert world.server.gate.counted["wrong"] == 0

    def test_what_is_remembered_of_guessers_is_bounded(self) -> None:
        world = World()
        for number in range(6000):
            _, wire = wrong(world, f"192.{number >> 16}.{number >> 8 & 255}.{number & 255}")
            assert wire.value()
        assert len(world.server.gate._wrongs) <= 4096

    def test_a_wrong_outbind_is_slowed_too(self) -> None:
        world = World(peer(role="esme", outbind=True, mt_pdu="submit_sm"))
        for _ in range(8):
            line = world.connect()
            line.say(Command.OUTBIND, system_id="smsc", password="guess")
        assert 4 <= world.server.gate.counted["wrong"] < 8
        world.pass_time(9)
        assert world.server.gate.counted["wrong"] == 8

    def test_nothing_is_left_when_a_held_one_hangs_up(self) -> None:
        world = World()
        lines = [wrong(world, "192.0.2.1")[0] for _ in range(10)]
        for connection in lines:
            connection.connectionLost()
        world.pass_time(1)
        assert world.server.gate.connections == 0
        assert world.clock.getDelayedCalls() == []


class TestTerminals:
    @pytest.mark.parametrize("framing", ["tpdu", "fsk-gateway", "stx", "hdlc", "fsk"])
    def test_idle_ones_end(self, framing: str) -> None:
        house = House(framing=framing, has_tpdu=framing == "tpdu")
        _, transport = house.connect()
        house.clock.pump([1] * 31)
        assert transport.disconnecting

    def test_half_a_message_octet_by_octet_ends(self) -> None:
        house = House()
        line, transport = house.connect()
        for octet in frame(b"a" * 100):
            line.dataReceived(bytes([octet]))
            house.clock.pump([1])
            if transport.disconnecting:
                break
        assert transport.disconnecting
        assert house.heard == []

    def test_silent_ones_give_way_and_one_address_has_its_share(self) -> None:
        house = House()
        for _ in range(1100):
            house.connect()
        assert house.server.gate.strangers == 500
        for number in range(5000):
            house.connect(f"10.1.{number >> 8}.{number & 255}")
        assert house.server.gate.strangers == 1000
        line, _ = house.connect("10.9.9.9")
        line.dataReceived(frame(b"a"))
        assert len(house.heard) == 1


class TestPages:
    def test_octet_by_octet_or_not_at_all_ends(self) -> None:
        from twisted.web.resource import Resource
        from twisted.web.server import Site

        from aircharge.protocols.guarded import Guarded

        clock = Clock()
        doors = Guarded(Site(Resource()), "metrics", clock)
        here = IPv4Address("TCP", "127.0.0.1", 1)
        silent, slow = doors.buildProtocol(here), doors.buildProtocol(here)
        wires = [StringTransport(), StringTransport()]
        for connection, wire in zip((silent, slow), wires, strict=True):
            connection.makeConnection(wire)
        for _ in range(20):
            slow.dataReceived(b"G")
            clock.advance(1)
            if wires[1].disconnecting:
                break
        assert [wire.disconnecting for wire in wires] == [True, True]
        assert doors.gate.counted["silent"] == 1
        for connection in (silent, slow):
            connection.connectionLost()
        assert doors.gate.connections == 0
        for _ in range(100):
            doors.buildProtocol(here)
        assert doors.gate.strangers == 32
