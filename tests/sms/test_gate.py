"""The gate: who was told "later" is told so again unread, for as long as the rate of refusals asks for."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.observe.metrics import Counter
from aircharge.sms.gate import SmsGate
from aircharge.switch.admission import HOUSE, Crowded
from aircharge.switch.workload import Work
from aircharge.wire.gsm import Element
from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.message import MobileMessage
from aircharge.wire.smpp.pdu import Pdu, encode
from tests.switch.world import ScriptedClock

SHOP, OTHER, RECHARGES, QUERIES = "13900000001", "13900000002", "0353911", "0353910"


def frame(
    source: str = SHOP, to: str = RECHARGES, said: bytes = b"13812345678 50", esm_class: int = 0
) -> bytes:
    fields: dict[str, Any] = {"source_addr": source, "destination_addr": to, "esm_class": esm_class}
    return encode(Pdu(Command.DELIVER_SM, 1, 0, {**fields, "short_message": said}))


def message(source: str = SHOP, to: str = RECHARGES, *, secured: bool = False) -> MobileMessage:
    return MobileMessage(source, to, None, b"", (Element(0x70, b""),) if secured else ())


class Box:
    def __init__(self) -> None:
        self.clock = ScriptedClock()
        self.unread = Counter()
        self.roomy = False
        self.gate = SmsGate(self.clock, 100.0, lambda number, work: self.roomy, self.unread)

    def refuse(self, *, why: str = "outlet", **about: Any) -> None:
        self.gate.refused(message(**about), Crowded(1, Work.TEXT, why))


def test_only_the_same_kind_from_the_same_number_to_the_same_service_is_unread() -> None:
    box = Box()
    assert box.gate.admits(frame())
    box.refuse()
    assert not box.gate.admits(frame())
    assert box.gate.admits(frame(OTHER))
    assert box.gate.admits(frame(to=QUERIES))
    assert box.gate.admits(frame(esm_class=0x40))
    assert box.gate.admits(b"no message at all")
    assert box.unread.value == 1
    box.refuse(secured=True)
    assert not box.gate.admits(frame(esm_class=0x40))


@pytest.mark.parametrize(
    "said", [b"14 13812345678 50 736194", b"18 13900000002 736194", "14 12345678 736194".encode("utf-16-be")]
)
def test_a_reversal_and_a_loss_are_always_read(said: bytes) -> None:
    box = Box()
    box.refuse()
    assert box.gate.admits(frame(said=said))


def test_so_many_a_second_are_opened_to_be_refused_however_many_send() -> None:
    """Whoever is read is refused; 100 a second may be, by all of them together."""
    box, opened = Box(), 0
    for _ in range(5000):  # 5 seconds of 50 numbers, each a thousand times a second
        box.clock.ms += 1
        for n in range(50):
            if box.gate.admits(frame(f"139{n:08d}")):
                opened += 1
                box.refuse(source=f"139{n:08d}")
    assert 300 <= opened <= 600
    box.clock.ms += 1000
    assert box.gate.admits(frame("13900000000"))


def test_several_refusals_at_once_count_as_many() -> None:
    box = Box()
    for _ in range(20):
        box.refuse()
    box.clock.ms += 190
    assert not box.gate.admits(frame())
    box.clock.ms += 20
    assert box.gate.admits(frame())


def test_when_there_is_room_again_it_is_read_at_once_unless_it_sent_too_much_itself() -> None:
    box = Box()
    box.refuse(why="room")
    box.refuse(source=OTHER, why="outlet")
    assert (box.gate.admits(frame()), box.gate.admits(frame(OTHER))) == (False, False)
    box.roomy = True
    assert (box.gate.admits(frame()), box.gate.admits(frame(OTHER))) == (True, False)


def test_what_is_kept_is_bounded() -> None:
    box = Box()
    for n in range(100_010):
        box.gate.refused(message(f"{n:011d}"), Crowded(HOUSE, Work.REPORT, "load"))
    assert len(box.gate._hot) == 100_000
    box.clock.ms += 10**12
    box.refuse()
    assert len(box.gate._hot) == 1
