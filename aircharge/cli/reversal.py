"""A clerk's same-day reversal (返销): opened at the desk, carried to the operator by the daemon."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import Connection, func, select

from aircharge.cli.show import desk_of, out, show_table
from aircharge.errors import Reason, Refusal
from aircharge.ledger.reading import orders_by_number, reversals_of_late
from aircharge.ledger.reversing import OpenReversal
from aircharge.ledger.tables import metadata
from aircharge.office import Office, OfficeError
from aircharge.outlets.consent import ConsentCode
from aircharge.outlets.rights import is_within
from aircharge.values import Channel, Key, Operation, Receipt, State, mask_msisdn, yuan_text

__all__ = ["reversal"]

_txn = metadata.tables["txn"]
_DAY_MS = 86_400_000


@click.group()
def reversal() -> None:
    """Same-day reversal of a settled recharge; the operator is asked first."""


@reversal.command("open")
@click.argument("number")
@click.option("--consent", default="", help="The code from the customer's SMS, where it is asked for.")
@click.option("--actor", required=True)
@click.pass_context
def reversal_open(context: click.Context, number: str, consent: str, actor: str) -> None:
    """Take the recharge NUMBER (id, reference, or last digits of the id) back.

    The daemon asks the operator; until he has said yes nothing is refunded. "aircharge reversal list" shows how it
    stands; while no daemon has taken it up, "aircharge order decline" gives it up.
    """
    with desk_of(context) as office:
        receipt = _open(office, number, consent, actor)
        if receipt.state is State.REFUSED:
            raise Refusal(receipt.reason, _WHY.get(receipt.reason, ""))
        out.print(f"reversal {receipt.order_id} is {receipt.state.name}: the daemon asks the operator")


_WHY = {
    Reason.NOT_REVERSIBLE: "only a settled recharge of the open day, once, within the outlet's count of the month",
    Reason.CONSENT: "the customer's code is missing or wrong",
    Reason.OUTLET: "the outlet is closed",
}


def _open(office: Office, number: str, consent: str, actor: str) -> Receipt:
    with office.store.engine.connect() as txn:
        found = [row["id"] for row in orders_by_number(txn, number) if row["kind"] == Operation.RECHARGE]
        if len(found) != 1:
            raise OfficeError(f"{len(found) or 'no'} recharges are called {number}: give the whole id")
        tries = txn.scalar(select(func.count()).where(_txn.c.orig_txn == found[0]))
    codes = ConsentCode(office.config.checkcode())
    command = OpenReversal(
        Channel.CLI,
        Key("desk:reversal", f"{found[0]}:{tries}"),
        None,
        found[0],
        office.clock.now_ms(),
        consent=consent,
        consent_ok=codes.is_given(consent, found[0]),
        actor=actor,
        at_desk=True,
    )
    [receipt] = office.run([command])
    if isinstance(receipt, str):
        raise OfficeError(receipt)
    assert isinstance(receipt, Receipt)
    return receipt


@reversal.command("list")
@click.option("--days", type=click.IntRange(1, 400), default=1, help="How far back.")
@click.pass_context
def reversal_list(context: click.Context, days: int) -> None:
    """Reversals of late, the newest first."""
    with desk_of(context) as office, office.store.engine.connect() as txn:
        since_ms = office.clock.now_ms() - days * _DAY_MS
        rows = reversals_of_late(txn, since_ms)
        show_table("reversals", [_line(row) for row in rows if _is_seen(office, txn, row)])


def _is_seen(office: Office, txn: Connection, row: dict[str, Any]) -> bool:
    """Whether whoever has logged in works for that outlet."""
    person = office.person
    return person is None or person.scope_id is None or is_within(txn, person.scope_id, row["outlet_id"])


def _line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "of": row["orig_txn"],
        "number": mask_msisdn(row["msisdn"]),
        "yuan": yuan_text(row["amount"]),
        "state": row["state"] if row["reason"] == "OK" else f"{row['state']} {row['reason']}",
        "operator": row["op_code"] or "-",
    }
