"""What clerks at payment terminals do, and what becomes of their lines and devices."""

from __future__ import annotations

import random

from aircharge.simulators.pos_terminal import FAULTS, Memory
from tests.doors.sms_acts import WRONG_PIN, fen
from tests.doors.street import Street, act
from tests.doors.tills import Till

YUAN = ("10", "20", "30", "50", "100", "600")


def _till(street: Street, rng: random.Random) -> Till:
    return rng.choice(list(street.tills.values()))


def _pin(street: Street, till: Till, rng: random.Random) -> str:
    outlet = street.by_code[till.outlet]
    if rng.random() < 0.02:
        return WRONG_PIN
    return outlet.pin if outlet.always or rng.random() < 0.1 else ""


@act(26)
def pos_sale(street: Street, rng: random.Random) -> None:
    till = _till(street, rng)
    if till.is_busy:
        return
    target, amount_fen = street.target(), fen(rng.choice(YUAN))
    fault = rng.choice(FAULTS) if rng.random() < 0.35 else ""
    till.spoils = rng.choice(("cut", "half")) if rng.random() < 0.08 else ""
    street.mean(street.by_code[till.outlet], target, amount_fen, "rung", till.code, target)
    if fault == "other-content":  # the same trace with another amount
        street.mean(street.by_code[till.outlet], target, 9900, "rung", till.code, target)
    till.begin(till.sale(target, amount_fen, _pin(street, till, rng), fault))


@act(7)
def pos_void(street: Street, rng: random.Random) -> None:
    till = _till(street, rng)
    till.begin(till.void(_pin(street, till, rng)))


@act(5)
def pos_takes_back_what_it_heard(street: Street, rng: random.Random) -> None:
    till = _till(street, rng)
    till.begin(till.misuse())


@act(4)
def pos_settles(street: Street, rng: random.Random) -> None:
    till = _till(street, rng)
    till.begin(till.settle())


@act(8)
def pos_asks(street: Street, rng: random.Random) -> None:
    till = _till(street, rng)
    what = rng.choice(
        ("balance", "last", "check", "reprint", "reprint", "download", "echo", "sign_out", "sign_in")
    )
    about: tuple[object, ...] = ()
    if what == "check":
        about = (street.forbidden_target(),)
    elif what == "reprint":
        about = (rng.choice(till.rung).trace if till.rung and rng.random() < 0.8 else rng.randrange(1, 99),)
    till.begin(till.ask(what, *about))


@act(2)
def pos_replaced(street: Street, rng: random.Random) -> None:
    """Another device in its place: it knows neither keys nor batch, and counts from 1."""
    till = _till(street, rng)
    if not till.is_busy and till.terminal.memory.owed is None:
        till.terminal.memory = Memory()


@act(3)
def pos_replay(street: Street, rng: random.Random) -> None:
    """An attacker sends what it has heard on the line, from a place of his own."""
    till = _till(street, rng)
    if not till.sent:
        return
    try:
        with street.house.dial(street.house.pos_port, "127.0.0.77") as line:
            octets = b"\x60\x00\x03\x7f\xff" + rng.choice(till.sent[-12:])
            line.sendall(len(octets).to_bytes(2, "big") + octets)
            street.house.turn_for(0.3)
    except OSError:
        street.counts["a stranger was not let in"] += 1
