"""Every input in every state gives a legal state or the right error PDU, and nothing raises."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from aircharge.errors import NotSent
from aircharge.wire.smpp.constants import Command, Status
from aircharge.wire.smpp.pdu import Pdu, decode, encode
from aircharge.wire.smpp.session import BindAsked, Ended, OutbindAsked, Received, Session
from aircharge.wire.smpp.states import LEGAL, Side, State
from aircharge.wire.smpp.timers import SessionSettings

SETTINGS = SessionSettings(window_max=2, queue_max=2, window_in_max=3, response_s=4.0, drain_s=2.0)
COMMANDS = st.sampled_from([int(command) for command in Command] + [0x77, 0x80000077, 0])
HEADERS = st.builds(
    lambda command, status, sequence, body: (
        struct.pack(">IIII", 16 + len(body), command, status, sequence) + body
    ),
    COMMANDS,
    st.sampled_from([0, 0, 0x58, 0xFFFFFFFF]),
    st.integers(0, 6),
    st.binary(max_size=60),
)
WHOLE = st.builds(
    lambda command, sequence: encode(Pdu(command, sequence, 0, {"system_id": "a", "password": "b"})),
    st.sampled_from(
        [Command.BIND_RECEIVER, Command.BIND_TRANSMITTER, Command.BIND_TRANSCEIVER, Command.OUTBIND]
    ),
    st.integers(1, 6),
)
MESSAGES = st.builds(
    lambda command, sequence: encode(Pdu(command, sequence, 0, {"short_message": b"x"})),
    st.sampled_from([Command.SUBMIT_SM, Command.DELIVER_SM]),
    st.integers(1, 6),
)
ACTIONS = st.one_of(
    HEADERS,
    WHOLE,
    MESSAGES,
    st.binary(max_size=20),
    st.sampled_from(["tick", "wait", "accept", "refuse", "bind", "answer", "request", "unbind", "throttle"]),
)


class Driver:
    """Acts on a session as an application would, and checks after each step what must always hold."""

    def __init__(self, side: Side | None) -> None:
        self.session = Session(side, SETTINGS, 0.0)
        self.now = 0.0
        self.owed: list[Pdu] = []
        self.asked: BindAsked | OutbindAsked | None = None
        self.ended = 0

    def act(self, action: bytes | str) -> None:
        session = self.session
        if isinstance(action, bytes):
            self.hear(session.receive(action, self.now))
        elif action in ("tick", "wait"):
            self.now += 0.5 if action == "tick" else 40.0
            self.hear(session.tick(self.now))
        elif action in ("accept", "refuse") and isinstance(self.asked, BindAsked) and not self.ended:
            asked, self.asked = self.asked, None
            if action == "accept":
                self.hear(session.accept_bind(asked.pdu, "us", self.now))
            else:
                self.hear(session.refuse_bind(asked.pdu, Status.ESME_RBINDFAIL))
        elif action == "bind" and session.side is Side.ESME and self.may_bind():
            session.bind(Command.BIND_TRANSCEIVER, {"system_id": "us"}, self.now)
        elif action == "answer" and self.owed:
            self.hear(session.respond(self.owed.pop(0), 0, self.now))
        elif action == "request":
            try:
                session.request(Pdu(Command.SUBMIT_SM, 0, 0, {"short_message": b"x"}), "token", self.now)
            except NotSent:
                assert not session.may_request(Command.SUBMIT_SM)
        elif action == "unbind":
            self.hear(session.unbind(self.now))
        elif action == "throttle":
            session.is_throttling = not session.is_throttling

    def may_bind(self) -> bool:
        return self.session.state in (State.OPEN, State.OUTBOUND) and self.session._binding is None

    def hear(self, events: list[object]) -> None:
        for event in events:
            assert not self.ended, "nothing follows the end"
            if isinstance(event, Received):
                self.owed.append(event.pdu)
            elif isinstance(event, BindAsked | OutbindAsked):
                self.asked = event
            elif isinstance(event, Ended):
                self.ended += 1

    def check(self) -> None:
        session = self.session
        assert session.has_ended == (session.state is State.CLOSED) == bool(self.ended)
        assert session.unanswered_in == len(self.owed) <= SETTINGS.window_in_max
        assert session.unanswered_out <= SETTINGS.window_max
        assert session.queued_out <= SETTINGS.queue_max
        data = session.data_to_send()
        while data:  # whatever we say is a whole, legal PDU
            length = int.from_bytes(data[:4], "big")
            pdu = decode(data[:length])
            assert pdu.command in LEGAL or pdu.command & 0x80000000
            data = data[length:]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([None, *Side]), st.lists(ACTIONS, max_size=25))
def test_every_input_in_every_state(side: Side | None, actions: list[bytes | str]) -> None:
    driver = Driver(side)
    for action in actions:
        driver.act(action)
        driver.check()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(HEADERS, MESSAGES, st.sampled_from(["tick", "answer", "request", "unbind"])), max_size=25
    )
)
def test_every_input_once_bound(actions: list[bytes | str]) -> None:
    for ours in Side:
        driver = Driver(ours)
        if ours is Side.MC:
            driver.act(encode(Pdu(Command.BIND_TRANSCEIVER, 1, 0, {"system_id": "a"})))
            driver.act("accept")
        else:
            driver.act("bind")
            driver.check()
            driver.act(encode(Pdu(Command.BIND_TRANSCEIVER_RESP, 1, 0, {"system_id": "mc"})))
        assert driver.session.is_bound
        for action in actions:
            driver.act(action)
            driver.check()
