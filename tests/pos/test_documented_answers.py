"""The door answers every act with the elements that docs/protocols/pos-8583.md says, no more and no fewer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aircharge.wire.iso8583.crypto import encrypt, pin_block, seal_format_4
from aircharge.wire.iso8583.message import MAC, Message
from aircharge.wire.iso8583.profile import PROFILES
from aircharge.wire.iso8583.requests import Desk, with_pin
from aircharge.wire.iso8583.terminal import Act, Line, Sums, act_of
from tests.ledger.desk import PIN
from tests.ledger.pos import TERMINAL
from tests.pos.handset import Handset
from tests.pos.shop import MERCHANT, Shop, now
from tests.wire.iso8583.test_document import table

NUMBER = "13812345678"
ECHOED = {2, 3, 4, 11, 41, 42, 49, 60}
ALWAYS = {12, 13, 39}
ADDED = {row[0]: {int(number) for number in row[4].split()} for row in table(4)}


def sealed(handset: Handset, number: str = "") -> bytes:
    """The outlet's PIN as the profile's DE 52 takes it."""
    if handset.profile.fields[52].size == 8:
        return encrypt(handset.pik, pin_block(PIN, number))
    return seal_format_4(handset.pik, PIN, number, bytes(8))


def day(handset: Handset) -> Iterator[Message]:
    """Requests that all succeed, one after the other."""
    desk = Desk(TERMINAL, MERCHANT, 1)
    sale, lost = desk.sale(1, NUMBER, 5000), desk.sale(2, "13812345679", 5000)
    original = desk.original(1, "1123")
    yield desk.request(Act.PARAMETERS, 10)
    yield sale
    yield desk.request(Act.CHECK, 11, {2: NUMBER})
    yield desk.request(Act.BALANCE, 12)
    yield desk.request(Act.LAST, 13)
    yield desk.request(Act.COPY, 14, {61: original})
    yield Desk.reversal(lost)
    yield with_pin(desk.void(3, 5000, original), sealed(handset), bound=False)
    yield with_pin(desk.sale(4, NUMBER, 5000, repeat=2), sealed(handset, NUMBER), bound=True)
    yield desk.settle(15, Sums(9999, 9))
    yield desk.upload(16, [Line(1, 5000)])
    yield desk.upload_end(17, 1)
    yield desk.request(Act.ECHO, 18)
    yield desk.request(Act.SIGN_OUT, 19)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_act_as_documented(profile: str) -> None:
    shop = Shop(profile=profile, parameters=("MENU=1",))
    handset = Handset(shop)
    seen = {Act.SIGN_IN}
    signed = handset.sign_in()
    assert signed is not None
    assert signed.fields.keys() == {11, 41, 42, 60} | ALWAYS | ADDED["sign-in"]
    for request in day(handset):
        act = act_of(request)
        assert act is not None
        answer = handset.ask_for(request, b"" if act is Act.ECHO else None)
        assert answer is not None, act
        assert (answer.mti, answer.text(39)) == (f"{int(request.mti) + 10:04d}", "00"), act
        mac = set() if act is Act.ECHO else {MAC}
        assert answer.fields.keys() == (ECHOED & request.fields.keys()) | ALWAYS | ADDED[act.value] | mac, act
        seen.add(act)
    assert seen == set(Act)
    for _ in range(2):
        now(shop.cancels.round())
    shop.close()
