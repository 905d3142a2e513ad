"""The clerks' desk: what people do to outlets, money and doubts by hand, each in one transaction with its audit row.

Behind the command line, the demo and the tests. Money moves only through the ledger's own commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from sqlalchemy import Connection

from aircharge.config import Config
from aircharge.errors import AirchargeError
from aircharge.ledger import funding, reading
from aircharge.ledger.commands import Command, Fund, Result
from aircharge.ledger.migrate import check_schema, upgrade
from aircharge.ledger.roles import grant
from aircharge.ledger.ruling import RULING, RuleOrder
from aircharge.ledger.verify import verify
from aircharge.machine import SystemClock, SystemRandomness, open_store
from aircharge.outlets import registry, requests
from aircharge.outlets.cards import CardKeyBytes, fits
from aircharge.outlets.pins import random_pin
from aircharge.outlets.reach import check_action_txn
from aircharge.outlets.registry import CardForm, Desk, OutletForm
from aircharge.outlets.rights import NotAllowed, Person, codes_within, ids_within
from aircharge.ports import Clock, Randomness
from aircharge.sms.cardshelf import card_keys
from aircharge.values import AMOUNT_MAX_FEN, Channel, Operation, Pin, Receipt, mask_msisdn, yuan_text

__all__ = ["Office", "OfficeError", "OutletForm", "fen_from_yuan", "local_time"]

_YUAN: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?")


class OfficeError(AirchargeError):
    """What a clerk asked for cannot be done: the message says why."""


def fen_from_yuan(text: str) -> int:
    """ "50" or "49.50" yuan as fen. Raises OfficeError."""
    found = _YUAN.fullmatch(text.strip())
    if found is None:
        raise OfficeError(f"{text!r} is no amount in yuan")
    fen = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0") or 0)
    if fen > AMOUNT_MAX_FEN:
        raise OfficeError(f"{text} yuan is more than moves in one step")
    return fen


class Office:
    """One desk on one ledger. Close it."""

    def __init__(self, config: Config, clock: Clock | None = None, chance: Randomness | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.chance = chance or SystemRandomness()
        self.store = open_store(config, self.clock, config.daemon.desk_node)
        self.person: Person | None = None  # who has logged in; None in a house without staff
        self.command: tuple[str, Mapping[str, Any]] | None = None  # the command line's: action and arguments
        self.speechless: Callable[[], AbstractContextManager[None]] = nullcontext
        """Around each transaction: whatever is shown within is shown when it has ended."""

    def close(self) -> None:
        self.store.engine.dispose()

    # -- schema -------------------------------------------------------------------------------------------

    def upgrade(self) -> None:
        """Bring the schema to this program's, and make the operators' stock accounts."""
        upgrade(self.store.engine)
        self.store.ensure_operators({section.id: section.link.name for section in self.config.operator})

    def grant(self, role: str) -> None:
        """Give a role of PostgreSQL what daemon and desk need; to be run as the tables' owner."""
        grant(self.store.engine, role)

    def check_schema(self) -> None:
        check_schema(self.store.engine)

    # -- outlets ------------------------------------------------------------------------------------------

    def random_pin(self) -> Pin:
        return Pin(random_pin(self.chance.token(256)))

    def add_outlet(self, form: OutletForm, pin: Pin, *, actor: str, must_change: bool = False) -> int:
        """``must_change``: the PIN opens nothing but its own change."""
        pins, salt = self.config.pin_hash(), self.chance.token(16)
        if self.person is not None and form.pin_policy != "always":
            raise NotAllowed("that plain SMS needs no PIN takes two people: outlet profile")
        with self.desk(actor, "outlet.add", parent=form.parent or None) as desk:
            return registry.add_outlet_txn(desk, form, pin, pins, salt, must_change=must_change)

    def set_duress(self, code: str, pin: Pin, *, actor: str) -> None:
        """The PIN an outlet gives when it is forced to."""
        with self.desk(actor, "outlet.duress", code=code) as desk:
            registry.set_duress_txn(desk, code, pin, self.config.pin_hash(), self.chance.token(16))

    def freeze(self, code: str, *, actor: str, lift: bool = False) -> None:
        if lift and self.person is not None:
            raise NotAllowed("a freeze is lifted by two people: a request")
        with self.desk(actor, "outlet.freeze", code=code) as desk:
            registry.freeze_txn(desk, code, lift=lift)

    def add_card(
        self,
        code: str,
        iccid: str,
        phone: str,
        *,
        actor: str,
        profile: str = "default",
        keys: Mapping[str, str] | None = None,
    ) -> int:
        """Bind a card; ``keys`` (kic and kid in hex) are imported and wrapped, else they are derived."""
        if profile not in self.config.card_profiles():
            raise OfficeError(f"no card profile is called {profile!r}")
        imported = CardKeyBytes(_key(keys, "kic"), _key(keys, "kid")) if keys is not None else None
        if imported is not None and not fits(imported, self.config.card_profiles()[profile].key_family):
            raise OfficeError("keys kic and kid must differ and suit the card's profile")
        version = self.config.secrets.card_master_version
        with self.desk(actor, "outlet.card", code=code) as desk:
            card_id = registry.add_card_txn(desk, code, CardForm(iccid, phone, profile, version))
            if imported is not None:
                wrapped = self.config.key_ring(self.chance).wrap(card_id, 1, imported)
                registry.keys_txn(desk, card_id, *wrapped)
        return card_id

    def block_card(self, iccid: str, *, actor: str, lift: bool = False) -> None:
        if lift and self.person is not None:
            raise NotAllowed("a card's block is lifted by two people: a request")
        with self.desk(actor, "outlet.block-card", iccid=iccid) as desk:
            registry.block_card_txn(desk, iccid, lift=lift)

    def set_language(self, number: str, language: str, *, actor: str) -> None:
        with self.desk(actor, "language", number=number) as desk:
            registry.set_language_txn(desk, number, language)

    def personalisation(self) -> list[dict[str, Any]]:
        """Every card with its keys, for the card maker: to be kept as a secret."""
        ring = self.config.key_ring()
        cards = []
        with self.store.engine.connect() as txn:
            for row in reading.all_cards(txn):
                profile = self.config.card_profiles()[row.profile]
                keys = card_keys(ring, row, profile)
                cards.append(
                    {
                        "iccid": row.iccid,
                        "msisdn": row.msisdn,
                        "kic": keys.kic.hex(),
                        "kid": keys.kid.hex(),
                        "family": profile.key_family,
                        "key_index": profile.key_index,
                        "tar": profile.tar,
                    }
                )
        return cards

    def inside(self) -> frozenset[int] | None:
        """Numbers of the outlets whoever has logged in works for; None = all."""
        if self.person is None or self.person.scope_id is None:
            return None
        with self.store.engine.connect() as txn:
            return frozenset(ids_within(txn, self.person.scope_id))

    def outlets(self) -> list[dict[str, Any]]:
        """Those the person who has logged in works for, or all."""
        with self.store.engine.connect() as txn:
            rows = reading.outlets(txn)
            if self.person is not None and self.person.scope_id is not None:
                seen = codes_within(txn, self.person.scope_id)
                rows = [row for row in rows if row["code"] in seen]
            return [_outlet(row) for row in rows]

    def outlet(self, code: str) -> dict[str, Any]:
        with self.store.engine.connect() as txn:
            rows = reading.outlets(txn, code)
            if not rows:
                raise OfficeError(f"no outlet {code}")
            row = rows[0]
            phones = [
                {"phone": mask_msisdn(phone["msisdn"]), "may": _rights(phone["rights"])}
                for phone in reading.phones_of(txn, row["id"])
            ]
            cards = [_card(card) for card in reading.cards_of(txn, row["id"])]
            orders = [_short(order) for order in reading.orders_of_outlet(txn, row["float_id"])]
        return {**_outlet(row), "orders": orders, "phones": phones, "cards": cards}

    # -- money --------------------------------------------------------------------------------------------

    def propose_funding(self, code: str, amount_fen: int, slip: str, *, maker: str) -> int:
        """Ask for float; returns the request's number. Another person confirms it."""
        with self.desk(maker, "fund.ask", code=code) as desk:
            return funding.propose_txn(desk.txn, code, amount_fen, slip, maker=maker, now_ms=desk.now_ms)

    def propose_funding_rows(self, rows: Sequence[Mapping[str, str]], *, maker: str) -> list[int]:
        """All rows of a file or none; an error names its row."""
        with self.desk(maker, "fund.file") as desk:
            requests = []
            for number, row in enumerate(rows, 2):
                try:
                    self.may_txn(desk.txn, "fund.ask", code=row["outlet"])
                    amount_fen = fen_from_yuan(row["amount"])
                    requests.append(
                        funding.propose_txn(
                            desk.txn, row["outlet"], amount_fen, row["slip"], maker=maker, now_ms=desk.now_ms
                        )
                    )
                except KeyError as error:
                    raise OfficeError(f"line {number}: column {error} is missing") from error
                except AirchargeError as error:
                    raise OfficeError(f"line {number}: {error}") from error
            return requests

    def waiting_requests(self) -> list[dict[str, Any]]:
        with self.store.engine.connect() as txn:
            seen = codes_within(txn, self.person.scope_id if self.person else None)
            return [item for item in funding.waiting(txn) if item["outlet"] in seen]

    def approve_funding(self, request: int, *, checker: str) -> tuple[str, int]:
        """Confirm a request; returns the outlet's code and the amount. The checker is another person."""
        [receipt] = self.run([Fund(request, checker)], "fund.confirm", requests=(request,))
        if not isinstance(receipt, Receipt):
            raise OfficeError(str(receipt))
        with self.store.engine.connect() as txn:
            code = next(row["code"] for row in reading.outlets(txn) if row["id"] == receipt.outlet_id)
        return code, receipt.amount_fen

    # -- orders -------------------------------------------------------------------------------------------

    def orders(self, number: str) -> list[dict[str, Any]]:
        """Orders by id, reference or last digits, with their journal rows and notices."""
        with self.store.engine.connect() as txn:
            found = reading.orders_by_number(txn, number)
            if not found:
                raise OfficeError(f"no order {number}")
            return [
                _whole(order)
                | {
                    "journal": _journal(reading.journal_of(txn, order["id"])),
                    "notices": _notices(reading.notices_of(txn, order["id"])),
                }
                for order in found
            ]

    def orders_of(self, code: str) -> list[dict[str, Any]]:
        with self.store.engine.connect() as txn:
            [row] = reading.outlets(txn, code)
            return reading.orders_of_outlet(txn, row["float_id"])

    def journal_of(self, order_id: int) -> list[str]:
        with self.store.engine.connect() as txn:
            return [
                f"journal {row['jid']}: {yuan_text(row['amount'])} yuan, debit {row['dr']} credit {row['cr']}"
                for row in reading.journal_of(txn, order_id)
            ]

    def resolve(self, order_id: int, *, executed: bool, evidence: str, maker: str, checker: str) -> str:
        """Two people's ruling on a doubt, by evidence from outside: asked and confirmed in one go.

        Only in a house without staff: there names are labels. With staff each of the two gives a word alone.
        """
        if self.person is not None and checker != self.person.login:
            raise OfficeError(f"{self.person.login} is logged in, not {checker}")
        if not maker.strip() or not checker.strip() or maker == checker:
            raise OfficeError("maker and checker are two people")
        payload = {"order": order_id, "executed": executed, "evidence": evidence}
        with self.desk(maker, "order.resolve", number=order_id) as desk:
            request = requests.propose_txn(desk, RULING, payload, None)
        [receipt] = self.store.run([RuleOrder(request, order_id, checker)])
        if not isinstance(receipt, Receipt):
            raise OfficeError(str(receipt))
        return f"order {order_id} is {receipt.state.name}"

    def verify(self) -> tuple[list[str], bool]:
        """The lines to show, and whether the books are sound."""
        with self.store.engine.connect() as txn:
            report = verify(txn, utc_offset_min=self.config.ledger.book.utc_offset_min)
        counts = f"{report.rows} journal rows, {report.accounts} floats, {report.orders} orders"
        said = report.problems or ["every balance is what its rows say; every order has its posting"]
        return [f"{counts}, {yuan_text(report.debits_fen)} yuan moved", *said], report.sound

    def may_txn(self, txn: Connection, action: str = "", **arguments: Any) -> None:
        """Raises NotAllowed unless who has logged in has the right, here and now. "" = the command's."""
        if self.person is None:
            return
        if not action and self.command is None:
            raise NotAllowed("no right is named for this")
        named: tuple[str, Mapping[str, Any]] = (action, arguments) if action else (self.command or ("", {}))
        check_action_txn(txn, self.person, *named, self.clock.now_ms())

    def run(self, commands: Sequence[Command], action: str = "", **arguments: Any) -> list[Result]:
        """Commands of the book, by somebody who may give them; results in order. Raises NotAllowed, LedgerError."""
        with self.store.engine.connect() as txn:
            self.may_txn(txn, action, **arguments)
        return self.store.run(commands)

    @contextmanager
    def desk(
        self, actor: str, action: str = "", *, checked: bool = False, **arguments: Any
    ) -> Iterator[Desk]:
        """One transaction in somebody's name: committed at the end, nothing changed on an error.

        The right is checked in it: of ``action`` with its arguments, or of the command that is being given.
        ``checked``: it is the caller who checks.
        """
        if not actor.strip():
            raise OfficeError("whose name does this bear?")
        if self.person is not None and actor != self.person.login:
            raise OfficeError(f"{self.person.login} is logged in, not {actor}")
        with self.speechless(), self.store.writing() as txn:
            if not checked:
                self.may_txn(txn, action, **arguments)
            node, service = self.config.daemon.desk_node, self.config.sms.query_number
            yield Desk(txn, self.clock.now_ms(), actor, node=node, service=service)


def _key(keys: Mapping[str, str], name: str) -> bytes:
    try:
        key = bytes.fromhex(keys[name])
    except (KeyError, ValueError) as error:
        raise OfficeError(f"key {name}: hexadecimal digits are wanted") from error
    if len(key) not in (16, 24, 32):
        raise OfficeError(f"key {name}: 16, 24 or 32 octets")
    return key


def _outlet(row: Mapping[str, Any]) -> dict[str, Any]:
    statuses = ("pending", "active", "suspended", "closing", "closed")
    return {
        "code": row["code"],
        "name": row["name"],
        "status": statuses[row["status"]],
        "language": row["language"],
        "float": yuan_text(row["posted"]),
        "held": yuan_text(row["held"]),
        "available": yuan_text(row["posted"] - row["held"] - row["floor"]),
    }


def _rights(mask: int) -> str:
    return " ".join(name for bit, name in ((1, "recharge"), (2, "query"), (4, "admin")) if mask & bit)


def _card(card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "iccid": card["iccid"],
        "phone": mask_msisdn(card["msisdn"]),
        "profile": card["profile"],
        "keys": card["key_version"],
        "status": {1: "active", 2: "blocked"}[card["status"]],
    }


def _short(order: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a list."""
    return {
        "id": order["id"],
        "made": local_time(order["created_ms"])[5:-3],
        "kind": Operation(order["kind"]).name.lower(),
        "number": mask_msisdn(order["msisdn"]),
        "yuan": yuan_text(order["amount"]),
        "state": order["state"] if order["reason"] == "OK" else f"{order['state']} {order['reason']}",
    }


def _whole(order: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of one order that may be seen."""
    return {
        **_short(order),
        "made": local_time(order["created_ms"]),
        "cost": yuan_text(order["cost"]),
        "channel": Channel(order["channel"]).name.lower(),
        "our reference": order["op_ref"] or "-",
        "operator's code": order["op_code"] or "-",
        "operator's number": order["op_serial"] or "-",
        "asked again": order["attempts"],
        "next look": local_time(order["next_ms"]),
        "ended": local_time(order["done_ms"]),
        "accounting date": order["biz_date"],
    }


def local_time(at_ms: int | None) -> str:
    """Asia/Shanghai, which is UTC+8 all year."""
    if not at_ms:
        return "-"
    return f"{datetime.fromtimestamp(at_ms / 1000, timezone(timedelta(hours=8))):%Y-%m-%d %H:%M:%S}"


def _notices(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    states = ("waiting", "sent", "expired")
    return [
        {
            "topic": row["topic"],
            "to": mask_msisdn(row["recipient"]),
            "state": states[row["state"]],
            "tries": row["attempts"],
            "sent": local_time(row["sent_ms"]),
        }
        for row in rows
    ]


def _journal(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"row": row["jid"], "debit": row["dr"], "credit": row["cr"], "yuan": yuan_text(row["amount"])}
        for row in rows
    ]
