"""``aircharge demo`` and ``aircharge simulate``: a whole world on one machine that one can watch and disturb."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from aircharge.config import load
from aircharge.instance import DEMO_PIN, BusyPort, Instance, Ports, Shop
from aircharge.office import Office, fen_from_yuan
from aircharge.values import mask_msisdn, yuan_text

__all__ = ["DEMO_FOLDER", "at_the_terminal", "run_demo", "simulate"]

DEMO_FOLDER: Final = Path("var/demo")
OUTLETS: Final = (
    Shop("A1023", "13900001023", "89860000000000001023"),
    Shop("A1024", "13900001024", "89860000000000001024", language="en"),
)
CUSTOMER, SECOND_CUSTOMER = "13812345678", "13587654321"

POS_PORT: Final = 8583
TERMINAL, MERCHANT = "10001023", "898110200001023"
POS: Final = f"""
[[pos.place]]
name = "ip"
endpoint = "tcp:{POS_PORT}:interface=127.0.0.1"
"""
AT_THE_TERMINAL: Final = "13712345678"

out = Console(highlight=False, soft_wrap=True)


def run_demo(folder: Path, *, keep: bool) -> int:
    """Make the instance, recharge twice, show what each party saw; exit code 0 only when all agree."""
    folder = folder.resolve()
    running = Instance(folder, Ports(), extra=POS)
    try:
        running.check_ports(POS_PORT)  # before the folder: it may be a running instance's
        if (folder / "aircharge.toml").exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with running:
            out.print(f"making a throw-away instance in {folder} …")
            running.create(OUTLETS)
            key = running.place_terminal(OUTLETS[0].code, TERMINAL, MERCHANT)
            running.start()
            out.print("operator platform, daemon (twistd) and SMS centre are up\n")
            sound = _first_recharges(running) and _sold_at_the_terminal(running, key)
            if keep and sound:
                _stay(running)
            return 0 if sound else 1
    except BusyPort as busy:
        out.print(f"cannot start: {busy}")
        return 2


def _first_recharges(running: Instance) -> bool:
    """One by STK, one by plain SMS. True when outlet, customer, operator and ledger saw the same."""
    stk = {
        "from": OUTLETS[0].phone,
        "operation": "recharge",
        "target": CUSTOMER,
        "amount_fen": 5000,
        "pin": DEMO_PIN,
    }
    plain = {"from": OUTLETS[1].phone, "to": "0353911", "text": f"{SECOND_CUSTOMER} 30"}
    sound = True
    for verb, arguments, shop, customer, amount_fen in (
        ("stk", stk, OUTLETS[0], CUSTOMER, 5000),
        ("sms", plain, OUTLETS[1], SECOND_CUSTOMER, 3000),
    ):
        what = "STK (encrypted)" if verb == "stk" else f"plain SMS “{arguments['text']}”"
        out.print(f"[bold]outlet {shop.code} sends a recharge by {what}")
        running.centre(verb, **arguments)
        sound &= _shown(running, shop, customer, amount_fen)
    return sound


def _sold_at_the_terminal(running: Instance, key: Path) -> bool:
    """One by a payment terminal: it signs in and sells. True when its slip and the operator agree."""
    out.print(f"[bold]outlet {OUTLETS[0].code} sells at its terminal {TERMINAL} (ISO 8583 over IP)")
    code, lines = _terminal(running, key, ["sign-in,", "sale", AT_THE_TERMINAL, "20"])
    rows = running.operator("record", msisdn=AT_THE_TERMINAL)["rows"]
    for line in lines:
        out.print(f"  terminal        {line}")
    out.print(f"  operator        {json.dumps(rows[-1:], ensure_ascii=False)}")
    agree = code == 0 and len(rows) == 1
    out.print("  [green]terminal and operator agree\n" if agree else "  [red]THEY DO NOT AGREE\n")
    return agree


def _terminal(running: Instance, key: Path, words: Sequence[str]) -> tuple[int, list[str]]:
    """What the simulated terminal was answered: exit code and lines."""
    command = [
        running.python,
        "-m",
        "aircharge.simulators.pos",
        "--terminal",
        TERMINAL,
        "--merchant",
        MERCHANT,
    ]
    command += ["--connect", f"tcp:127.0.0.1:{POS_PORT}", "--master-key-file", str(key)]
    command += ["--state", str(key.with_suffix(".json")), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # words are one argument each
    return done.returncode, (done.stdout + done.stderr).splitlines()


def _shown(running: Instance, shop: Shop, customer: str, amount_fen: int) -> bool:
    to_outlet = _inbox(running, shop.phone)
    to_customer = _inbox(running, customer)
    record = [
        row for row in running.operator("record", msisdn=customer)["rows"] if row["amount_fen"] == amount_fen
    ]
    office = Office(load(running.config_file))
    orders = office.orders_of(shop.code)
    sound, lines = office.verify()[1], office.journal_of(orders[0]["id"]) if orders else []
    office.close()
    out.print(f"  outlet's SMS    {to_outlet}")
    out.print(f"  customer's SMS  {to_customer}")
    out.print(f"  operator        {json.dumps(record[-1:], ensure_ascii=False)}")
    for line in lines:
        out.print(f"  ledger          {line}")
    agree = bool(
        to_outlet
        and to_customer
        and len(record) == 1
        and orders
        and orders[0]["state"] == "SETTLED"
        and orders[0]["op_ref"] == record[0]["op_ref"]
        and sound
    )
    verdict = "[green]outlet, customer, operator and ledger agree" if agree else "[red]THEY DO NOT AGREE"
    out.print(f"  {verdict}\n")
    return agree


def _inbox(running: Instance, number: str) -> str:
    messages = running.centre("inbox", number=number, wait_s=15)["messages"]
    return str(messages[-1]["text"]) if messages else ""


def _stay(running: Instance) -> None:
    """Until Ctrl-C or SIGTERM: what to try in another terminal."""
    command = f"{Path('.venv/bin/aircharge')} simulate"
    out.print(
        f"""The world stays up. In another terminal, for example:
  {command} sms "13812345678 50"        plain SMS (add *2 to mean it twice)
  {command} sms 00                      balance; 11 = last transaction
  {command} stk 13812345678 100         the SIM card's menu, encrypted
  {command} pos sale 13812345679 20     the terminal at the counter (or: balance, last, settle …)
  {command} replay                      an attacker repeats the last packet
  {command} redeliver                   the SMS centre delivers it again
  {command} operator-timeout            the next recharge gets no answer
  {command} operator-record             what the operator has executed
  .venv/bin/aircharge -c {running.config_file} outlet show {OUTLETS[0].code}
  .venv/bin/aircharge -c {running.config_file} verify
metrics: http://127.0.0.1:{running.ports.metrics}/metrics   logs: {running.daemon_log}
Ctrl-C stops everything."""
    )
    signal.signal(signal.SIGTERM, lambda number, frame: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        while running.is_running("daemon"):
            time.sleep(0.5)
        out.print("the daemon has ended; see its log")
    except KeyboardInterrupt:
        out.print("\nstopping: throttle, unbind, wait for open recharges …")


def at_the_terminal(folder: Path, words: Sequence[str]) -> tuple[int, list[str]]:
    """What the running demo's terminal is answered: the simulator's exit code, and the lines to show."""
    running = Instance(folder.resolve(), Ports())
    key = running.folder / f"{TERMINAL}.key"
    if not key.exists():
        raise RuntimeError(f"no demo is running in {folder}: make run")
    return _terminal(running, key, words or ["balance"])


def simulate(folder: Path, what: str, words: list[str]) -> list[str]:
    """One thing to happen in a running demo; the lines to show. Raises OSError when none is running."""
    running = Instance(folder.resolve(), Ports())
    shop = OUTLETS[0]
    if what == "operator-timeout":
        running.operator("next", fault="swallow", count=1)
        return ["the operator will execute the next recharge and lose the answer; now send one"]
    if what == "operator-record":
        rows = running.operator("record", limit=10)["rows"]
        return [
            f"{row['op_ref']} {mask_msisdn(row['msisdn'])} {yuan_text(row['amount_fen'])} {row['code']}"
            for row in rows
        ]
    before = len(running.centre("inbox", number=shop.phone)["messages"])
    verb, arguments = _handset(what, words, shop)
    running.centre(verb, **arguments)
    messages = running.centre("inbox", number=shop.phone, wait_s=8, count=before + 1)["messages"]
    return [f"{shop.code} ← {message['text']}" for message in messages[before:]] or ["(no SMS within 8 s)"]


_QUESTIONS: Final = ("00", "10", "11", "12", "13")  # what is sent to the query number (docs/channels/sms.md)


def _handset(what: str, words: list[str], shop: Shop) -> tuple[str, dict[str, Any]]:
    if what == "sms":
        text = " ".join(words)
        return "sms", {
            "from": shop.phone,
            "to": "0353910" if text.split()[:1] and text.split()[0] in _QUESTIONS else "0353911",
            "text": text,
        }
    if what == "replay":
        return "replay", {"from": shop.phone}
    if what == "redeliver":
        return "resend", {"from": shop.phone}
    stk: dict[str, Any] = {"from": shop.phone, "pin": DEMO_PIN}
    if what == "stk":
        if len(words) < 2:
            raise RuntimeError("stk NUMBER AMOUNT [PIN]")
        pin = words[2] if len(words) > 2 else DEMO_PIN
        return "stk", stk | {
            "operation": "recharge",
            "target": words[0],
            "amount_fen": fen_from_yuan(words[1]),
            "pin": pin,
        }
    operation = {"reconfirm": "reconfirm", "balance": "balance", "last": "last"}[what]
    return "stk", stk | {"operation": operation}
