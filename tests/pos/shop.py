"""An outlet with a terminal before real books, a daemon's board and a scripted operator."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aircharge.ledger.tables import metadata
from aircharge.ledger.terminals import SignIn, UseSession
from aircharge.outlets.cards import KeyRing
from aircharge.pos.counter import Counter as PosCounter
from aircharge.pos.settings import PosSettings
from aircharge.pos.shelf import MAK, PIK, Terminal, TerminalShelf, bound_master
from aircharge.pos.till import Till
from aircharge.switch.board import Board, DoubtPolicy
from aircharge.switch.cancelling import Cancels
from tests.ledger.desk import Books
from tests.ledger.pos import TERMINAL, Counter
from tests.switch.test_parking import BooksLedger
from tests.switch.world import World, now

__all__ = ["MASTER", "MERCHANT", "MODULE", "FixedChance", "Shop", "now"]

MASTER = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
MERCHANT = "898110200000001"
MODULE = "1000000000000001"


class FixedChance:
    """Octets that never come twice, the same in each run."""

    def __init__(self) -> None:
        self.n = 0

    def token(self, length: int) -> bytes:
        self.n += 1
        return bytes((self.n * 37 + at * 11) % 256 for at in range(length))


class Shop:
    """Terminal 10000001 of outlet A with master key 1."""

    def __init__(self, **settings: Any) -> None:
        self.books = Books().setup()
        self.counter = Counter(self.books)
        self.chance = FixedChance()
        self.ring = KeyRing({}, {1: bytes(16)}, self.chance)
        self.inject(MASTER)
        self.ledger = BooksLedger(self.books)
        self.clock: Any = Clock()
        self.world = World(DoubtPolicy(mode="query", finality_s=600))
        self.board = Board(self.ledger, [self.world.plan], self.books.clock)
        self.running: list[Deferred[Any]] = []
        self.settings = PosSettings(**settings)
        self.shelf = TerminalShelf(self.ledger, self.ring, self.board.clock)
        self.cancels = Cancels(self.board, self.clock, self.spawn)
        self.till = Till(self.board, self.settings, self.spawn, self.clock)

    def spawn(self, work: Any) -> None:
        self.running.append(Deferred.fromCoroutine(work))

    def serving(self) -> PosCounter:
        """The checks and acts of any door."""
        return PosCounter(self.till, self.shelf, self.board, self.settings, self.chance)

    def inject(self, key: bytes, version: int = 1, state: int = 1) -> None:
        """A master key is in the book; with ``state`` 1 it is the one in use."""
        values = {
            "terminal_id": 1,
            "version": version,
            "wrapped": self.ring.seal(bound_master(1, version), key),
            "family": "3des",
            "state": state,
            "made_ms": 5,
        }
        terminal = metadata.tables["terminal"]
        with self.books.store.writing() as txn:
            txn.execute(metadata.tables["terminal_key"].insert().values(**values))
            bound = {
                "merchant": MERCHANT,
                "module": MODULE,
                **({"key_version": version} if state == 1 else {}),
            }
            txn.execute(update(terminal).values(**bound))

    def sign_in(self, pik: bytes = bytes(15) + b"p", mak: bytes = bytes(15) + b"m") -> None:
        """Working keys, as after a sign-in and a first message."""
        wrapped = self.shelf.seal(1, 1, PIK, pik), self.shelf.seal(1, 1, MAK, mak)
        until_ms = self.books.clock.ms + 86_400_000
        self.books.do(SignIn(1, TERMINAL, 1, 1, *wrapped, until_ms=until_ms))
        self.books.do(UseSession(1, TERMINAL, 1))

    def terminal(self, code: str = TERMINAL) -> Terminal:
        found = now(self.shelf.fetch(code))
        assert found is not None
        return found  # type: ignore[no-any-return]

    @property
    def asked(self) -> list[str]:
        return [item[0] for item in self.world.trace if isinstance(item, tuple)]

    def close(self) -> None:
        assert self.books.problems() == []
        assert self.board.in_flight == set()
        for task in self.running:
            task.addErrback(lambda failure: failure.raiseException())
        self.books.engine.dispose()
