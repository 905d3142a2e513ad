"""``aircharge``: the command line of clerks and engineers. Thin over ``aircharge.office``."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import click

from aircharge import __version__
from aircharge.cli.alarms import alarms
from aircharge.cli.show import desk_of, out, plain_errors, show_sheet, show_table
from aircharge.config import load
from aircharge.demo import DEMO_FOLDER, at_the_terminal, run_demo, simulate
from aircharge.ledger.clocks import check_clock
from aircharge.ledger.parking import Decline
from aircharge.ledger.ruling import RELEASE, RULING
from aircharge.ledger.standing import check_standing
from aircharge.office import OfficeError, fen_from_yuan
from aircharge.staffroom import Staffroom
from aircharge.values import mask_msisdn, yuan_text

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="aircharge")
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default="/etc/aircharge/aircharge.toml",
    envvar="AIRCHARGE_CONFIG",
    help="The configuration file.",
)
@click.pass_context
def main(context: click.Context, config_file: Path) -> None:
    """AirCharge: airtime recharge (空中充值), never twice, no money lost."""
    context.obj = config_file
    before = os.umask(0o077)  # whatever a command makes is for its user alone
    context.call_on_close(lambda: os.umask(before))


main.add_command(alarms)


@main.command("check-config")
@click.pass_context
def check_config(context: click.Context) -> None:
    """Read the whole configuration, its secrets and the ledger's schema; say what is wrong."""
    with plain_errors():
        config = load(context.obj)
        config.check_secrets()
        config.check_ledger_file()
        with desk_of(context) as office:
            office.check_schema()
            check_standing(office.store.engine, config.key_checks())
            check_clock(office.store.engine, office.clock, config.ledger.leap_ms)
        out.print(
            f"{config.path}: in order; {len(config.smpp.peer)} SMPP peers, {len(config.operator)} operators"
        )


@main.group("db")
def database() -> None:
    """The ledger's schema."""


@database.command("upgrade")
@click.pass_context
def db_upgrade(context: click.Context) -> None:
    """Bring the schema to the newest revision."""
    with desk_of(context) as office:
        office.upgrade()
        out.print("the schema is up to date")


@database.command("grant")
@click.argument("role")
@click.pass_context
def db_grant(context: click.Context, role: str) -> None:
    """PostgreSQL: give ROLE what the daemon needs and no more. Run as the tables' owner, after each upgrade."""
    with desk_of(context) as office:
        office.grant(role)
        out.print(f"{role} may run the daemon; it cannot change the journal")


@main.command("language")
@click.argument("number")
@click.argument("language", type=click.Choice(["zh", "en"]))
@click.option("--actor", required=True)
@click.pass_context
def number_language(context: click.Context, number: str, language: str, actor: str) -> None:
    """The language a customer's number is written to in."""
    with desk_of(context) as office:
        office.set_language(number, language, actor=actor)
        out.print(f"{mask_msisdn(number)} is written to in {language}")


@main.command("personalise")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--actor", default="", help="Your name, for the audit.")
@click.pass_context
def personalise(context: click.Context, file: Path, actor: str) -> None:
    """Ask for all cards with their keys, for the card maker (or the simulator): a secret file, mode 600."""
    with desk_of(context) as office:
        if not file.resolve().parent.is_dir():
            raise OfficeError(f"{file.parent} is no folder")
        if file.exists() or file.is_symlink():
            raise OfficeError(f"{file} exists already: keys take no file's place")
        payload = {"file": str(file.resolve())}
        out.print(Staffroom(office).change("keys.export", payload, actor=actor or "nobody"))


@main.group()
def fund() -> None:
    """Bank money becomes float: one person asks, another confirms."""


@fund.command("ask")
@click.argument("code")
@click.argument("amount")
@click.option("--slip", required=True, help="The bank's own number of the payment; it counts once.")
@click.option("--maker", required=True)
@click.pass_context
def fund_ask(context: click.Context, code: str, amount: str, slip: str, maker: str) -> None:
    """Ask for AMOUNT yuan of float for an outlet."""
    with desk_of(context) as office:
        request = office.propose_funding(code, fen_from_yuan(amount), slip, maker=maker)
        out.print(
            f"request {request}: {amount} yuan for {code} waits for another person: "
            f"aircharge fund confirm {request} --checker NAME"
        )


@fund.command("file")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--maker", required=True)
@click.pass_context
def fund_file(context: click.Context, file: Path, maker: str) -> None:
    """Ask for all rows of a CSV file (outlet,amount,slip), all or nothing."""
    with desk_of(context) as office, open(file, encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle, strict=True))
        if not rows:
            raise OfficeError(f"{file.name}: a header outlet,amount,slip and at least one line are wanted")
        for line, row in enumerate(rows, 2):
            if None in row or None in row.values():
                raise OfficeError(f"{file.name}: line {line} has not as many cells as the header")
        requests = office.propose_funding_rows(rows, maker=maker)
        out.print(f"{len(requests)} requests: {', '.join(str(request) for request in requests)}")


@fund.command("list")
@click.pass_context
def fund_list(context: click.Context) -> None:
    """Requests that wait for a second person."""
    with desk_of(context) as office:
        show_table("waiting", office.waiting_requests())


@fund.command("confirm")
@click.argument("requests", type=int, nargs=-1, required=True)
@click.option("--checker", required=True)
@click.pass_context
def fund_confirm(context: click.Context, requests: tuple[int, ...], checker: str) -> None:
    """Confirm requests; the checker is not the maker."""
    with desk_of(context) as office:
        for request in requests:
            code, amount_fen = office.approve_funding(request, checker=checker)
            out.print(f"request {request}: {yuan_text(amount_fen)} yuan on the float of {code}")


@main.group()
def order() -> None:
    """Orders."""


@order.command("show")
@click.argument("number")
@click.pass_context
def order_show(context: click.Context, number: str) -> None:
    """One order by its whole id, our reference, or its last 8 digits (流水)."""
    with desk_of(context) as office:
        for shown in office.orders(number):
            lists = [(key, shown.pop(key)) for key in ("journal", "notices")]
            show_sheet("order", shown)
            for title, rows in lists:
                show_table(title, rows)


@order.command("resolve")
@click.argument("number", type=int)
@click.argument("ruling", type=click.Choice(["executed", "not-executed"]))
@click.option("--evidence", required=True, help="Where it is written (operator's file, letter …).")
@click.option("--maker", required=True)
@click.option("--checker", help="In a house without staff: the second person, at once.")
@click.pass_context
def order_resolve(
    context: click.Context, number: int, ruling: str, evidence: str, maker: str, checker: str | None
) -> None:
    """Two people decide a doubt by evidence: one asks, another confirms (request approve)."""
    executed = ruling == "executed"
    with desk_of(context) as office:
        if checker is not None:
            said = office.resolve(number, executed=executed, evidence=evidence, maker=maker, checker=checker)
        else:
            payload = {"order": number, "executed": executed, "evidence": evidence}
            said = Staffroom(office).change(RULING, payload, actor=maker)
        out.print(said)


@order.command("release")
@click.argument("number", type=int)
@click.option("--maker", required=True)
@click.pass_context
def order_release(context: click.Context, number: int, maker: str) -> None:
    """Ask that an order a rule has parked goes on to the operator; another person confirms."""
    with desk_of(context) as office:
        out.print(Staffroom(office).change(RELEASE, {"order": number}, actor=maker))


@order.command("decline")
@click.argument("number", type=int)
@click.option("--actor", required=True)
@click.pass_context
def order_decline(context: click.Context, number: int, actor: str) -> None:
    """Say no to an order a rule has parked: its hold ends, nothing is sent."""
    with desk_of(context) as office:
        [receipt] = office.run([Decline(number, actor)])
        if isinstance(receipt, str):
            raise OfficeError(receipt)
        out.print(f"order {number} is {receipt.state.name}")


@main.command("verify")
@click.pass_context
def verify_books(context: click.Context) -> None:
    """Recompute every balance from row 0; exit code 1 and the first bad row when something is wrong."""
    with desk_of(context) as office:
        lines, sound = office.verify()
        out.print("\n".join(lines))
        if not sound:
            sys.exit(1)


@main.command("demo")
@click.option("--keep", is_flag=True, help="Stay up after the first recharges.")
@click.option("--folder", type=click.Path(path_type=Path), default=DEMO_FOLDER)
def demo(keep: bool, folder: Path) -> None:
    """A throw-away instance with both simulators: recharges a phone and shows what each party saw."""
    with plain_errors():
        sys.exit(run_demo(folder, keep=keep))


@main.command("simulate", context_settings={"ignore_unknown_options": True})
@click.argument(
    "what",
    type=click.Choice(
        [
            "sms",
            "stk",
            "pos",
            "replay",
            "redeliver",
            "reconfirm",
            "balance",
            "last",
            "operator-timeout",
            "operator-record",
        ]
    ),
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=DEMO_FOLDER, help="The running demo's folder."
)
def simulate_command(what: str, words: tuple[str, ...], folder: Path) -> None:
    """Let the running demo's handsets and operator do something.

    \b
    sms "13812345678 50"     plain SMS to 0353911 (00 and 11 go to 0353910)
    stk 13812345678 50       the SIM card's menu: an encrypted packet
    pos sale 13812345679 20  the payment terminal at the counter; also its options (--json …)
    replay                   the last packet again, byte for byte
    redeliver                the SMS centre delivers the last message again
    reconfirm                重复充值: what became of the last STK recharge?
    operator-timeout         the next recharge gets no answer
    """
    with plain_errors():
        is_pos = what == "pos"
        code, lines = at_the_terminal(folder, words) if is_pos else (0, simulate(folder, what, list(words)))
        for line in lines:
            out.print(line, markup=False)
    sys.exit(code)
