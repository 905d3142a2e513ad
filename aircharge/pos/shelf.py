"""Terminals within reach of the POS door, their keys ready.

As with cards an entry here only speeds things up: what is wrong under it is read once more before it is refused, and
whether the terminal may trade at all is decided by the ledger in the order's own commit. An entry is used for a minute
and then read anew: a desk that signs a terminal out, or retires its key, does so from another process.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from twisted.logger import Logger

from aircharge.ledger.terminal_reading import TerminalRow, read_terminal
from aircharge.outlets.cards import KeyRing, KeyRingError
from aircharge.outlets.terminal_keys import MAK, PIK, bound_master, bound_working
from aircharge.ports import Clock
from aircharge.switch.board import LedgerPort

__all__ = ["FRESH_S", "MAK", "PIK", "Terminal", "TerminalShelf", "bound_master", "bound_working"]

log = Logger()

FRESH_S: Final = 60.0
"""For so long a terminal is not read again."""


@dataclass(frozen=True, slots=True)
class Offered:
    """Keys of a session that no message has used yet, in clear."""

    key_version: int
    session: int
    until_ms: int
    pik: bytes = field(repr=False)
    mak: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal with its keys in clear; ``repr`` shows none."""

    row: TerminalRow
    pik: bytes = field(default=b"", repr=False)  # b"": signed out
    mak: bytes = field(default=b"", repr=False)
    offers: tuple[Offered, ...] = ()

    @property
    def code(self) -> str:
        return self.row.code

    def is_signed_in(self, now_ms: int) -> bool:
        return bool(self.mak) and now_ms < self.row.until_ms

    def offered(self, now_ms: int) -> tuple[Offered, ...]:
        """Keys that sign-ins were answered with, that no message has used and that are still good."""
        return tuple(offer for offer in self.offers if now_ms < offer.until_ms)


class TerminalShelf:
    """Finds a terminal by its code, or a fixed-line one by its security module; keeps the last ``size_max`` ready."""

    def __init__(self, ledger: LedgerPort, ring: KeyRing, clock: Clock, size_max: int = 50_000) -> None:
        self._ledger = ledger
        self._ring = ring
        self._clock = clock
        self._size_max = size_max
        self._terminals: OrderedDict[tuple[str, str], tuple[float, Terminal]] = OrderedDict()

    def kept(self, code: str = "", module: str = "") -> Terminal | None:
        """The terminal if it is on the shelf, and fresh."""
        read_s, terminal = self._terminals.get((code, module), (0.0, None))
        if terminal is None or self._clock.monotonic_s() - read_s > FRESH_S:
            return None
        self._terminals.move_to_end((code, module))
        return terminal

    async def fetch(self, code: str = "", module: str = "") -> Terminal | None:
        """The terminal as the ledger has it now; None: there is none.

        Working keys that do not open (their KEK is gone) are none: it signs in anew.
        """
        asked_s = self._clock.monotonic_s()
        row = await self._ledger.read(lambda txn: read_terminal(txn, code, module))
        if row is None:
            self._terminals.pop((code, module), None)
            return None
        terminal = self._open(row)
        self._terminals[code, module] = asked_s, terminal
        self._terminals.move_to_end((code, module))
        while len(self._terminals) > self._size_max:
            self._terminals.popitem(last=False)
        return terminal

    def forget(self, terminal: Terminal) -> None:
        """Its session or batch has changed."""
        for key in ((terminal.code, ""), ("", terminal.row.module)):
            self._terminals.pop(key, None)

    def master(self, row: TerminalRow, version: int) -> bytes:
        """The terminal's master key of that version in clear. Raises KeyError, KeyRingError."""
        return self._ring.open(bound_master(row.id, version), row.masters[version])

    def seal(self, terminal_id: int, session: int, purpose: bytes, key: bytes) -> bytes:
        """A working key as it is stored."""
        return self._ring.seal(bound_working(terminal_id, session, purpose), key)

    def _open(self, row: TerminalRow) -> Terminal:
        used = self._opened(row, row.session, row.pik_wrapped, row.mak_wrapped)
        offers = (
            Offered(
                offer.key_version,
                offer.session,
                offer.until_ms,
                *self._opened(row, offer.session, offer.pik_wrapped, offer.mak_wrapped),
            )
            for offer in row.offers
        )
        return Terminal(row, *used, tuple(offer for offer in offers if offer.mak))

    def _opened(
        self, row: TerminalRow, session: int, pik: bytes | None, mak: bytes | None
    ) -> tuple[bytes, bytes]:
        """PIN key and MAC key of a session; none where there are none, or where they do not open."""
        if pik is None or mak is None:
            return b"", b""
        try:
            return (
                self._ring.open(bound_working(row.id, session, PIK), pik),
                self._ring.open(bound_working(row.id, session, MAK), mak),
            )
        except KeyRingError as error:
            log.error("the working keys of terminal {code} do not open: {why}", code=row.code, why=str(error))
            return b"", b""
