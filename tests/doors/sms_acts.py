"""What outlets send by plain SMS and by their cards: every verb, well and badly written, again, in parts, too late."""

from __future__ import annotations

import random
import struct
import time

from aircharge.values import Pin
from aircharge.wire.stk import StkMessage, StkOperation
from tests.doors.centre import Letter, parts_of, sent_time
from tests.doors.street import QUERY, RECHARGE, Outlet, Street, act, coded

YUAN = ("10", "20", "30", "50", "100", "10", "20", "50.00", "12.34", "600")
WRONG_PIN = "482957"
STRANGER = "13955555555"
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
WRITTEN = (
    "{t} {y}",
    "{t} {y}",
    "+86{t} {y}",
    "0086{t} {y}",
    "{g} {y}",
    "{d} {y}",
    " {t}   {y} ",
    "{t} {y}元",
    "“{t}” {y}",
    "{t} ¥{y}",
    "{t} {y}。",
)


def fen(yuan: str) -> int:
    whole, _, rest = yuan.partition(".")
    return int(whole) * 100 + int(rest.ljust(2, "0") or 0)


def pin_behind(outlet: Outlet, rng: random.Random, *, asked: bool = False) -> str:
    """ " 736194" where the outlet's policy asks for it; now and then a wrong one, or none."""
    chance = rng.random()
    if chance < 0.02:
        return f" {WRONG_PIN}"
    return f" {outlet.pin}" if (outlet.always or asked or chance < 0.1) and chance < 0.98 else ""


def written(rng: random.Random, target: str, yuan: str) -> str:
    form = rng.choice(WRITTEN)
    grouped, dashed = (sign.join((target[:3], target[3:7], target[7:])) for sign in " -")
    text = form.format(t=target, y=yuan, g=grouped, d=dashed)
    return text.translate(FULL_WIDTH) if rng.random() < 0.05 else text


# -- recharges ------------------------------------------------------------------------------------------------


@act(30)
def sms_recharge(street: Street, rng: random.Random) -> None:
    outlet, target, yuan = street.outlet(rng), street.target(), rng.choice(YUAN)
    pin = pin_behind(outlet, rng)
    text = written(rng, target, yuan) + pin
    wish = street.mean(outlet, target, fen(yuan), "words", target, fen(yuan), 1, pin)
    letter = coded(outlet.phone, RECHARGE, text, rng.choice((None, 8)), _options(rng))
    letter.in_payload = rng.random() < 0.1
    street.send(letter, wish=wish)


def _options(rng: random.Random) -> bytes:
    """Optional parameters that do not matter, some of an odd length."""
    chance = rng.random()
    if chance < 0.1:
        return struct.pack(">HHH", 0x0204, 2, rng.choice((0, 7, 255)))  # user_message_reference
    if chance < 0.14:
        return struct.pack(">HHBBB", 0x0204, 3, 1, 2, 3)
    return struct.pack(">HH", 0x1501, 2) + b"ab" if chance < 0.18 else b""


@act(10)
def sms_recharge_timed(street: Street, rng: random.Random) -> None:
    """The SMS centre says when it was sent; now and then the same words, honestly, a moment later."""
    outlet, target, yuan = street.outlet(rng), street.target(), rng.choice(YUAN)
    pin = pin_behind(outlet, rng)
    for again_s in (0, 2) if rng.random() < 0.3 else (0,):
        now_s = int(time.time()) - 3 + again_s
        wish = street.mean(outlet, target, fen(yuan), "timed", target, fen(yuan), pin, now_s)
        street.send(coded(outlet.phone, RECHARGE, f"{target} {yuan}{pin}", None, sent_time(now_s)), wish=wish)


@act(14)
def sms_same_words(street: Street, rng: random.Random) -> None:
    """The same words again: a redelivery after all answers, or a shopkeeper who asks again; nobody can tell."""
    said = [letter for letter, wish in street.said if wish and not letter.is_secured and letter.answers]
    if not said:
        return
    old = said[-1 - int(rng.random() ** 2 * len(said))]
    again = Letter(old.phone, old.to, old.data, old.coding, old.esm_class, old.options, old.in_payload)
    again.ready_at = time.monotonic() + rng.choice((0.0, 1.0, 5.0))
    street.send(again)


@act(6)
def sms_again_on_purpose(street: Street, rng: random.Random) -> None:
    """`13812345678 50*2`: as often as there are numbers after the star."""
    made = [wish for letter, wish in street.said if wish and wish.key[1] == "words"]
    if not made:
        return
    first = rng.choice(made[-20:])
    outlet, repeat = street.by_code[first.outlet], rng.choice((2, 2, 2, 3, 9))
    yuan, pin = f"{first.amount_fen / 100:g}", pin_behind(outlet, rng)
    wish = street.mean(
        outlet, first.target, first.amount_fen, "words", first.target, first.amount_fen, repeat, pin
    )
    street.plain(outlet, f"{first.target} {yuan}*{repeat}{pin}", wish=wish)


@act(8)
def sms_in_parts(street: Street, rng: random.Random) -> None:
    """A recharge in two or three parts: in any order, twice, or one of them lost; references are used again."""
    outlet, target, yuan = street.outlet(rng), street.target(), rng.choice(YUAN)
    pin = pin_behind(outlet, rng)
    data = f"{target} {yuan}{pin}".encode()
    cuts = sorted(rng.sample(range(3, len(data) - 1), rng.choice((1, 1, 2))))
    if not all(letter.answers for letter in outlet.parts):
        outlet.part_reference += 1  # no phone uses a reference again while its last message is on its way
    reference = (outlet.part_reference + 50 * street.lives) % 256
    pieces = parts_of(data, reference, cuts)
    letters = [
        Letter(outlet.phone, RECHARGE, piece, 0, 0x40, tries_max=1000, ready_at=time.monotonic())
        for piece in pieces
    ]
    wish = street.mean(outlet, target, fen(yuan), "words", target, fen(yuan), 1, pin)
    if rng.random() < 0.15:
        outlet.part_reference += 1
        letters.pop()
        street.forbidden.add(target)
        wish = None  # type: ignore[assignment]
        outlet.parts = []
    else:
        outlet.parts = letters
    if rng.random() < 0.4:
        rng.shuffle(letters)
    street.send(*letters, wish=wish)
    if wish and rng.random() < 0.5:  # a part comes again when all is done
        old = rng.choice(letters)
        again = Letter(old.phone, old.to, old.data, 0, 0x40, tries_max=1000)
        again.ready_at = time.monotonic() + rng.uniform(0.5, 4.0)
        street.send(again)


@act(5)
def sms_that_is_no_order(street: Street, rng: random.Random) -> None:
    """An acknowledgement, a receipt, a binary message, an unregistered phone, two recharges at once, letters."""
    outlet, target = street.outlet(rng), street.forbidden_target()
    text, phone, esm_class, coding = f"{target} 50{' ' + outlet.pin}", outlet.phone, 0, 0
    match rng.randrange(7):
        case 0:
            esm_class = rng.choice((0x04, 0x08, 0x10, 0x18, 0x20))
        case 1:
            coding = 4
        case 2:
            phone = STRANGER
        case 3:
            text = f"{target} 50 {street.forbidden_target()} 50"
        case 4:
            text = f"50 {target}"
        case 5:
            text = f"充{target} 50"
        case 6:
            text = f"{target} -50"
    letter = coded(phone, RECHARGE, text, 8 if not text.isascii() else coding)
    letter.esm_class = esm_class
    street.send(letter)


@act(3)
def sms_nonsense(street: Street, rng: random.Random) -> None:
    data = bytes(rng.randrange(256) for _ in range(rng.randrange(140)))
    street.send(
        Letter(street.outlet(rng).phone, RECHARGE, data, rng.choice((0, 1, 3, 4, 8, 0xF0)), tries_max=3)
    )


# -- questions ------------------------------------------------------------------------------------------------


@act(9)
def sms_question(street: Street, rng: random.Random) -> None:
    outlet = street.outlet(rng)
    text = rng.choice(("00", "00", "11", "10", "13", "12", "13 0230", "余额"))
    if text == "12":
        about = street.references(rng.choice((outlet, street.outlet(rng)))) or ["12345678"]
        text = f"12 {rng.choice(about)}"
    pin = pin_behind(outlet, rng) if text != "余额" else ""
    street.plain(outlet, text + pin, rng.choice((QUERY, RECHARGE)))


# -- taking back ----------------------------------------------------------------------------------------------


@act(7)
def sms_take_back(street: Street, rng: random.Random) -> None:
    """`14` by number or by reference: one's own or another's, settled, refused, void, reversed, a transfer's."""
    outlet = street.outlet(rng)
    owner = outlet if rng.random() < 0.75 else street.outlet(rng)
    pin = outlet.pin if rng.random() < 0.95 else WRONG_PIN
    references = street.references(owner)
    if references and rng.random() < 0.6:
        about = rng.choice(references[-15:])
        text = f"14 {about} {pin}"
    else:
        wishes = [wish for _, wish in street.said if wish and wish.outlet == owner.code]
        if not wishes:
            return
        wish = rng.choice(wishes[-15:])
        about, text = wish.target, f"14 {wish.target} {wish.amount_fen / 100:g} {pin}"
    street.asked_back.add((outlet.code, about))
    street.plain(outlet, text + rng.choice(("", "", "", "*2")))


@act(5)
def sms_transfer(street: Street, rng: random.Random) -> None:
    outlet, other = street.outlet(rng), street.outlet(rng)
    party = other.code if rng.random() < 0.8 else rng.choice(("NOBODY", outlet.code, "D99"))
    yuan = rng.choice(("1", "5", "10", "25", "0.07", "999999"))
    repeat = rng.choice(("", "", "*2", "*3"))
    street.plain(outlet, f"15 {party} {yuan}{repeat} {outlet.pin}")


@act(3)
def sms_ticket(street: Street, rng: random.Random) -> None:
    outlet = street.outlet(rng)
    street.plain(outlet, f"16 {rng.choice(('100', '500', '999.99', '1000'))}{pin_behind(outlet, rng)}")


@act(2)
def sms_new_pin(street: Street, rng: random.Random) -> None:
    """Rightly, or the two new ones differ, or it is too simple."""
    outlet = street.outlet(rng)
    street.read_pins()
    if outlet.wanted_pin:
        return
    new = f"{rng.choice((47, 58, 83, 94))}{rng.randrange(1000, 9999)}"
    again = rng.choice((new, new, new, "111111"))
    if again == new:
        outlet.wanted_pin = new
        street.pins.add(new)
    street.plain(outlet, f"17 {outlet.pin} {new} {again}")


@act(2)
def sms_other_verbs(street: Street, rng: random.Random) -> None:
    """Commission to float, an answer nobody asked for, a loss that is none, slips in every command."""
    outlet = street.outlet(rng)
    texts = (
        f"19 {outlet.pin}",
        f"19 12.5 {outlet.pin}",
        "Y",
        "Y2",
        f"18 13900009999 {outlet.pin}",
        "14 13812345678",
        "15 D1",
        "16",
        "17 1 2 3",
        "18",
        "19",
    )
    street.plain(outlet, rng.choice(texts))


# -- cards ----------------------------------------------------------------------------------------------------


def _seal(street: Street, outlet: Outlet, operation: StkOperation, **about: object) -> Letter:
    card, now_s = street.house.cards[outlet.phone], int(time.time())
    serial = about.pop("serial", None)
    if serial is None:
        street.serial += 1
        serial = street.serial
    message = StkMessage(operation, int(str(serial)), Pin(outlet.pin), now_s, **about)  # type: ignore[arg-type]
    letter = Letter(outlet.phone, RECHARGE, card.seal(message), is_secured=True, ready_at=time.monotonic())
    if card.counter and operation is StkOperation.RECHARGE:
        street.packets.append(letter)
    return letter


@act(14)
def stk_recharge(street: Street, rng: random.Random) -> None:
    """Counters may be skipped, the packet tampered with, the same serial sealed twice, or asked about."""
    outlet, target, yuan = street.outlet(rng), street.target(), rng.choice(YUAN)
    street.house.cards[outlet.phone].counter += rng.choice((0, 0, 0, 1, 5))
    letter = _seal(street, outlet, StkOperation.RECHARGE, target=target, amount_fen=fen(yuan))
    serial = street.serial
    wish = street.mean(outlet, target, fen(yuan), "serial", serial)
    chance = rng.random()
    if chance < 0.05:
        data = bytearray(letter.data)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        letter.data = bytes(data)
    street.send(letter, wish=wish)
    if chance > 0.85:  # the same serial with another amount, or in a new packet
        amount_fen = fen(yuan) * rng.choice((1, 2))
        wish = street.mean(outlet, target, amount_fen, "serial", serial)
        twin = _seal(
            street, outlet, StkOperation.RECHARGE, serial=serial, target=target, amount_fen=amount_fen
        )
        street.send(twin, wish=wish)
    elif chance > 0.7:
        ask = _seal(
            street,
            outlet,
            StkOperation.RECONFIRM,
            target=target,
            amount_fen=fen(yuan),
            earlier=serial,
        )
        ask.ready_at += rng.uniform(0.0, 3.0)
        street.send(ask)


@act(4)
def stk_replay(street: Street, rng: random.Random) -> None:
    """An old packet, octet for octet, from its own phone or another's."""
    if street.packets:
        old = rng.choice(street.packets)
        phone = old.phone if rng.random() < 0.8 else street.outlet(rng).phone
        street.send(Letter(phone, old.to, old.data, is_secured=True, tries_max=4))


@act(5)
def stk_other_verbs(street: Street, rng: random.Random) -> None:
    outlet, other = street.outlet(rng), street.outlet(rng)
    references = street.references(rng.choice((outlet, other))) or ["12345678"]
    reference = rng.choice(references)
    match rng.randrange(6):
        case 0:
            letter = _seal(street, outlet, StkOperation.BALANCE)
        case 1:
            letter = _seal(street, outlet, StkOperation.STATUS, reference=int(reference))
        case 2:
            letter = _seal(street, outlet, StkOperation.TRANSFER, party=other.code, amount_fen=700)
        case 3:
            street.asked_back.add((outlet.code, reference))
            letter = _seal(street, outlet, StkOperation.TAKE_BACK, reference=int(reference))
        case 4:
            letter = _seal(street, outlet, StkOperation.TICKET, amount_fen=50_000)
        case _:
            letter = _seal(street, outlet, StkOperation.HISTORY)
    street.send(letter)
