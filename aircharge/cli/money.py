"""Money by hand: entries, credit lines and the month's commission; one person asks, another confirms or declines."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click

from aircharge.cli.show import desk_of, out, show_table
from aircharge.ledger.bank_file import BankLine, read_bank_lines
from aircharge.ledger.credit import CreditLine
from aircharge.ledger.entries import ENTRIES, Declined, Enter
from aircharge.ledger.funding import (
    BANK,
    BATCH,
    CREDIT,
    EntryForm,
    propose_bank_txn,
    propose_credit_txn,
    propose_entry_txn,
    propose_payouts_txn,
    waiting,
)
from aircharge.ledger.pending import ticket_outlet
from aircharge.ledger.ruling import UNDO
from aircharge.ledger.tickets import BankFileDone, PayTicket
from aircharge.office import Office, OfficeError, fen_from_yuan
from aircharge.staffroom import Staffroom, sees
from aircharge.values import Receipt, yuan_text

__all__ = ["money"]

_SHANGHAI = timezone(timedelta(hours=8))
_CHUNK = 100  # requests decided in one commit
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def money() -> None:
    """Money by hand: one person asks, another confirms."""


@money.command("ask")
@click.argument("what", type=click.Choice(sorted(ENTRIES)))
@click.argument("amount")
@click.option("--reference", required=True, help="Bank slip, letter or order it rests on; it counts once.")
@click.option("--outlet", "code", default="", help="The outlet, where its account moves.")
@click.option("--operator", "operator_id", type=int, default=0, help="The operator, where its stock moves.")
@click.option("--reason", default="", help="Why.")
@click.option("--maker", required=True)
@click.pass_context
def money_ask(
    context: click.Context,
    what: str,
    amount: str,
    reference: str,
    code: str,
    operator_id: int,
    reason: str,
    maker: str,
) -> None:
    """Ask for an entry of AMOUNT yuan.

    \b
    funding          bank → float             withdrawal       float → bank (outlet closing)
    adjust-up        adjustment → float       adjust-down      float → adjustment
    deposit-in       float → deposit 保证金    deposit-out      deposit → float
    payout           expense → commission     commission-out   commission → float (outlet closing)
    stock            operator stock ← bank    suspense-in      bank → suspense
    suspense-out     suspense → float         suspense-refund  suspense → bank
    suspense-stock   suspense ← operator stock
    """
    with desk_of(context) as office, office.desk(maker) as desk:
        form = EntryForm(what, fen_from_yuan(amount), reference, code, operator_id, reason)
        request = propose_entry_txn(desk.txn, form, maker=maker, now_ms=desk.now_ms)
    out.print(f"request {request} waits for another person: aircharge money confirm {request} --checker NAME")


@money.command("credit")
@click.argument("code")
@click.argument("limit")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Its last day.")
@click.option("--maker", required=True)
@click.pass_context
def money_credit(context: click.Context, code: str, limit: str, until: datetime | None, maker: str) -> None:
    """Ask for a credit line of LIMIT yuan for an outlet until the end of a day; 0 takes it away."""
    with desk_of(context) as office, office.desk(maker) as desk:
        until_ms = desk.now_ms
        if until is not None:
            until_ms = int((until + timedelta(days=1)).replace(tzinfo=_SHANGHAI).timestamp()) * 1000
        limit_fen = fen_from_yuan(limit)
        request = propose_credit_txn(desk.txn, code, limit_fen, until_ms, maker=maker, now_ms=desk.now_ms)
    out.print(f"request {request} waits for another person: aircharge money confirm {request} --checker NAME")


@money.command("commission")
@click.argument("month", type=int)
@click.option("--maker", required=True)
@click.pass_context
def money_commission(context: click.Context, month: int, maker: str) -> None:
    """Ask for the month-end commission of all outlets for MONTH (yyyymm); may be repeated, each counts once."""
    with desk_of(context) as office, office.desk(maker) as desk:
        offset_min = office.config.ledger.book.utc_offset_min
        requests = propose_payouts_txn(
            desk.txn, month, maker=maker, now_ms=desk.now_ms, utc_offset_min=offset_min
        )
    span = f", {requests[0]} to {requests[-1]}" if requests else ""
    out.print(f"{len(requests)} requests{span}: aircharge money confirm --all-of {month} --checker NAME")


@money.command("list")
@click.pass_context
def money_list(context: click.Context) -> None:
    """Requests that wait for a second person."""
    kinds = [*ENTRIES, CREDIT, BATCH, BANK]
    with desk_of(context) as office, office.store.engine.connect() as txn:
        found = [
            item for item in waiting(txn, kinds, office.clock.now_ms()) if sees(txn, office.person, item)
        ]
        show_table("waiting", [_line(item) for item in found])


@money.command("confirm")
@click.argument("requests", type=int, nargs=-1)
@click.option("--all-of", "month", type=int, help="All commission requests of this month (yyyymm).")
@click.option("--checker", required=True)
@click.pass_context
def money_confirm(context: click.Context, requests: tuple[int, ...], month: int | None, checker: str) -> None:
    """Confirm requests; the checker is not the maker. --all-of shows them first, and asks."""
    with desk_of(context) as office:
        numbers = [*requests, *(_shown_month(office, month) if month else [])]
        if not numbers:
            raise OfficeError("no request is named")
        _decide(office, [Enter(number, checker) for number in numbers])


@money.command("decline")
@click.argument("requests", type=int, nargs=-1, required=True)
@click.option("--reason", required=True)
@click.option("--checker", required=True)
@click.pass_context
def money_decline(context: click.Context, requests: tuple[int, ...], reason: str, checker: str) -> None:
    """Decline requests; nothing moves."""
    with desk_of(context) as office:
        if not reason.strip():
            raise OfficeError("why are they declined?")
        _decide(office, [Enter(number, checker, decline=reason) for number in requests])


@money.command("transfer")
@click.argument("code")
@click.argument("to")
@click.argument("amount")
@click.option("--reference", required=True, help="The letter it rests on; it counts once.")
@click.option("--maker", required=True)
@click.pass_context
def money_transfer(
    context: click.Context, code: str, to: str, amount: str, reference: str, maker: str
) -> None:
    """Ask that AMOUNT yuan go from outlet CODE to outlet TO, as it could itself; another person confirms."""
    with desk_of(context) as office:
        wish = {"outlet": code, "to": to, "amount_fen": fen_from_yuan(amount), "reference": reference}
        out.print(Staffroom(office).change("transfer", wish, actor=maker))


@money.command("ticket")
@click.argument("code")
@click.argument("amount")
@click.option("--reference", required=True, help="Your own number of the ticket; it counts once.")
@click.option("--maker", required=True)
@click.pass_context
def money_ticket(context: click.Context, code: str, amount: str, reference: str, maker: str) -> None:
    """Ask for a deposit ticket (预存) over AMOUNT yuan; whoever confirms hears the exact sum."""
    with desk_of(context) as office:
        wish = {"outlet": code, "amount_fen": fen_from_yuan(amount), "reference": reference}
        out.print(Staffroom(office).change("ticket", wish, actor=maker))


@money.command("undo-transfer")
@click.argument("number", type=int)
@click.option("--maker", required=True)
@click.pass_context
def money_undo_transfer(context: click.Context, number: int, maker: str) -> None:
    """Ask that a transfer of today is taken back, while its receiver still holds the sum; another person confirms."""
    with desk_of(context) as office:
        out.print(Staffroom(office).change(UNDO, {"order": number}, actor=maker))


@money.command("bank-ask")
@click.argument("file", type=_FILE)
@click.option("--maker", required=True)
@click.pass_context
def money_bank_ask(context: click.Context, file: Path, maker: str) -> None:
    """Ask that a bank's file (reference, yuan, time a line) is booked; another person does so with the same file."""
    with desk_of(context) as office:
        file_hash, lines = _bank_lines(office, file)
        total_fen = sum(line.amount_fen for line in lines)
        with office.store.engine.connect() as txn:
            matched = sum(bool(ticket_outlet(txn, line.amount_fen)) for line in lines)
        with office.desk(maker) as desk:
            request = propose_bank_txn(
                desk.txn, file.name, file_hash, len(lines), total_fen, maker=maker, now_ms=desk.now_ms
            )
        out.print(f"{len(lines)} lines, {yuan_text(total_fen)} yuan; {matched} have a ticket that waits")
        out.print(f"request {request} waits: aircharge money bank-book {request} {file} --checker NAME")


@money.command("bank-book")
@click.argument("request", type=int)
@click.argument("file", type=_FILE)
@click.option("--checker", required=True)
@click.pass_context
def money_bank_book(context: click.Context, request: int, file: Path, checker: str) -> None:
    """Book a bank's file: what a ticket waits for goes to its float, the rest to suspense. May be repeated."""
    with desk_of(context) as office:
        file_hash, lines = _bank_lines(office, file)
        digest, booked = file_hash.hex(), {"to a float": 0, "to suspense": 0, "booked before": 0}
        for line in lines:
            receipt = _pay(
                office,
                line,
                PayTicket(line.reference, line.amount_fen, line.paid_ms, "", request, digest, checker),
            )
            kind = "to a float" if receipt.outlet_id else "to suspense"
            booked[kind if receipt.fresh else "booked before"] += 1
        [done] = office.run([BankFileDone(request, digest, checker)])
        if isinstance(done, str):
            raise OfficeError(done)
        out.print(", ".join(f"{count} {kind}" for kind, count in booked.items()))


def _bank_lines(office: Office, file: Path) -> tuple[bytes, list[BankLine]]:
    data = file.read_bytes()
    lines = read_bank_lines(data, office.config.ledger.book.utc_offset_min)
    return hashlib.sha256(data).digest(), lines


def _pay(office: Office, line: BankLine, command: PayTicket) -> Receipt:
    """A ticket that appears in the very moment is looked up once more."""
    said = ""
    for _ in range(3):
        with office.store.engine.connect() as txn:
            code = ticket_outlet(txn, line.amount_fen)
        [result] = office.run([dataclasses.replace(command, code=code)])
        if isinstance(result, Receipt):
            return result
        said = str(result)
    raise OfficeError(f"reference {line.reference}: {said}")


def _decide(office: Office, words: list[Enter]) -> None:
    """Say of each what has become of it; exit code 1 when any could not be."""
    failed: list[str] = []
    for start in range(0, len(words), _CHUNK):
        chunk = words[start : start + _CHUNK]
        for word, result in zip(chunk, office.run(chunk), strict=True):
            if isinstance(result, str):
                failed.append(f"request {word.request_id}: not done, {result}")
            elif isinstance(result, Declined):
                out.print(f"request {word.request_id}: declined")
            elif isinstance(result, CreditLine):
                said = f"credit line {yuan_text(result.limit_fen)} yuan, {yuan_text(result.owed_fen)} owed"
                out.print(f"request {word.request_id}: {said}")
            else:
                amount = yuan_text(result.amount_fen)
                out.print(f"request {word.request_id}: {amount} yuan booked as order {result.order_id}")
    if failed:
        raise OfficeError(f"{len(failed)} of {len(words)} could not be done: " + "; ".join(failed))


def _shown_month(office: Office, month: int) -> list[int]:
    """What ``money commission`` has asked for that month, in the person's part of the tree: shown, and agreed to."""
    with office.store.engine.connect() as txn:
        found = waiting(txn, ["payout"], office.clock.now_ms())
        found = [item for item in found if item.get("month") == month and sees(txn, office.person, item)]
    if not found:
        raise OfficeError(f"no commission of {month} waits: aircharge money commission {month}")
    show_table("commission", [_line(item) for item in found])
    total = yuan_text(sum(item["amount_fen"] for item in found))
    if not click.confirm(f"{len(found)} requests, {total} yuan in all: confirm them?"):
        raise OfficeError("nothing is confirmed")
    return [item["request"] for item in found]


def _line(item: dict[str, Any]) -> dict[str, Any]:
    fen = item.get("amount_fen", item.get("limit_fen", 0))
    return {
        "request": item["request"],
        "what": item["what"],
        "outlet": item.get("outlet", "-"),
        "yuan": yuan_text(fen),
        "reference": item.get("slip", "-"),
        "reason": item.get("reason", ""),
        "maker": item["maker"],
    }
