"""The books: accounting days, and what proves them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select

from aircharge.cli.show import desk_of, out, show_sheet, show_table
from aircharge.ledger.chart import HOUSE
from aircharge.ledger.checkpoints import closable, close_day
from aircharge.ledger.cutoff import date_text, following, parse_date
from aircharge.ledger.days import CutDay, DayCut
from aircharge.ledger.reading import open_days
from aircharge.ledger.sealing import bad_head, bad_seals, last_seal
from aircharge.ledger.statements import ACCOUNTS, Statement, csv_text, statement
from aircharge.ledger.tables import metadata
from aircharge.office import Office, OfficeError
from aircharge.staffroom import write_new
from aircharge.values import yuan_text

__all__ = ["day", "seal", "statement_command"]

_STATES = ("open", "cutting", "closed")
_SHANGHAI = timezone(timedelta(hours=8))


class _Date(click.ParamType[int]):
    """YYYY-MM-DD as a number."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_date(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DATE = _Date()


def _operator(office: Office, operator_id: int) -> int:
    """Raises OfficeError for an operator that is not in the configuration."""
    known = {HOUSE, *(section.id for section in office.config.operator)}
    if operator_id not in known:
        numbers = ", ".join(str(number) for number in sorted(known - {HOUSE}))
        raise OfficeError(f"no operator {operator_id}: 0 (the house), {numbers}")
    return operator_id


@click.group()
def day() -> None:
    """Accounting days; operator 0 is the house itself."""


@day.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=30)
@click.pass_context
def day_list(context: click.Context, limit: int) -> None:
    """The last days of every operator."""
    table = metadata.tables["day"]
    newest = select(table).order_by(table.c.biz_date.desc(), table.c.operator_id).limit(limit)
    with desk_of(context) as office:
        with office.store.engine.connect() as txn:
            rows = txn.execute(newest).mappings().all()
        show_table(
            "days",
            [
                {
                    "day": date_text(row["biz_date"]),
                    "operator": row["operator_id"],
                    "state": _STATES[row["state"]],
                    "cut": _local(row["cut_ms"]),
                    "closed": _local(row["closed_ms"]),
                }
                for row in rows
            ],
        )


@day.command("cut")
@click.argument("operator", type=int)
@click.option("--next", "next_date", type=DATE, help="The day that opens; else the one after the open day.")
@click.option("--actor", required=True)
@click.pass_context
def day_cut(context: click.Context, operator: int, next_date: int | None, actor: str) -> None:
    """End OPERATOR's open day now; what is held from now on bears the next date."""
    with desk_of(context) as office:
        if next_date is None:
            with office.store.engine.connect() as txn:
                open_date = open_days(txn).get(_operator(office, operator), 0)
            book = office.config.ledger.book
            by_clock = book.date_at(operator, office.clock.now_ms())
            next_date = following(max(open_date, by_clock))
        [cut] = office.run([CutDay(_operator(office, operator), next_date, actor)])
        if not isinstance(cut, DayCut):
            raise OfficeError(str(cut))
        out.print(f"operator {operator}: {date_text(cut.ended)} is cut, {date_text(cut.opened)} is open")


@day.command("close")
@click.argument("operator", type=int)
@click.argument("date", type=DATE)
@click.option("--actor", required=True)
@click.pass_context
def day_close(context: click.Context, operator: int, date: int, actor: str) -> None:
    """Write the checkpoint of a day that was cut, and close it. The daemon does it by itself."""
    with desk_of(context) as office:
        engine = office.store.engine
        problems = close_day(engine, _operator(office, operator), date, office.clock.now_ms(), actor)
        if problems:
            raise OfficeError("; ".join(problems))
        with engine.connect() as txn:
            left = len(closable(txn))
        out.print(f"operator {operator}: {date_text(date)} is closed; {left} more can be")


@click.command("statement")
@click.argument("code")
@click.argument("date", type=DATE)
@click.option("--account", type=click.Choice(ACCOUNTS), default="float")
@click.option("--file", type=click.Path(path_type=Path), help="Write it there as CSV.")
@click.option("--encoding", type=click.Choice(["utf-8", "gb18030"]), default="utf-8", help="Of the file.")
@click.option("--language", type=click.Choice(["zh", "en"]), default="zh", help="Of the file's headings.")
@click.pass_context
def statement_command(
    context: click.Context,
    code: str,
    date: int,
    account: str,
    file: Path | None,
    encoding: str,
    language: str,
) -> None:
    """What moved on an outlet's account on an accounting day."""
    with desk_of(context) as office:
        with office.store.engine.connect() as txn:
            found = statement(txn, code, date, account)
        if file is not None:
            words = csv_text(found, language, office.config.ledger.book.utc_offset_min)
            write_new(file, words.encode("utf-8-sig" if encoding == "utf-8" else encoding))
            out.print(f"{len(found.movements)} movements written to {file}")
            return
        rows = [
            {
                "time": _local(row.at_ms),
                "order": row.order_id,
                "kind": row.kind,
                "number": row.number,
                "yuan": yuan_text(row.fen),
                "balance": yuan_text(row.after_fen),
            }
            for row in found.movements
        ]
        show_table(f"{code} {account} {date_text(date)}", rows)
        show_sheet("the day", _recap(found))


def _recap(found: Statement) -> dict[str, Any]:
    recap = found.recap
    return {
        "opening": yuan_text(found.opening_fen),
        "recharges": f"{recap.recharges} of {yuan_text(recap.recharged_fen)}, paid {yuan_text(recap.paid_fen)}",
        "reversals": f"{recap.reversals} of {yuan_text(recap.reversed_fen)}",
        "commission": yuan_text(recap.commission_fen),
        "other in": yuan_text(recap.came_fen),
        "other out": yuan_text(recap.went_fen),
        "closing": yuan_text(found.closing_fen),
    }


@click.group()
def seal() -> None:
    """The journal's seals."""


@seal.command("head")
@click.pass_context
def seal_head(context: click.Context) -> None:
    """The last seal, NUMBER:HASH: keep it where no database administrator can reach it."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        head = last_seal(txn)
        out.print("nothing is sealed" if head is None else head.head)


@seal.command("check")
@click.argument("heads", nargs=-1, required=True)
@click.pass_context
def seal_check(context: click.Context, heads: tuple[str, ...]) -> None:
    """Whether the chain of seals still goes through HEADS published earlier, and is whole."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        problems = [problem for head in heads if (problem := bad_head(txn, head))]
        problems += bad_seals(txn)
        if problems:
            raise OfficeError("\n".join(problems))
        out.print(f"the chain is whole and goes through {'it' if len(heads) == 1 else 'them'}")


def _local(at_ms: int | None) -> str:
    """Asia/Shanghai, which is UTC+8 all year."""
    return f"{datetime.fromtimestamp(at_ms / 1000, _SHANGHAI):%Y-%m-%d %H:%M:%S}" if at_ms else "-"
