"""A terminal that signs whatever comes into its head, and strangers' octets: an answer of the table, or silence."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aircharge.pos import codes
from aircharge.wire.iso8583.message import MAC, BadMessage, Message
from aircharge.wire.iso8583.profile import CUP
from aircharge.wire.iso8583.terminal import ACTS, MANDATORY
from tests.fuzz.mutation import mutants
from tests.ledger.pos import TERMINAL
from tests.pos.handset import Handset
from tests.pos.shop import MERCHANT, Shop
from tests.wire.iso8583.samples import REQUESTS
from tests.wire.iso8583.test_message import values

CODES: Final = {
    value for name, value in vars(codes).items() if name in codes.__all__ and isinstance(value, str)
}
KNOWN: Final = CODES | set(codes.CODES.values())
ELEMENTS: Final = sorted(number for number in CUP.fields if number < MAC)
TRACES: Final = st.integers(1, 9)


@st.composite
def requests(draw: st.DrawFn) -> Message:
    """Of a known kind mostly, by a known terminal; what else it bears is anything that fits."""
    (mti, kind), act = draw(st.sampled_from(sorted(ACTS.items())))
    numbers = {*MANDATORY[act], *draw(st.sets(st.sampled_from(ELEMENTS), max_size=4))} - {MAC}
    fields: dict[int, Any] = {number: draw(values(CUP.fields[number])) for number in sorted(numbers)}
    fields |= {41: TERMINAL, 42: MERCHANT, 49: "156"}
    if draw(st.integers(0, 9)) != 7:
        fields[60] = f"22000001{kind if len(kind) == 3 else '000'}"
    if len(kind) == 6:
        fields |= {3: kind, 2: draw(st.sampled_from(["13812345678", "13812345679", "1"]))}
        fields |= {4: f"{draw(st.sampled_from([0, 1, 5000, 10_000])):012d}", 11: f"{draw(TRACES):06d}"}
        fields[61] = f"000001{draw(TRACES):06d}"
    return Message(mti, fields)


def check(handset: Handset, octets: bytes | None, request: Message | None = None) -> None:
    if octets is None:
        return
    answer = handset.read(octets)
    assert answer.text(39) in KNOWN
    if request is not None:
        assert (answer.mti, answer.text(11)) == (request.answer_mti, request.text(11))


def test_whatever_a_terminal_signs() -> None:
    shop = Shop()
    handset = Handset(shop)
    handset.sign_in()

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(requests())
    def run(request: Message) -> None:
        try:
            octets = handset.octets(request)
        except BadMessage:
            return  # longer than a message is
        check(handset, handset.send(octets), request)
        if not shop.terminal().mak or shop.terminal().mak != handset.mak:
            handset.sign_in()

    run()
    shop.close()


def test_whatever_strangers_send() -> None:
    shop = Shop()
    handset = Handset(shop)
    handset.sign_in()
    examples = [handset.octets(Message(request.mti, dict(request.fields))) for request in REQUESTS]
    source = mutants(examples, 20261123)
    for _ in range(3000):
        check(handset, handset.send(next(source)))
    shop.close()
