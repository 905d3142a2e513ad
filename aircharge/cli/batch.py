"""Files of recharges: dry run, request, start by a second person, progress, cancel, report."""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import click

from aircharge.cli.show import csv_cell, desk_of, out, plain_errors, show_sheet, show_table
from aircharge.errors import Reason
from aircharge.ledger.batch_file import BatchLine, Offer, Totals, read_lines, totals, weigh_lines
from aircharge.ledger.batching import LINE_REFUSED, LINE_WAITS, CancelBatch, OpenBatch
from aircharge.ledger.chart import BATCH_RUNNING
from aircharge.ledger.cutoff import local_date
from aircharge.ledger.funding import BATCH, propose_batch_txn, waiting
from aircharge.ledger.pending import batch_lines, batches
from aircharge.ledger.policy_loading import load_policy
from aircharge.ledger.reading import outlets
from aircharge.office import Office, OfficeError
from aircharge.staffroom import write_new
from aircharge.values import Asker, Channel, Key, Receipt, State, yuan_text

__all__ = ["batch"]

_STATES = ("running", "done", "cancelled")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def batch() -> None:
    """Files of recharges (number, amount in yuan a line): asked for by one person, started by another."""


@batch.command("dry-run")
@click.argument("file", type=_FILE)
@click.option("--outlet", "code", required=True)
@click.option("--all", "every", is_flag=True, help="Show valid lines, too.")
@click.pass_context
def batch_dry_run(context: click.Context, file: Path, code: str, every: bool) -> None:
    """What would be reserved, and what speaks against which line. Nothing is written."""
    with desk_of(context) as office:
        _, lines = _weigh(office, file.read_bytes(), code)
        shown = [_verdict(line) for line in lines if every or line.reason is not Reason.OK]
        show_table("lines" if every else "refused lines", shown)
        show_sheet("totals", _sums(totals(lines)))


@batch.command("ask")
@click.argument("file", type=_FILE)
@click.option("--outlet", "code", required=True)
@click.option("--maker", required=True)
@click.pass_context
def batch_ask(context: click.Context, file: Path, code: str, maker: str) -> None:
    """Ask for a file's recharges on an outlet's float; another person starts them with the same file."""
    with desk_of(context) as office:
        file_hash, lines = _weigh(office, file.read_bytes(), code)
        sums = totals(lines)
        with office.desk(maker) as desk:
            request = propose_batch_txn(
                desk.txn, code, file.name, file_hash, sums, maker=maker, now_ms=desk.now_ms
            )
        show_sheet("totals", _sums(sums))
        out.print(f"request {request} waits: aircharge batch start {request} {file} --checker NAME")


@batch.command("start")
@click.argument("request", type=int)
@click.argument("file", type=_FILE)
@click.option("--checker", required=True)
@click.pass_context
def batch_start(context: click.Context, request: int, file: Path, checker: str) -> None:
    """Reserve the sum of the valid lines; the daemon carries them."""
    with desk_of(context) as office:
        with office.store.engine.connect() as txn:
            asked = next((item for item in waiting(txn, [BATCH]) if item["request"] == request), None)
        if asked is None:
            raise OfficeError(f"no file waits as request {request}")
        file_hash, lines = _weigh(office, file.read_bytes(), asked["outlet"])
        command = OpenBatch(
            Channel.CLI,
            Key(BATCH, str(request)),
            Asker("", office.config.sms.recharge_number),
            tuple(lines),
            file_hash,
            asked["name"],
            office.clock.now_ms(),
            request_id=request,
            actor=checker,
        )
        [result] = office.run([command])
        if not isinstance(result, Receipt):
            raise OfficeError(str(result))
        if result.state is not State.HELD:
            raise OfficeError(f"refused ({result.reason.code} {result.reason.name}); nothing is reserved")
        out.print(f"batch {result.order_id}: {yuan_text(result.cost_fen)} yuan reserved")


@batch.command("show")
@click.argument("number", type=int, required=False)
@click.pass_context
def batch_show(context: click.Context, number: int | None) -> None:
    """All files, or one with its lines by what became of them."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        found = batches(txn, number)
        if number is None:
            asked = [
                {
                    "request": item["request"],
                    "outlet": item["outlet"],
                    "name": item["name"],
                    "maker": item["maker"],
                }
                for item in waiting(txn, [BATCH])
            ]
            show_table("asked for", asked)
            show_table("files", [_file(row) for row in found])
            return
        show_sheet("file", _file(_one(found, number)))
        counts: dict[str, int] = {}
        for row in batch_lines(txn, number):
            word = _outcome(row, found[0]["state"])
            counts[word] = counts.get(word, 0) + 1
        show_table("lines", [{"became": word, "count": count} for word, count in sorted(counts.items())])


@batch.command("report")
@click.argument("number", type=int)
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path), required=False)
@click.pass_context
def batch_report(context: click.Context, number: int, file: Path | None) -> None:
    """Every line with what became of it, as CSV (to standard output without FILE)."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        state = _one(batches(txn, number), number)["state"]
        rows = [_report(row, state) for row in batch_lines(txn, number)]
    if file is None:
        _write(sys.stdout, rows)
        return
    sheet = io.StringIO(newline="")
    _write(sheet, rows)
    with plain_errors():
        write_new(file, sheet.getvalue().encode("utf-8-sig"))
    out.print(f"{len(rows)} lines written to {file}")


@batch.command("cancel")
@click.argument("number", type=int)
@click.option("--actor", required=True)
@click.pass_context
def batch_cancel(context: click.Context, number: int, actor: str) -> None:
    """Give the waiting lines up; the rest of the reserve is free again. Lines under way go on."""
    with desk_of(context) as office:
        [result] = office.run([CancelBatch(number, actor)])
        if isinstance(result, str):
            raise OfficeError(result)
        out.print(f"batch {number} is cancelled: {yuan_text(result)} yuan are free again")


# -- reading ----------------------------------------------------------------------------------------------


def _weigh(office: Office, data: bytes, code: str) -> tuple[bytes, list[BatchLine]]:
    """The file's SHA-256 and its lines as they stand today."""
    with office.store.engine.connect() as txn:
        rows = outlets(txn, code)
        if not rows:
            raise OfficeError(f"no outlet {code}")
        policy = load_policy(txn, 0)  # as it stands; nothing is kept of it
    today = local_date(office.clock.now_ms(), office.config.ledger.book.utc_offset_min)
    offers = [
        Offer(section.id, section.segments, section.products.sells) for section in office.config.operator
    ]
    lines = weigh_lines(read_lines(data), offers, policy, rows[0]["group_code"], today)
    return hashlib.sha256(data).digest(), lines


def _one(found: list[dict[str, Any]], number: int) -> dict[str, Any]:
    if not found:
        raise OfficeError(f"no batch {number}")
    return found[0]


# -- showing ----------------------------------------------------------------------------------------------


def _verdict(line: BatchLine) -> dict[str, Any]:
    return {
        "line": line.line,
        "number": line.msisdn,
        "yuan": yuan_text(line.amount_fen),
        "verdict": "good" if line.reason is Reason.OK else f"{line.reason.code} {line.reason.name}",
    }


def _sums(sums: Totals) -> dict[str, Any]:
    refused = {f"refused {reason.name}": count for reason, count in sums.refused.items()}
    return {
        "lines": sums.lines,
        "valid": sums.valid,
        **refused,
        "face values": yuan_text(sums.amount_fen),
        "the outlet pays": yuan_text(sums.cost_fen),
    }


def _file(row: dict[str, Any]) -> dict[str, Any]:
    reserve_fen = row["reserve_fen"] if row["txn_state"] == int(State.HELD) else 0
    return {
        "id": row["id"],
        "outlet": row["code"],
        "name": row["name"],
        "lines": row["lines"],
        "yuan": yuan_text(row["total_fen"]),
        "reserve": yuan_text(reserve_fen),
        "state": _STATES[row["state"]],
    }


def _outcome(row: dict[str, Any], batch_state: int) -> str:
    if row["state"] == LINE_WAITS:
        return "waiting" if batch_state == BATCH_RUNNING else "given up"
    if row["state"] == LINE_REFUSED:
        return f"refused {Reason.by_number(row['reason']).name}"
    state = State(row["order_state"])
    return state.name.lower()


def _report(row: dict[str, Any], batch_state: int) -> list[Any]:
    why = row["reason"] if row["state"] == LINE_REFUSED else row["order_reason"] or 0
    reason = Reason.by_number(why)
    return [
        row["line"],
        row["msisdn"],
        yuan_text(row["amount_fen"]),
        yuan_text(row["order_cost"] or row["cost_fen"]),
        _outcome(row, batch_state).split()[0],
        "" if reason is Reason.OK else reason.name,
        row["txn_id"] or "",
        row["op_serial"] or "",
    ]


def _write(handle: Any, rows: list[list[Any]]) -> None:
    writer = csv.writer(handle)
    writer.writerow(("line", "number", "yuan", "paid", "state", "reason", "order", "operator's number"))
    writer.writerows([csv_cell(cell) for cell in row] for row in rows)
