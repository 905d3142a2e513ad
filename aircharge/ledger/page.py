"""The open page of the book: the rows of one batch, the changes so far, and what every rule writes with."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aircharge.errors import LedgerError, Reason
from aircharge.ledger.chart import (
    CARD_ACTIVE,
    HOUSE,
    OUTLET_ACTIVE,
    OUTLET_CLOSING,
    OUTLET_PENDING,
    OUTLET_SUSPENDED,
    PHONE_ACTIVE,
    PIN_ABOVE,
    PIN_ALWAYS,
)
from aircharge.ledger.commands import NoticeRow
from aircharge.ledger.counters import FAR_AHEAD, use_counter
from aircharge.ledger.cutoff import accounting_date, cut_minute, local_date, midnight_ms
from aircharge.ledger.pin_rules import PinMac, is_duress
from aircharge.ledger.rows import (
    AuditEntry,
    BalanceRow,
    Changes,
    CredentialRow,
    JournalRow,
    OutletRow,
    PhoneRow,
    ReplayRow,
    Rows,
    TxnRow,
)
from aircharge.values import Asker, CardUse, Channel, Pin, Receipt, State, terminal_of

__all__ = ["MACHINE", "BookSettings", "BrokenLedger", "Facts", "Page", "PinMac", "local_date"]

Facts = dict[str, Any]
MACHINE: Final = "machine"
LOCKED_FOR_CLERK_MS: Final = 1 << 53


class BrokenLedger(LedgerError):
    """An invariant does not hold, or the disk fails: nothing more is written until people have looked."""


@dataclass(frozen=True, slots=True)
class BookSettings:
    """The rules' numbers."""

    intent_window_ms: int = 300_000  # same outlet, number and amount within this: asked whether it is meant
    retransmit_window_ms: int = 600_000  # same serial and content within this: the SMS centre's repetition
    stale_ms: int = 600_000  # older messages are refused
    hold_look_ms: int = 120_000  # a hold nobody closed is looked at after this
    pin_fails_max: int = 3
    pin_lock_ms: int = 1_800_000
    pin_locks_max: int = 3  # then only a clerk unlocks
    risk_phone: str = ""  # national digits; who is told that a duress PIN was given; "" = the audit only
    risk_service: str = "0353910"  # the number that notice comes from
    offences_max: int = 3  # malformed messages a day; the last one is told so, later ones meet silence
    notice_ttl_ms: int = 86_400_000
    reversals_per_month: int = 8  # of an outlet, in a calendar month
    reversal_before_cut_ms: int = 600_000  # none is opened so shortly before the hour set for the cut
    reversal_consent: bool = False  # the customer's code is asked for
    consent_tries: int = 3  # so many wrong codes, and the recharge can no longer be taken back
    tickets_max: int = 5  # deposit tickets of an outlet that may wait at a time
    ticket_ttl_ms: int = 86_400_000  # how long a deposit ticket waits to be paid
    ticket_grace_ms: int = 43_200_000  # … and how much longer for bank lines that come late
    op_ref_prefix: str = "AC"  # our reference is prefix and order id in 20 digits
    customer_language: str = "zh"
    utc_offset_min: int = 480  # Asia/Shanghai, no daylight saving
    cut_at: dict[str, str] = field(default_factory=dict)  # local hour an operator's day ends, by his number

    def __post_init__(self) -> None:
        for operator, hour in self.cut_at.items():
            if not operator.isdecimal():
                raise ValueError(f"cut_at: {operator!r} is no operator's number (0 = the house)")
            cut_minute(hour)
        if not (
            self.op_ref_prefix.isascii() and self.op_ref_prefix.isalnum() and len(self.op_ref_prefix) <= 12
        ):
            raise ValueError("op_ref_prefix: 1 to 12 ASCII letters and digits")

    def date_at(self, operator_id: int, at_ms: int) -> int:
        """The accounting day that the clock says, as yyyymmdd; it may have been cut before its hour."""
        hour = self.cut_at.get(str(operator_id), "00:00")
        return accounting_date(at_ms, self.utc_offset_min, cut_minute(hour))


class Page:
    """Rows, changes, the time of the batch."""

    def __init__(
        self, settings: BookSettings, pin_mac: PinMac, rows: Rows, now_ms: int, ids: Callable[[], int]
    ) -> None:
        self.settings = settings
        self.rows = rows
        self.now_ms = now_ms
        self.ids = ids
        self.changes = Changes()
        self.pin_mac = pin_mac
        self.today = local_date(now_ms, settings.utc_offset_min)
        self.cuts: list[tuple[int, int, int]] = []  # (operator, day ended or 0, day opened) in this batch
        self._due: dict[int, int] = {}  # the accounting day by the clock, by operator
        self.asker: Asker | None = None  # who has sent the command that is being decided

    # -- days ---------------------------------------------------------------------------------------------

    def date(self, operator_id: int = HOUSE) -> int:
        """The open accounting day of an operator, or the house's, as yyyymmdd.

        The next one opens at its hour, or by ``days.CutDay`` before it; a clock set back opens none.
        """
        due = self._due.get(operator_id)
        if due is None:
            due = self.settings.date_at(operator_id, self.now_ms)
            if operator_id not in self.rows.days:  # his first day: never one that the house has ended
                due = max(due, self.rows.days.get(HOUSE, 0))
            self._due[operator_id] = due
        if self.rows.days.get(operator_id, 0) < due:
            self.open_day(operator_id, due, MACHINE)
        return self.rows.days[operator_id]

    def open_day(self, operator_id: int, date: int, actor: str) -> None:
        """Whatever is posted from now on bears that date."""
        ended = self.rows.days.get(operator_id, 0)
        self.rows.days[operator_id] = date
        self.changes.days.append((operator_id, date))
        self.cuts.append((operator_id, ended, date))
        if ended:
            self.audit("day.cut", f"operator {operator_id}", actor, ended=ended, opened=date)

    def post(self, row: TxnRow, op: int, dr: int, cr: int, amount_fen: int) -> None:
        """One transfer into the journal; balances of outlets' accounts are the caller's to move."""
        date = self.date(row.operator_id)
        self.changes.journal.append(JournalRow(self.ids(), row.id, op, dr, cr, amount_fen, date, self.now_ms))

    def credit(self, account_id: int, amount_fen: int) -> BalanceRow:
        """Add to (or, less than nothing, take from) an outlet's account."""
        balance = self.rows.balances[account_id]
        balance.posted += amount_fen
        self.changes.balances[account_id] = balance
        return balance

    # -- writing down -------------------------------------------------------------------------------------

    def notice(
        self, order_id: int, topic: str, recipient: str, sender: str, language: str, facts: Facts
    ) -> None:
        """One SMS to come. A terminal reads none: what it must hear is its answer's (``settling.tell``)."""
        if terminal_of(recipient):
            return
        if facts.get("reason") == Reason.OUTLET.name:
            outlet, _ = self.outlet_of(recipient)
            if outlet is not None and outlet.status == OUTLET_PENDING:
                facts = {**facts, "standing": "pending"}
        expires_ms = self.now_ms + self.settings.notice_ttl_ms
        self.changes.notices.append(
            NoticeRow(
                self.ids(),
                order_id,
                topic,
                recipient,
                sender,
                language,
                facts,
                self.now_ms,
                expires_ms,
                centre=self._centre_of(order_id, recipient),
            )
        )

    def _centre_of(self, order_id: int, recipient: str) -> str:
        """The SMS centre a notice belongs to: the one that brought what it answers; of nothing asked there is none."""
        if self.asker is not None and self.asker.phone == recipient:
            return self.asker.centre
        row = self.rows.txns.get(order_id)
        return row.centre if row is not None and row.asker == recipient else ""

    def audit(self, action: str, thing: str, actor: str = MACHINE, **detail: Any) -> None:
        self.changes.audit.append(AuditEntry(actor, action, thing, detail))

    def add_txn(self, row: TxnRow) -> None:
        row.owner_node, row.owner_epoch = self.rows.node, self.rows.epoch
        if self.asker is not None and self.asker.phone == row.asker:
            row.centre = self.asker.centre
        self.rows.add_txn(row)
        self.changes.new_txns.append(row)

    def touch_txn(self, row: TxnRow) -> None:
        if row.loaded_state is not None:
            self.changes.txns[row.id] = row

    def touch_balance(self, row: BalanceRow) -> None:
        self.changes.balances[row.account_id] = row

    def receipt(self, row: TxnRow, *, fresh: bool) -> Receipt:
        outlet = self.rows.accounts.get(row.outlet_acct)  # none: the account is the house's own
        return Receipt(
            row.id,
            State(row.state),
            Reason.by_number(row.reason),
            fresh,
            outlet.id if outlet else 0,
            row.operator_id,
            row.op_ref or "",
            row.msisdn,
            row.amount,
            row.cost,
            row.created_ms,
            row.attempts,
            self._original_ref(row),
        )

    def _original_ref(self, row: TxnRow) -> str:
        original = self.rows.txns.get(row.orig_txn) if row.orig_txn else None
        return (original.op_ref or "") if original else ""

    # -- who asks -----------------------------------------------------------------------------------------

    def outlet_of(self, phone: str) -> tuple[OutletRow | None, PhoneRow | None]:
        bound = self.rows.phones.get(phone)
        return (self.rows.outlets[bound.outlet_id], bound) if bound else (None, None)

    def standing(
        self,
        asker: Asker,
        outlet: OutletRow,
        phone: PhoneRow,
        right: int,
        *,
        asks_only: bool,
        sets_pin: bool = False,
    ) -> Reason:
        """CARD, OUTLET or RIGHTS in that order, else OK. A suspended or closing outlet may still ask.

        ``sets_pin``: an outlet that is not open yet may do so.
        """
        use = asker.card
        if use is not None:
            card = self.rows.cards.get(use.card_id)
            if (
                card is None
                or card.status != CARD_ACTIVE
                or card.outlet_id != outlet.id
                or card.msisdn != asker.phone
                or card.key_version != use.key_version
            ):
                return Reason.CARD
        may_ask = asks_only and outlet.status in (OUTLET_SUSPENDED, OUTLET_CLOSING)
        may_begin = sets_pin and outlet.status == OUTLET_PENDING
        if outlet.status != OUTLET_ACTIVE and not may_ask and not may_begin:
            return Reason.OUTLET
        is_bound = phone.status == PHONE_ACTIVE and phone.active_from_ms <= self.now_ms
        return Reason.OK if is_bound and phone.rights & right else Reason.RIGHTS

    def is_stale(self, sent_ms: int | None, received_ms: int) -> bool:
        return self.now_ms - (received_ms if sent_ms is None else sent_ms) > self.settings.stale_ms

    # -- serials and counters -----------------------------------------------------------------------------

    def seen(self, use: CardUse | None) -> ReplayRow | None:
        return None if use is None else self.rows.replays.get((use.card_id, use.serial))

    def is_late(self, since_ms: int) -> bool:
        """Too late to be the SMS centre's repetition."""
        return self.now_ms - since_ms > self.settings.retransmit_window_ms

    def with_pin(self, content: bytes, phone: str, pin: Pin | None) -> bytes:
        """What a serial stands for where no order keeps its first answer: content and PIN.

        Of the PIN 16 bits, keyed (``PinHash.mark``): they tell two apart, and are too few to find one by.
        """
        outlet, _ = self.outlet_of(phone)
        row = self.rows.credentials.get(outlet.id) if outlet is not None else None
        if row is not None and pin is not None:
            content += self.pin_mac(row.pepper_ver, 0, b"mark", pin.secret)[:2]
        return hashlib.sha256(content).digest()

    def spend_serial(self, use: CardUse | None, req_hash: bytes, txn_id: int) -> None:
        if use is None or (use.card_id, use.serial) in self.rows.replays:
            return
        row = ReplayRow(use.card_id, use.serial, req_hash, txn_id, self.now_ms)
        self.rows.replays[use.card_id, use.serial] = row
        self.changes.replays.append(row)

    def spend_counter(self, use: CardUse | None) -> bool:
        """False when a message with this counter was accepted before (or it is too old to tell).

        Counter 0 says that the card keeps none (TS 102 225, SPI b5b4 = 00): the serial alone protects then.
        """
        card = self.rows.cards.get(use.card_id) if use else None
        if use is None or card is None or use.counter == 0 or use.key_version != card.key_version:
            return True
        window = use_counter(card.hi, card.bitmap, use.counter)
        if window is None:
            self.audit("alarm.counter", f"card {card.id}", counter=use.counter, hi=card.hi)
            return False
        if card.hi and use.counter - card.hi > FAR_AHEAD:
            self.audit("alarm.counter-jump", f"card {card.id}", counter=use.counter, hi=card.hi)
        card.hi, card.bitmap = window
        self.changes.cards[card.id] = card
        return True

    # -- PIN ----------------------------------------------------------------------------------------------

    @staticmethod
    def policy_wants_pin(outlet: OutletRow, channel: Channel, amount_fen: int) -> bool:
        """The outlet's own policy for plain SMS."""
        if channel is not Channel.SMS:
            return False
        above = outlet.pin_policy == PIN_ABOVE and amount_fen > outlet.pin_above_fen
        return outlet.pin_policy == PIN_ALWAYS or above

    def is_pin(self, row: CredentialRow, pin: Pin) -> bool:
        mac = self.pin_mac(row.pepper_ver, row.outlet_id, row.salt, pin.secret)
        return hmac.compare_digest(mac, row.pin_mac)

    def check_pin(
        self,
        outlet: OutletRow,
        pin: Pin | None,
        *,
        needed: bool,
        counts: bool = True,
        changing: bool = False,
    ) -> tuple[Reason, Facts]:
        """PIN_LOCKED, PIN_WRONG, PIN_NEEDED, PIN_CHANGE, BUSY or OK, and what to tell.

        A wrong one counts whatever becomes of the order; ``counts`` is false for a repetition of a message whose PIN
        was counted before. An initial PIN opens nothing but its own change (``changing``). BUSY: it is the duress PIN;
        nobody at the counter sees more than that, the alarm is raised elsewhere.
        """
        row = self.rows.credentials.get(outlet.id)
        if pin is None and not needed:
            return (Reason.PIN_CHANGE if row is not None and row.must_change else Reason.OK), {}
        if row is None:  # no PIN was ever set: a clerk's matter
            return Reason.PIN_LOCKED, {"locked_until_ms": LOCKED_FOR_CLERK_MS}
        if row.locked_until_ms > self.now_ms:
            return Reason.PIN_LOCKED, {"locked_until_ms": row.locked_until_ms}
        if pin is None:
            return (Reason.PIN_CHANGE if row.must_change else Reason.PIN_NEEDED), {}
        if self.is_pin(row, pin):
            if row.fails or row.locks:
                row.fails = row.locks = row.locked_until_ms = 0
                self.changes.credentials[outlet.id] = row
            return (Reason.PIN_CHANGE if row.must_change and not changing else Reason.OK), {}
        if is_duress(self.pin_mac, row.duress_mac, outlet.id, pin.secret):
            if counts:
                self._raise_duress(outlet)
            return Reason.BUSY, {}
        return self._wrong_pin(outlet, row, counts=counts)

    def _wrong_pin(self, outlet: OutletRow, row: CredentialRow, *, counts: bool) -> tuple[Reason, Facts]:
        if counts:
            row.fails += 1
            self.changes.credentials[outlet.id] = row
        left = self.settings.pin_fails_max - row.fails
        if left > 0:
            return Reason.PIN_WRONG, {"tries_left": left}
        row.fails, row.locks = 0, row.locks + 1
        is_last = row.locks >= self.settings.pin_locks_max
        row.locked_until_ms = LOCKED_FOR_CLERK_MS if is_last else self.now_ms + self.settings.pin_lock_ms
        self.audit("alarm.pin-lock", outlet.code, locks=row.locks)
        return Reason.PIN_WRONG, {"tries_left": 0, "locked_until_ms": row.locked_until_ms}

    def _raise_duress(self, outlet: OutletRow) -> None:
        """Somebody forces the outlet: the risk desk hears of it, the outlet's own phone shows nothing."""
        self.audit("alarm.duress", outlet.code)
        phone = self.settings.risk_phone
        if phone:
            facts: Facts = {"outlet": outlet.code, "at_ms": self.now_ms}
            self.notice(
                0, "risk.duress", phone, self.settings.risk_service, self.settings.customer_language, facts
            )

    # -- facts --------------------------------------------------------------------------------------------

    def float_facts(self, outlet: OutletRow) -> Facts:
        row = self.rows.balances[outlet.float_id]
        return {"balance_fen": row.posted, "available_fen": row.available, "held_fen": row.held}

    def offend(self, asker: Asker, reason: Reason, verb: str = "") -> int:
        """Count a message that could not be served; tell the sender the first few times. Returns today's count.

        A slip of a known outlet (a digit too few, no such amount, a command without its PIN: ``verb``) is told every
        time and never leads to silence.
        """
        outlet, _ = self.outlet_of(asker.phone)
        is_slip = outlet is not None and (reason in (Reason.NUMBER, Reason.AMOUNT) or bool(verb))
        count = self.rows.offences.get(asker.phone, 0) + (not is_slip)
        if not is_slip:
            self.rows.offences[asker.phone] = count
            self.changes.offences[asker.phone] = self.changes.offences.get(asker.phone, 0) + 1
        last = self.settings.offences_max
        if count > last and not is_slip:
            return count
        language = outlet.language if outlet else self.settings.customer_language
        is_last = count == last and not is_slip
        topic = "outlet.last-notice" if is_last else "outlet.help" if outlet else "sender.unknown"
        facts: Facts = {"reason": reason.name, "at_ms": self.now_ms}
        if verb:
            facts["verb"] = verb
        if outlet:
            facts["outlet"] = outlet.code
        self.notice(0, topic, asker.phone, asker.service, language, facts)
        return count

    @property
    def today_began_ms(self) -> int:
        """Local midnight."""
        return midnight_ms(self.now_ms, self.settings.utc_offset_min)
