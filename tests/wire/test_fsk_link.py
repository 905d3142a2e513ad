"""The FSK dialogue of both ends: the vectors' call, receipts lost, repeats, noise, the line that dies."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.errors import NotSent, WireError
from aircharge.wire.fsk import FskFrame, FskType
from aircharge.wire.fsk_link import MASK_OLD, FskLink, FskSettings, Role
from aircharge.wire.pos_link import Delivered, Ended, Event, Lost, Malformed, Message, Opened, Received
from tests.wire.pos_line import Line, in_pieces

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "pos_fsk.json").read_text("utf-8"))
RANDOM = bytes.fromhex("1a2b3c4d")
BARE = FskSettings(preamble_octets=0)


def linked(settings: FskSettings = BARE) -> tuple[FskLink, FskLink]:
    centre, terminal = FskLink(settings, Role.CENTRE, 0), FskLink(settings, Role.TERMINAL, 0)
    assert terminal.receive(centre.open(RANDOM, 0), 0) == [Opened()]
    assert centre.receive(terminal.data_to_send(), 0) == [Opened()]
    return centre, terminal


def contents(events: list[Event]) -> list[bytes]:
    return [event.message.content for event in events if isinstance(event, Received)]


def test_the_call_of_the_vectors() -> None:
    rows = [bytes.fromhex(row["hex"]) for row in VECTORS["link_frames"]]
    asked, said = Message(bytes.fromhex("020068656c6c6f")), Message(bytes.fromhex("02006f6b"))
    centre, terminal = FskLink(BARE, Role.CENTRE, 0), FskLink(BARE, Role.TERMINAL, 0)
    assert centre.open(RANDOM, 0) == rows[0]
    assert terminal.receive(rows[0], 0) == [Opened()]
    assert terminal.data_to_send() == rows[1]
    assert centre.receive(rows[1], 0) == [Opened()]
    assert terminal.send(asked, 0) == rows[2]
    assert centre.receive(rows[2], 0) == [Received(asked)]
    assert centre.data_to_send() == rows[3]
    assert terminal.receive(rows[3], 0) == [Delivered(asked)]
    assert centre.send(said, 0) == rows[4]
    assert terminal.receive(rows[4], 0) == [Received(said)]
    assert terminal.data_to_send() == rows[5]
    assert centre.receive(rows[5], 0) == [Delivered(said)]
    assert centre.end("done") == [Ended("done")]


def test_a_data_frame_in_place_of_a_receipt_is_one() -> None:
    centre, terminal = linked()
    centre.receive(terminal.send(Message(b"1"), 0), 0)
    centre.data_to_send()  # the receipt is lost
    assert terminal.receive(centre.send(Message(b"2"), 0), 0) == [
        Delivered(Message(b"1")),
        Received(Message(b"2")),
    ]


def test_a_repeat_is_acknowledged_and_not_handed_out_again() -> None:
    centre, terminal = linked()
    frame = terminal.send(Message(b"1"), 0)
    assert contents(centre.receive(frame, 0)) == [b"1"]
    receipt = centre.data_to_send()
    assert centre.receive(frame, 1) == []
    assert centre.data_to_send() == receipt
    centre.send(Message(b"2"), 1)
    assert centre.receive(frame, 2) == []  # our data frame, sent again, is the receipt
    assert centre.data_to_send() == b""
    assert centre.repeats_received == 2


def test_data_stands_for_a_lost_link_answer() -> None:
    centre, terminal = FskLink(BARE, Role.CENTRE, 0), FskLink(BARE, Role.TERMINAL, 0)
    terminal.receive(centre.open(RANDOM, 0), 0)
    terminal.data_to_send()
    assert centre.receive(terminal.send(Message(b"1"), 0), 0) == [Opened(), Received(Message(b"1"))]


def test_frames_of_another_call_or_out_of_place_are_dropped() -> None:
    centre, _terminal = linked()
    strange = [
        FskFrame(FskType.FROM_TERMINAL, b"othr", 1, b"x"),
        FskFrame(FskType.FROM_CENTRE, RANDOM, 1, b"x"),
        FskFrame(FskType.FROM_TERMINAL, RANDOM, 9, b"x"),
        FskFrame(FskType.LINK_REQUEST, RANDOM, 0),
    ]
    for frame in strange:
        assert [type(event) for event in centre.receive(frame.encode(), 0)] == [Malformed]
    assert centre.data_to_send() == b""
    assert centre.receive(FskFrame(FskType.RECEIVED, RANDOM, 0).encode(), 0) == []
    assert centre.frames_dropped == len(strange)


def test_without_a_receipt_it_is_said_ten_times_and_over() -> None:
    centre, _ = linked()
    said = [centre.send(Message(b"x"), 0)]
    with pytest.raises(NotSent):
        centre.send(Message(b"y"), 0)
    events: list[Event] = []
    while not events:
        assert centre.deadline is not None
        events = centre.tick(centre.deadline)
        said.append(centre.data_to_send())
    assert [len(said) - 1, set(said)] == [10, {said[0], b""}]
    assert events == [Lost(Message(b"x")), Ended("no receipt")]
    with pytest.raises(NotSent):
        centre.send(Message(b"y"), 99)


def test_nobody_answers_and_nobody_speaks() -> None:
    centre, terminal = FskLink(BARE, Role.CENTRE, 0), FskLink(BARE, Role.TERMINAL, 0)
    with pytest.raises(NotSent):
        terminal.send(Message(b"x"), 0)
    line = Line(centre, terminal, spoil=lambda data: b"")
    line.put(0, centre.open(RANDOM, 0))
    line.carry(300)
    assert line.heard == ([Ended("no receipt")], [Ended("silence")])
    assert len(line.written) == 10


def test_a_new_call_on_the_same_line_begins_anew() -> None:
    _centre, terminal = linked()
    terminal.send(Message(b"x"), 0)
    request = FskFrame(FskType.LINK_REQUEST, b"abcd", 0)
    assert terminal.receive(request.encode(), 0) == [Lost(Message(b"x")), Opened()]
    assert terminal.receive(request.encode(), 0) == []
    assert terminal.sequence == 0


def test_the_variant_that_masks_the_random() -> None:
    masked = FskSettings(preamble_octets=0, random_mask=MASK_OLD)
    centre, terminal = linked(masked)
    assert centre.random == terminal.random == bytes.fromhex("2d736b4c")  # 1a2b3c4d XOR 37585701
    frame = terminal.send(Message(b"1"), 0)
    assert frame[3:7] == centre.random
    assert contents(centre.receive(frame, 0)) == [b"1"]
    assert centre.data_to_send()[3:7] == centre.random
    request = FskFrame(FskType.LINK_REQUEST, RANDOM, 0).encode()
    assert terminal.receive(request, 1) == []  # the same call
    assert terminal.data_to_send() == FskFrame(FskType.LINK_ANSWER, centre.random, 0).encode()
    plain = FskLink(BARE, Role.TERMINAL, 0)
    plain.receive(request, 0)
    strange = FskLink(masked, Role.CENTRE, 0)
    strange.open(RANDOM, 0)
    assert [type(event) for event in strange.receive(plain.data_to_send(), 0)] == [Malformed]


def test_it_does_not_interrupt_the_other_end() -> None:
    centre, _terminal = linked()
    centre.send(Message(b"x"), 0)
    due = centre.deadline
    assert due is not None
    centre.receive(FskFrame(FskType.RECEIVED, RANDOM, 1).encode()[:4], due)
    assert centre.tick(due) == []
    assert centre.data_to_send() == b""


def test_a_message_waits_while_the_other_end_speaks() -> None:
    """From its preamble on; then the receipt goes first, and the message bears the number behind theirs."""
    settings = FskSettings(preamble_octets=30)
    centre, terminal = linked(settings)
    frame = terminal.send(Message(b"asked"), 0)
    assert centre.receive(frame[:3], 5.0) == []
    assert centre.send(Message(b"answer"), 5.1) == b""
    with pytest.raises(NotSent):
        centre.send(Message(b"another"), 5.1)
    assert centre.deadline == 5.0 + settings.gap_s
    assert centre.receive(frame[3:40], 5.2) + centre.tick(5.4) == []
    assert centre.data_to_send() == b""
    assert contents(centre.receive(frame[40:], 5.5)) == [b"asked"]
    said = centre.data_to_send()
    assert terminal.receive(said, 6) == [Delivered(Message(b"asked")), Received(Message(b"answer"))]
    assert centre.receive(terminal.data_to_send(), 7) == [Delivered(Message(b"answer"))]


def test_a_receipt_waits_for_the_frame_that_comes_behind() -> None:
    centre, terminal = linked()
    frame = terminal.send(Message(b"1"), 0)
    assert contents(centre.receive(frame + b"\x55\x55", 1.0)) == [b"1"]
    assert centre.data_to_send() == b""
    assert centre.receive(frame, 1.1) == []  # their repeat; one receipt will do
    receipt = centre.data_to_send()
    assert FskFrame.decode(receipt) == FskFrame(FskType.RECEIVED, RANDOM, 1)
    centre.receive(frame + b"\x55", 2.0)
    assert centre.deadline == 2.0 + BARE.gap_s
    centre.tick(2.0 + BARE.gap_s)  # nothing came of it
    assert centre.data_to_send() == receipt


@pytest.mark.parametrize("octet", [0x00, 0x55, 0x87])
def test_endless_noise_stops_nothing(octet: int) -> None:
    """Not longer than the longest frame would take."""
    centre, _ = linked()
    now = 10.0
    centre.receive(bytes([octet]), now)
    assert centre.send(Message(b"x"), now) == b""
    said = b""
    while not said:
        now += 0.2
        centre.receive(bytes([octet]), now)
        centre.tick(now)
        said = centre.data_to_send()
    assert now == pytest.approx(10.0 + BARE.longest_s, abs=0.21)
    assert centre.connection_lost() == [Lost(Message(b"x")), Ended("connection lost")]


def test_a_message_that_waited_in_vain_is_lost_with_its_call() -> None:
    centre, _ = linked()
    centre.receive(b"\x55", 1.0)
    with pytest.raises(WireError):
        centre.send(Message(bytes(2000)), 1.0)
    assert centre.send(Message(b"x"), 1.0) == b""
    assert centre.end("stopping") == [Lost(Message(b"x")), Ended("stopping")]
    assert centre.data_to_send() == b""


class Octets(Line):
    """Octets arrive a few at a time, as they go over the line; ``into``: how often one spoke into what it heard."""

    def __init__(self, left: FskLink, right: FskLink, chance: random.Random, percent: int) -> None:
        super().__init__(left, right)
        self.into = 0
        self._chance, self._percent = chance, percent
        self._heard = [(0.0, 0.0), (0.0, 0.0)]  # of each end's last words: first and last octet arrive

    def put(self, end: int, data: bytes) -> None:
        if not data:
            return
        first, last = self._heard[1 - end]
        self.into += first <= self.now < last
        spoilt, chance = bytearray(data), self._chance
        if chance.randrange(100) < self._percent:
            spoilt[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        begins = max(self.now, self._free[end])
        pieces = in_pieces(bytes(spoilt), [chance.randrange(1, 12) for _ in range(len(data) // 6)])
        for piece in filter(None, pieces):
            super().put(end, piece)
        self._heard[end] = begins + len(pieces[0]) * self._octet_s, self._free[end]


@given(st.integers(0, 2**32), st.integers(0, 40))
def test_octet_by_octet_nobody_speaks_into_what_comes_in(seed: int, percent: int) -> None:
    """An answer is wanted while repeats and receipts come in: each arrives once, in order, begun over nothing."""
    chance = random.Random(seed)
    settings = FskSettings(preamble_octets=8, tries_max=1000, idle_s=1e9)
    line = Octets(FskLink(settings, Role.CENTRE, 0), FskLink(settings, Role.TERMINAL, 0), chance, percent)
    line.put(0, line.ends[0].open(RANDOM, 0))
    line.carry(3000, lambda: Opened() in line.heard[0])
    for number in range(4):
        end = 1 - number % 2
        line.put(end, line.ends[end].send(Message(b"%d" % number), line.now))
        message = Received(Message(b"%d" % number))
        line.carry(line.now + 3000, lambda end=end, message=message: message in line.heard[1 - end])
        line.carry(line.now + chance.random() * 3)
    line.carry(line.now + 600)
    assert (contents(line.heard[0]), contents(line.heard[1])) == ([b"0", b"2"], [b"1", b"3"])
    assert line.into == 0


@given(st.integers(0, 2**32), st.integers(0, 40))
def test_over_a_bad_line_every_message_arrives_once_and_in_order(seed: int, percent: int) -> None:
    chance = random.Random(seed)

    def spoil(data: bytes) -> bytes:
        if chance.randrange(100) >= percent:
            return chance.randbytes(chance.randrange(5)) + data
        spoilt = bytearray(data)
        spoilt[chance.randrange(len(spoilt))] ^= chance.randrange(1, 256)
        return bytes(spoilt[: chance.randrange(1, len(spoilt) + 1)])

    settings = FskSettings(preamble_octets=4, tries_max=1000, idle_s=1e9)
    line = Line(FskLink(settings, Role.CENTRE, 0), FskLink(settings, Role.TERMINAL, 0), spoil)
    line.put(0, line.ends[0].open(RANDOM, 0))
    line.carry(3000, lambda: Opened() in line.heard[0])
    for number in range(6):
        end = 1 - number % 2
        line.put(end, line.ends[end].send(Message(b"%d" % number), line.now))
        message = Received(Message(b"%d" % number))
        line.carry(line.now + 3000, lambda end=end, message=message: message in line.heard[1 - end])
    line.carry(line.now + 600)
    assert contents(line.heard[0]) == [b"0", b"2", b"4"]
    assert contents(line.heard[1]) == [b"1", b"3", b"5"]
