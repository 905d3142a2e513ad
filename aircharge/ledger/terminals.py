"""Sessions and batches of payment terminals: sign-in, sign-out, settlement, details, copies of slips. Pure.

Nothing here moves money: a settlement compares, and says where terminal and ledger differ. Keys come wrapped.
Source: conventions of Q/CUP 007 (docs/protocols/pos-8583.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from aircharge.ledger.chart import (
    DETAIL_EQUAL,
    DETAIL_MISSING,
    DETAIL_OTHER,
    DETAIL_UNKNOWN,
    KEY_ACTIVE,
    KEY_PENDING,
    KEY_RETIRED,
    POS_COMPARED,
    POS_EQUAL,
    POS_UNEQUAL,
)
from aircharge.ledger.page import Page
from aircharge.ledger.rows import Needs, RowChange
from aircharge.ledger.rule import Rule

__all__ = [
    "BATCH_MAX",
    "COPIES_MAX",
    "NO_KEYS",
    "RULES",
    "CloseBatch",
    "CountCopy",
    "Detail",
    "EndDetails",
    "LeaveBatch",
    "Session",
    "SignIn",
    "SignOut",
    "TookParameters",
    "Totals",
    "UseSession",
    "next_batch",
]

BATCH_MAX: Final = 999_999
COPIES_MAX: Final = 2
_SESSION, _OFFER, _KEY, _BATCH, _DETAIL, _COPY = (
    "terminal_session",
    "terminal_offer",
    "terminal_key",
    "pos_batch",
    "pos_detail",
    "pos_copy",
)
_NO_SESSION: Final[Mapping[str, Any]] = {
    "session": 0,
    "next_session": 0,
    "batch": 1,
    "pik_wrapped": None,
    "parameters": 0,
}
"""Of a terminal that never signed in."""
NO_KEYS: Final[Mapping[str, None]] = {"pik_wrapped": None, "mak_wrapped": None}
"""Of a session or an offer that has ended."""


def next_batch(batch: int) -> int:
    """The number of the batch behind this one: after 999999 comes 1."""
    return batch % BATCH_MAX + 1


@dataclass(frozen=True, slots=True)
class Session:
    """What a terminal works with from now on."""

    session: int
    batch: int


@dataclass(frozen=True, slots=True)
class SignIn:
    """New working keys, wrapped, are offered for this session number. Result: Session; None: another was quicker.

    Anybody may ask for them, so nothing ends by it: the session before is good until a message proves that the terminal
    has the new keys (``UseSession``).
    """

    terminal_id: int
    terminal: str
    key_version: int
    session: int  # the number used or offered last plus 1, bound into the wrapping
    pik_wrapped: bytes
    mak_wrapped: bytes
    until_ms: int


@dataclass(frozen=True, slots=True)
class UseSession:
    """A message bore the MAC of the keys that were offered for this session: they take the place of those before.

    So the terminal has the master key they came under: a pending one becomes the active one, and the one before is
    retired. Result: whether they are in use now; False: they are offered no more.
    """

    terminal_id: int
    terminal: str
    session: int


@dataclass(frozen=True, slots=True)
class SignOut:
    """The working keys are forgotten; the batch stays. Result: whether the terminal was signed in."""

    terminal_id: int
    terminal: str


@dataclass(frozen=True, slots=True)
class TookParameters:
    """The terminal has taken this version of its parameters. Result: None."""

    terminal_id: int
    version: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sales and same-day voids of a batch: how many, and how much in fen."""

    sale_n: int = 0
    sale_fen: int = 0
    void_n: int = 0
    void_fen: int = 0


@dataclass(frozen=True, slots=True)
class CloseBatch:
    """A terminal settles its batch with its totals; ``ours`` was read before.

    Result: POS_EQUAL (the next batch has begun), POS_UNEQUAL (its details are awaited), POS_COMPARED (they were);
    None when that batch is neither the open one nor one that was settled with the same totals.
    """

    terminal_id: int
    terminal: str
    batch: int
    theirs: Totals
    ours: Totals


@dataclass(frozen=True, slots=True)
class LeaveBatch:
    """A terminal whose trace numbers start over begins the next batch; the open one is left to people.

    ``ours`` was read before. Result: whether the next batch is open now, by this or before.
    """

    terminal_id: int
    terminal: str
    batch: int
    ours: Totals


@dataclass(frozen=True, slots=True)
class Detail:
    """One line of a batch: what the terminal and what the ledger has under a trace number; 0 = nothing."""

    trace: int
    their_fen: int
    our_fen: int
    txn_id: int = 0

    @property
    def said(self) -> int:
        if self.their_fen == self.our_fen:
            return DETAIL_EQUAL
        if not self.our_fen:
            return DETAIL_UNKNOWN
        return DETAIL_OTHER if self.their_fen else DETAIL_MISSING


@dataclass(frozen=True, slots=True)
class EndDetails:
    """The upload of an unequal batch is over: all its lines, compared. Result: how many differ; None: not awaited."""

    terminal_id: int
    terminal: str
    batch: int
    details: tuple[Detail, ...]


@dataclass(frozen=True, slots=True)
class CountCopy:
    """A slip is printed again, marked as a copy. Result: which copy it is, 0 = no more of them."""

    order_id: int


# -- sessions ---------------------------------------------------------------------------------------------


def _session(page: Page, terminal_id: int) -> Mapping[str, Any] | None:
    found = page.rows.found.get((_SESSION, "terminal_id", terminal_id), [])
    return found[0] if found else None


def _write_session(page: Page, terminal_id: int, values: dict[str, Any]) -> None:
    """Change the session's row, or make it."""
    row = _session(page, terminal_id)
    if row is None:
        page.changes.rare.append(RowChange(_SESSION, {"terminal_id": terminal_id, **values}))
    else:
        met = {name: row[name] for name in ("terminal_id", "session", "next_session")}
        page.changes.rare.append(RowChange(_SESSION, values, met))
    kept = {**_NO_SESSION, "terminal_id": terminal_id, **(row or {}), **values}
    page.rows.found[_SESSION, "terminal_id", terminal_id] = [kept]


def sign_in(page: Page, command: SignIn) -> Session | None:
    row = _session(page, command.terminal_id) or _NO_SESSION
    if command.session != max(row["session"], row["next_session"]) + 1:
        return None
    _write_session(page, command.terminal_id, {"next_session": command.session})
    values = {
        "session": command.session,
        "pik_wrapped": command.pik_wrapped,
        "mak_wrapped": command.mak_wrapped,
        "until_ms": command.until_ms,
    }
    where = {"terminal_id": command.terminal_id, "key_version": command.key_version}
    offers = _offers(page, command.terminal_id)
    before = next((offer for offer in offers if offer["key_version"] == command.key_version), None)
    if before is None:
        page.changes.rare.append(RowChange(_OFFER, {**where, **values}))
        offers.append({**where, **values})
    else:
        page.changes.rare.append(RowChange(_OFFER, values, {**where, "session": before["session"]}))
        before.update(values)
    return Session(command.session, int(row["batch"]))


def _offers(page: Page, terminal_id: int) -> list[dict[str, Any]]:
    """By master key: nobody who asks under one of them can touch what was offered under another."""
    return page.rows.found.setdefault((_OFFER, "terminal_id", terminal_id), [])


def _end_offers(page: Page, terminal_id: int) -> bool:
    """Whether there were any."""
    offers = [offer for offer in _offers(page, terminal_id) if offer["pik_wrapped"] is not None]
    for offer in offers:
        met = {name: offer[name] for name in ("terminal_id", "key_version", "session")}
        page.changes.rare.append(RowChange(_OFFER, dict(NO_KEYS), met))
        offer.update(NO_KEYS)
    return bool(offers)


def use_session(page: Page, command: UseSession) -> bool:
    row = _session(page, command.terminal_id)
    offers = (offer for offer in _offers(page, command.terminal_id) if offer["pik_wrapped"] is not None)
    used = next((dict(offer) for offer in offers if offer["session"] == command.session), None)
    if used is None:
        return row is not None and row["session"] == command.session and row["pik_wrapped"] is not None
    _end_offers(page, command.terminal_id)
    _write_session(page, command.terminal_id, {**used, "signed_ms": page.now_ms})
    version = int(used["key_version"])
    page.audit("terminal.sign-in", command.terminal, session=command.session, key_version=version)
    _use_key(page, command, version)
    return True


def _use_key(page: Page, command: UseSession, version: int) -> None:
    """A pending master key becomes the active one."""
    keys = page.rows.found.get((_KEY, "terminal_id", command.terminal_id), [])
    if not any(key["version"] == version and key["state"] == KEY_PENDING for key in keys):
        return
    for key in keys:
        is_new = key["version"] == version
        if is_new or key["state"] == KEY_ACTIVE:
            met = {"terminal_id": command.terminal_id, "version": key["version"], "state": key["state"]}
            key["state"] = KEY_ACTIVE if is_new else KEY_RETIRED
            page.changes.rare.append(RowChange(_KEY, {"state": key["state"]}, met))
    page.changes.rare.append(RowChange("terminal", {"key_version": version}, {"id": command.terminal_id}))
    page.audit("terminal.key-in-use", command.terminal, version=version)


def sign_out(page: Page, command: SignOut) -> bool:
    row = _session(page, command.terminal_id)
    had_offers = _end_offers(page, command.terminal_id)
    if row is None or (row["pik_wrapped"] is None and not had_offers):
        return False
    values = {**NO_KEYS, "until_ms": page.now_ms}
    _write_session(page, command.terminal_id, values)
    page.audit("terminal.sign-out", command.terminal)
    return True


def took_parameters(page: Page, command: TookParameters) -> None:
    row = _session(page, command.terminal_id)
    if row is not None and row["parameters"] != command.version:
        _write_session(page, command.terminal_id, {"parameters": command.version})


# -- batches ----------------------------------------------------------------------------------------------


def _batch_of(page: Page, terminal_id: int, batch: int) -> dict[str, Any] | None:
    rows = page.rows.found.get((_BATCH, "terminal_id", terminal_id), [])
    return next((row for row in rows if row["batch"] == batch), None)


def close_batch(page: Page, command: CloseBatch) -> int | None:
    theirs = {f"their_{name}": value for name, value in asdict(command.theirs).items()}
    before = _batch_of(page, command.terminal_id, command.batch)
    if before is not None:
        is_same = all(before[name] == value for name, value in theirs.items())
        return int(before["state"]) if is_same else None
    row = _session(page, command.terminal_id)
    if row is None or row["batch"] != command.batch:
        return None
    state = POS_EQUAL if command.theirs == command.ours else POS_UNEQUAL
    _write_batch(page, command, state, command.theirs)
    if state == POS_EQUAL:
        _next_batch(page, command.terminal_id, command.batch)
    page.audit("terminal.settle", command.terminal, batch=command.batch, equal=state == POS_EQUAL)
    return state


def _write_batch(page: Page, command: CloseBatch | LeaveBatch, state: int, theirs: Totals) -> None:
    sides = {"our": asdict(command.ours), "their": asdict(theirs)}
    made: dict[str, Any] = {
        "terminal_id": command.terminal_id,
        "batch": command.batch,
        "state": state,
        "made_ms": page.now_ms,
        "done_ms": page.now_ms if state == POS_EQUAL else None,
        **{f"{side}_{name}": value for side, sums in sides.items() for name, value in sums.items()},
    }
    page.changes.rare.append(RowChange(_BATCH, made))
    page.rows.found.setdefault((_BATCH, "terminal_id", command.terminal_id), []).append(dict(made))


def leave_batch(page: Page, command: LeaveBatch) -> bool:
    row = _session(page, command.terminal_id)
    if row is None or row["batch"] != command.batch:
        return row is not None and row["batch"] == next_batch(command.batch)
    if _batch_of(page, command.terminal_id, command.batch) is None:
        _write_batch(page, command, POS_UNEQUAL, Totals())
    _next_batch(page, command.terminal_id, command.batch)
    page.audit("alarm.batch-left", command.terminal, batch=command.batch)
    return True


def _next_batch(page: Page, terminal_id: int, batch: int) -> None:
    """Unless it has begun already: the lines of a batch that was left may come later."""
    row = _session(page, terminal_id)
    if row is None or row["batch"] == batch:
        _write_session(page, terminal_id, {"batch": next_batch(batch)})


def end_details(page: Page, command: EndDetails) -> int | None:
    before = _batch_of(page, command.terminal_id, command.batch)
    if before is None or before["state"] == POS_EQUAL:
        return None
    wrong = [detail for detail in command.details if detail.said != DETAIL_EQUAL]
    if before["state"] == POS_COMPARED:
        return len(wrong)  # the same end again
    where = {"terminal_id": command.terminal_id, "batch": command.batch}
    for detail in command.details:
        values = {**where, **asdict(detail), "said": detail.said}
        page.changes.rare.append(RowChange(_DETAIL, values))
    done = {"state": POS_COMPARED, "done_ms": page.now_ms}
    page.changes.rare.append(RowChange(_BATCH, done, {**where, "state": POS_UNEQUAL}))
    before.update(done)
    _next_batch(page, command.terminal_id, command.batch)
    action = "alarm.batch-differs" if wrong else "terminal.compared"
    page.audit(action, command.terminal, batch=command.batch, traces=[detail.trace for detail in wrong[:20]])
    return len(wrong)


def count_copy(page: Page, command: CountCopy) -> int:
    found = page.rows.found.get((_COPY, "txn_id", command.order_id), [])
    n = found[0]["n"] if found else 0
    if n >= COPIES_MAX or command.order_id not in page.rows.txns:
        return 0
    if found:
        page.changes.rare.append(RowChange(_COPY, {"n": n + 1}, {"txn_id": command.order_id, "n": n}))
    else:
        page.changes.rare.append(RowChange(_COPY, {"txn_id": command.order_id, "n": 1}))
    page.rows.found[_COPY, "txn_id", command.order_id] = [{"n": n + 1}]
    return int(n) + 1


# -- needs ------------------------------------------------------------------------------------------------


def _terminal_needs(*tables: str) -> Any:
    def gather(needs: Needs, command: Any) -> None:
        needs.wanted.update((table, "terminal_id", command.terminal_id) for table in tables)

    return gather


def _copy_needs(needs: Needs, command: CountCopy) -> None:
    needs.orders.add(command.order_id)
    needs.wanted.add((_COPY, "txn_id", command.order_id))


RULES: Final = {
    SignIn: Rule(_terminal_needs(_SESSION, _OFFER), sign_in),
    UseSession: Rule(_terminal_needs(_SESSION, _OFFER, _KEY), use_session),
    SignOut: Rule(_terminal_needs(_SESSION, _OFFER), sign_out),
    TookParameters: Rule(_terminal_needs(_SESSION), took_parameters),
    CloseBatch: Rule(_terminal_needs(_SESSION, _BATCH), close_batch),
    LeaveBatch: Rule(_terminal_needs(_SESSION, _BATCH), leave_batch),
    EndDetails: Rule(_terminal_needs(_SESSION, _BATCH), end_details),
    CountCopy: Rule(_copy_needs, count_copy),
}
