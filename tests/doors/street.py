"""What is known outside the house: outlets and their PINs, what each wanted, what was asked back, who was told."""

from __future__ import annotations

import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from aircharge.world.till import Rung
from tests.doors.centre import Letter
from tests.doors.house import SHOPS, House
from tests.doors.tills import Till, tills_of

__all__ = ["ACTS", "QUERY", "RECHARGE", "Act", "Outlet", "Street", "Wish", "act"]

RECHARGE, QUERY = "0353911", "0353910"
REFERENCE = re.compile(r"流水(\d{8})")
PIN_CHANGED = "密码设置已更新"


@dataclass(eq=False)
class Outlet:
    """As its owner knows it. ``wanted_pin``: asked for, and not yet told that it holds."""

    code: str
    phone: str
    pin: str
    always: bool
    wanted_pin: str = ""
    seen_changes: int = 0
    part_reference: int = 0
    parts: list[Letter] = field(default_factory=list)  # of the last message in parts
    is_frozen: bool = False


@dataclass(frozen=True)
class Wish:
    """One thing meant once: however often ``key`` is heard, it is carried out at most once."""

    outlet: str
    target: str
    amount_fen: int
    key: tuple[object, ...]


Act = Callable[["Street", random.Random], None]
ACTS: dict[str, tuple[Act, int]] = {}
"""By name: what is done, and how often beside the others."""


def act(weight: int) -> Callable[[Act], Act]:
    """Enter a function into ``ACTS`` under its own name."""

    def enter(function: Act) -> Act:
        ACTS[function.__name__] = (function, weight)
        return function

    return enter


class Street:
    """Everybody before the doors."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.outlets = [
            Outlet(shop.code, shop.phone, shop.pin, shop.pin_policy == "always") for shop in SHOPS
        ]
        self.by_code = {outlet.code: outlet for outlet in self.outlets}
        self.wishes: dict[str, list[Wish]] = defaultdict(list)
        self.said: list[tuple[Letter, Wish | None]] = []
        self.forbidden: set[str] = set()  # named only by what is no order of anybody's
        self.asked_back: set[tuple[str, str]] = set()  # (outlet, target or last eight digits)
        self.tills: dict[str, Till] = tills_of(house)
        self.counts: Counter[str] = Counter()
        self.packets: list[Letter] = []
        self.serial = seed << 32
        self.slips = 0
        self.exact_sums: list[str] = []
        self.limits: list[int] = []
        self.lives = 0  # of the daemon; parts do not outlive one
        self._targets = 0
        self.pins = {outlet.pin for outlet in self.outlets}

    # -- names --------------------------------------------------------------------------------------------

    def target(self) -> str:
        """A customer's number that nobody has named yet."""
        self._targets += 1
        return f"138{self._targets * 7919 % 100_000_000:08d}"

    def forbidden_target(self) -> str:
        target = self.target()
        self.forbidden.add(target)
        return target

    def outlet(self, rng: random.Random) -> Outlet:
        return rng.choice(self.outlets)

    def slip(self) -> str:
        self.slips += 1
        return f"slip-{self.slips}"

    def references(self, outlet: Outlet) -> list[str]:
        """Last eight digits of orders that the outlet has read of."""
        texts = self.house.centre.inbox[outlet.phone]
        return [found[1] for text in texts if (found := REFERENCE.search(text))]

    def read_pins(self) -> None:
        """Owners read that their PIN is changed."""
        for outlet in self.outlets:
            changes = sum(PIN_CHANGED in text for text in self.house.centre.inbox[outlet.phone])
            if changes > outlet.seen_changes and outlet.wanted_pin:
                outlet.pin, outlet.wanted_pin = outlet.wanted_pin, ""
            outlet.seen_changes = changes

    # -- what is meant ------------------------------------------------------------------------------------

    def mean(self, outlet: Outlet, target: str, amount_fen: int, *key: object) -> Wish:
        wish = Wish(outlet.code, target, amount_fen, (outlet.phone, *key))
        self.wishes[target].append(wish)
        return wish

    def allowed(self, target: str) -> int:
        """So often at most may the number be credited."""
        return len({wish.key for wish in self.wishes[target]})

    def send(self, *letters: Letter, wish: Wish | None = None) -> None:
        for letter in letters:
            self.said.append((letter, wish))
        self.house.centre.send(*letters)

    def plain(self, outlet: Outlet, text: str, to: str = RECHARGE, wish: Wish | None = None) -> Letter:
        """An ordinary SMS without the SMS centre's time."""
        letter = coded(outlet.phone, to, text)
        self.send(letter, wish=wish)
        return letter

    @property
    def rungs(self) -> list[Rung]:
        return [rung for till in self.tills.values() for rung in till.rung]


def coded(phone: str, to: str, text: str, coding: int | None = None, options: bytes = b"") -> Letter:
    """UCS-2 where the text needs it, or it is asked for."""
    if coding is None:
        coding = 0 if text.isascii() else 8
    data = text.encode("utf-16-be") if coding == 8 else text.encode("latin-1", "replace")
    return Letter(phone, to, data, coding, options=options, ready_at=time.monotonic())
