"""A ledger in memory with outlets, cards and a clock that moves when told: what an accountant sits down to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from aircharge.ledger.book import Book, BookSettings
from aircharge.ledger.commands import (
    CloseRecharge,
    Command,
    Fund,
    Inquire,
    NoticeRow,
    OpenRecharge,
    Postpone,
)
from aircharge.ledger.funding import propose_txn
from aircharge.ledger.migrate import upgrade
from aircharge.ledger.policy_loading import bump_policy_txn
from aircharge.ledger.store import Store, open_engine
from aircharge.ledger.tables import metadata
from aircharge.ledger.verify import verify
from aircharge.outlets import registry
from aircharge.outlets.pins import PinHash
from aircharge.outlets.registry import CardForm, Desk, OutletForm
from aircharge.values import Asker, CardUse, Channel, Key, Msisdn, Operation, Order, Pin, Receipt, Verdict
from tests.ledger import engines

START_MS = 1_795_399_200_000  # 2026-11-23 02:00 UTC, 10:00 in Shanghai
PIN = "735194"
WRONG = "735195"
PINS = PinHash({1: b"pepper" * 6})
SERVICE = "0353911"
PHONES = {"A": "13900000001", "B": "13900000002"}
MINUTE = 60_000


class Hand:
    """A clock."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


class Books:
    """A store and short ways to speak to it."""

    def __init__(self, url: str = "", settings: BookSettings | None = None, node: int = 1) -> None:
        self.clock = Hand()
        self.url = url or engines.new_url()
        book = Book(settings or BookSettings(), PINS.mac)
        self.store = Store(open_engine(self.url), book, self.clock, node, own_time=True)
        self.notices: list[NoticeRow] = []
        self._serial = 0
        self._counter = 0

    @property
    def engine(self) -> Any:
        return self.store.engine

    def setup(self, floats: dict[str, int] | None = None, **form: Any) -> Books:
        upgrade(self.engine)
        self.store.ensure_operators({1: "mobile", 2: "unicom"})
        for code, amount_fen in (floats or {"A": 100_000, "B": 10_000}).items():
            with self.store.writing() as txn:
                desk = Desk(txn, self.clock.ms, "clerk")
                more = {"pin_policy": "never"} | form
                outlet = OutletForm(code, f"outlet {code}", (PHONES[code],), **more)
                registry.add_outlet_txn(desk, outlet, Pin(PIN), PINS, b"salt" * 4)
                iccid = f"898600000000000000{len(code)}{ord(code) % 10}"
                registry.add_card_txn(desk, code, CardForm(iccid, PHONES[code]))
            if amount_fen:
                self.fund(code, amount_fen)
        self.notices.clear()
        return self

    def fund(self, code: str, amount_fen: int) -> Any:
        slip = f"{code}-{amount_fen}-{self.clock.ms}-{self.value('SELECT count(*) FROM txn')}"
        with self.store.writing() as txn:
            number = propose_txn(txn, code, amount_fen, slip, maker="maker", now_ms=self.clock.ms)
        return self.do(Fund(number, "checker"))

    def add(self, table: str, **values: Any) -> None:
        """A row of the agent's rules (price, product, limit_rule …), in force from the next command on."""
        with self.store.writing() as txn:
            txn.execute(insert(metadata.tables[table]).values(**values))
            bump_policy_txn(txn)

    def do(self, command: Command) -> Any:
        [result] = self.batch(command)
        return result

    def batch(self, *commands: Command) -> list[Any]:
        outcome = self.store.run_batch(commands)
        self.notices += outcome.notices
        return outcome.results

    def value(self, question: str, **values: Any) -> Any:
        with self.engine.connect() as txn:
            return txn.execute(text(question), values).scalar()

    def rows(self, question: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as txn:
            return [tuple(row) for row in txn.execute(text(question), values)]

    def money(self, code: str) -> tuple[int, int]:
        """Posted and held, in fen."""
        question = "SELECT posted, held FROM balance JOIN outlet ON float_id = account_id WHERE code = :code"
        [row] = self.rows(question, code=code)
        return row[0], row[1]

    def told(self) -> list[str]:
        """Topics and reasons of the notices since the last look."""
        words = [
            notice.topic + (f" {notice.facts['reason']}" if notice.topic == "outlet.refused" else "")
            for notice in self.notices
        ]
        self.notices.clear()
        return words

    def problems(self) -> list[str]:
        with self.engine.connect() as txn:
            return verify(txn).problems

    def wait(self, ms: int) -> None:
        self.clock.ms += ms

    # -- commands -----------------------------------------------------------------------------------------

    def plain(
        self,
        target: str = "13812345678",
        amount_fen: int = 5000,
        *,
        outlet: str = "A",
        mark: str | None = None,
        pin: str | None = None,
        **more: Any,
    ) -> OpenRecharge:
        """A plain SMS."""
        phone = more.pop("phone", PHONES.get(outlet, outlet))
        command = {
            name: more.pop(name)
            for name in ("refuse", "pin_needed", "confirmed", "terminal", "unsold")
            if name in more
        }
        operator_id = more.pop("operator_id", 1)
        self._serial += 1
        order = Order(
            Channel.SMS,
            Key(f"sms:{phone}", mark or f"m{self._serial}"),
            Asker(phone, SERVICE, None, Pin(pin) if pin else None),
            Msisdn(target),
            amount_fen,
            self.clock.ms,
            **more,
        )
        return OpenRecharge(order, operator_id, **command)

    def card(
        self, outlet: str = "A", serial: int | None = None, counter: int | None = None, **more: Any
    ) -> CardUse:
        self._serial += 1
        self._counter += 1
        card_id = more.get("card_id") or self.value(
            "SELECT card.id FROM card JOIN outlet ON outlet.id = outlet_id WHERE code = :code", code=outlet
        )
        return CardUse(
            card_id,
            more.get("key_version", 1),
            self._serial + 2**63 if serial is None else serial,
            self._counter if counter is None else counter,
        )

    def stk(
        self,
        target: str = "13812345678",
        amount_fen: int = 5000,
        *,
        outlet: str = "A",
        use: CardUse | None = None,
        earlier: int | None = None,
        pin: str | None = PIN,
        **more: Any,
    ) -> OpenRecharge:
        """An STK message; ``earlier`` makes it a re-confirmation of that serial."""
        use = use or self.card(outlet)
        scope = f"stk:{use.card_id}"
        refuse = {"refuse": more.pop("refuse")} if "refuse" in more else {}
        order = Order(
            Channel.STK,
            Key(scope, f"{use.serial:016x}"),
            Asker(more.pop("phone", PHONES[outlet]), SERVICE, use, Pin(pin) if pin else None),
            Msisdn(target),
            amount_fen,
            self.clock.ms,
            more.pop("sent_ms", self.clock.ms),
            earlier=Key(scope, f"{earlier:016x}") if earlier is not None else None,
            **more,
        )
        return OpenRecharge(order, 1, pin_needed=True, **refuse)

    def ask(self, operation: Operation = Operation.BALANCE, outlet: str = "A", **more: Any) -> Inquire:
        pin = more.pop("pin", None)
        asker = Asker(
            more.pop("phone", PHONES.get(outlet, outlet)),
            SERVICE,
            more.pop("use", None),
            Pin(pin) if pin else None,
        )
        channel = Channel.SMS if asker.card is None else Channel.STK
        return Inquire(operation, "ask", asker, self.clock.ms, channel, **more)

    def close(self, receipt: Receipt | int, verdict: Verdict, **more: Any) -> CloseRecharge:
        return CloseRecharge(receipt if isinstance(receipt, int) else receipt.order_id, verdict, **more)

    def postpone(self, receipt: Receipt, next_ms: int) -> Postpone:
        return Postpone(receipt.order_id, next_ms)


def file_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.db'}"
