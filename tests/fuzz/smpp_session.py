"""The SMPP session in eleven states: fed octets or framed records, then answering, waiting and parting."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from aircharge.errors import NotSent
from aircharge.wire.framing import SmppSplitter
from aircharge.wire.smpp.constants import RESPONSE_BIT, Command
from aircharge.wire.smpp.pdu import Header, Pdu, decode, encode, read_header
from aircharge.wire.smpp.session import Answered, BindAsked, Bound, Ended, Event, Lost, Received, Session
from aircharge.wire.smpp.states import LEGAL, Side
from aircharge.wire.smpp.timers import SessionSettings
from tests.fuzz.smpp import BOMBS, TAME, sample_frames
from tests.fuzz.target import Target, same_however_cut

__all__ = ["TARGETS"]

_COMMANDS: Final = [*map(int, Command), 0x77, 0x80000077]
_NOT_AT_ONCE: Final = (Command.OUTBIND, Command.ALERT_NOTIFICATION, Command.UNBIND)
_STATUSES: Final = (0, 0, 0x58, 0xFFFFFFFF)
_SETTINGS: Final = SessionSettings(window_max=2, queue_max=2, window_in_max=3, response_s=4.0, drain_s=2.0)
_FIVE: Final = SessionSettings(interface_version=0x50, window_max=2, queue_max=2, window_in_max=3)


def _open(side: Side | None) -> Session:
    return Session(side, _SETTINGS, 0.0)


def _binding(command: Command) -> Session:
    session = _open(Side.ESME)
    session.bind(command, {"system_id": "us"}, 0.0)
    return session


def _esme(command: Command, *, requests: int = 0, leaving: bool = False) -> Session:
    session = _binding(command)
    session.receive(encode(Pdu(command | RESPONSE_BIT, 1, 0, {"system_id": "mc"})), 0.0)
    for number in range(requests):
        session.request(Pdu(Command.SUBMIT_SM, 0, 0, {"short_message": b"x"}), number, 0.0)
    if leaving:
        session.unbind(0.0)
    return session


def _centre(command: Command, version: int, *, settings: SessionSettings = _SETTINGS) -> Session:
    session = Session(None, settings, 0.0)
    fields = {"system_id": "a", "interface_version": version}
    for event in session.receive(encode(Pdu(command, 1, 0, fields)), 0.0):
        assert isinstance(event, BindAsked)
        session.accept_bind(event.pdu, "us", 0.0)
    return session


_BEGINNINGS: Final[tuple[Callable[[], Session], ...]] = (
    partial(_open, None),
    partial(_open, Side.MC),
    partial(_open, Side.ESME),
    partial(_binding, Command.BIND_TRANSCEIVER),
    partial(_binding, Command.BIND_TRANSMITTER),
    partial(_centre, Command.BIND_TRANSCEIVER, 0x34),
    partial(_centre, Command.BIND_TRANSMITTER, 0x33),
    partial(_centre, Command.BIND_TRANSCEIVER, 0x50, settings=_FIVE),
    partial(_esme, Command.BIND_TRANSCEIVER, requests=4),
    partial(_esme, Command.BIND_TRANSCEIVER, requests=3, leaving=True),
    partial(_esme, Command.BIND_RECEIVER),
)


def _stream(data: bytes) -> bytes:
    """The peer's octets. With the first octet's high bit they are framed here, so that every one is a PDU:
    command, status, sequence and how many octets of body follow."""
    if not data or data[0] < 0x80:
        return data[1:]
    frames = []
    at = 1
    while at + 4 <= len(data):
        command, status, sequence, octets = data[at : at + 4]
        body = data[at + 4 : at + 4 + octets]
        at += 4 + octets
        number = _COMMANDS[command % len(_COMMANDS)]
        frames.append(struct.pack(">IIII", 16 + len(body), number, _STATUSES[status & 3], sequence) + body)
    return b"".join(frames)


def _begin(data: bytes) -> Session:
    session = _BEGINNINGS[(data[0] & 0x7F if data else 0) % len(_BEGINNINGS)]()
    session.data_to_send()
    return session


def _hear(data: bytes, pieces: Iterable[bytes]) -> tuple[list[Event], bytes, Session]:
    session = _begin(data)
    events: list[Event] = []
    for piece in pieces:
        events += session.receive(piece, 1.0)
    return events, session.data_to_send(), session


def _session(data: bytes) -> tuple[list[Event], bytes, Session]:
    return _hear(data, (_stream(data),))


def _session_lives(heard: tuple[list[Event], bytes, Session], data: bytes) -> None:
    events, said, session = heard
    same_however_cut(lambda pieces: _hear(data, pieces)[:2], (events, said), _stream(data))
    waiting = session.unanswered_out + session.queued_out
    expected = waiting + sum(isinstance(event, Answered | Lost) for event in events)
    later: list[Event] = []
    for event in events:
        if isinstance(event, Received) and not session.has_ended:
            later += session.respond(event.pdu, 0, 2.0)
        elif isinstance(event, BindAsked) and not session.has_ended:
            later += session.accept_bind(event.pdu, "us", 2.0)
    said += session.data_to_send()
    if not session.has_ended:
        _check_answers(_stream(data), said)
    try:
        session.request(Pdu(Command.SUBMIT_SM, 0, 0, {"short_message": b"x"}), "new", 2.0)
        expected += 1
    except NotSent:
        assert not session.may_request(Command.SUBMIT_SM)
    for now in (3.0, 10.0, 40.0, 80.0, 100.0):
        later += session.tick(now)
    later += session.connection_lost()
    _check_story([*events, *later], expected)
    _check_said(said + session.data_to_send())


def _check_story(events: list[Event], expected: int) -> None:
    """One end at most and nothing of the peer behind it; every request of ours answered or lost, once."""
    ends = [at for at, event in enumerate(events) if isinstance(event, Ended)]
    assert len(ends) <= 1
    if ends:
        assert not any(isinstance(event, Received | Answered | Bound) for event in events[ends[0] :])
    tokens = [event.token for event in events if isinstance(event, Answered | Lost)]
    assert len(set(tokens)) == len(tokens) == expected


def _split(octets: bytes) -> Iterator[Header]:
    splitter = SmppSplitter()
    splitter.feed(octets)
    while isinstance(frame := splitter.next_frame(), bytes):
        yield read_header(frame)


def _check_answers(heard: bytes, said: bytes) -> None:
    """Each request of the peer is answered once, under its own number, before anybody parts."""
    asked = [header for header in _split(heard) if not header.command & RESPONSE_BIT]
    if any(header.command in _NOT_AT_ONCE for header in asked):
        return
    answers = [header.sequence for header in _split(said) if header.command & RESPONSE_BIT]
    assert sorted(answers) == sorted(header.sequence for header in asked)


def _check_said(said: bytes) -> None:
    """Whatever we say is whole, legal PDUs."""
    while said:
        length = int.from_bytes(said[:4], "big")
        pdu = decode(said[:length])
        assert pdu.command in LEGAL or pdu.command & RESPONSE_BIT
        said = said[length:]


def _session_seeds() -> Iterator[bytes]:
    stream = b"".join(sample_frames()[:6])
    for number in range(len(_BEGINNINGS)):
        yield bytes((number,)) + stream[:400]
    commands = [command for command in _COMMANDS if command & 0xFFFF < 0x200]
    every = b"".join(bytes((_COMMANDS.index(command), 0, 2, 0)) for command in commands)
    deliver = encode(Pdu(Command.DELIVER_SM, 5, 0, {"short_message": b"x"}))[16:]
    message = bytes((_COMMANDS.index(Command.DELIVER_SM), 0, 5, len(deliver))) + deliver
    for number in range(len(_BEGINNINGS)):
        yield bytes((0x80 | number,)) + message + every
    yield bytes((5,)) + BOMBS[0]


def _opened_session() -> Callable[[bytes], Any]:
    session = _begin(b"\x05")
    return lambda data: session.receive(data, 1.0)


TARGETS: Final = {
    "smpp-session": Target(
        _session, _session_lives, (), tame=TAME, bombs=BOMBS, opened=_opened_session, seeds=_session_seeds
    ),
}
