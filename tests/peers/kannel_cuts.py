"""Kannel before the daemon on a line that is cut: each message is executed once, each shopkeeper is told the truth.

``python -m tests.peers.kannel_cuts FOLDER --messages 500 --cut-s 1800`` (``make kannel-cuts``). Kannel tells no time
and delivers again by itself whatever was not answered. Every tenth shopkeeper sends the same words again, every
twentieth insists with ``*2``.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aircharge.instance import Instance, Shop, free_port, free_ports
from tests.peers.cut_line import CutLine
from tests.peers.smpp_process import running, until_listening
from tests.peers.test_kannel_bind import CONFIGURATION, Web, drain, send_over_kannel, web
from tests.system.audit import audit

__all__ = ["Cuts", "Outcome", "prove"]

PHONES = [f"1390000000{number}" for number in range(1, 6)]
GATEWAY = """
[[smpp.place]]
endpoint = "tcp:{port}:interface=127.0.0.1"
peers = ["gateway"]

[[smpp.peer]]
password_file = "keys/gateway-password"
[smpp.peer.profile]
name = "gateway"
system_id = "kannel"
mt_pdu = "deliver_sm"
"""


@dataclass(frozen=True, slots=True)
class Cuts:
    """So many short cuts (deaf a while, then gone a while), and one long one at the end."""

    short: int
    deaf_s: float
    gone_s: float
    long_s: float


@dataclass(slots=True)
class Outcome:
    messages: int = 0
    redelivered: int = 0  # notices that say "done before": of deliveries again and of honest repeats
    repeats: int = 0
    problems: list[str] = field(default_factory=list)


class RawWeb(Web):
    """Kannel hands UCS-2 on as it came (%b), with its coding (%c: 2 = UCS-2)."""

    def read(self, query: str) -> dict[str, str]:
        one = {key: values[0] for key, values in urllib.parse.parse_qs(query, encoding="latin-1").items()}
        raw = one["text"].encode("latin-1")
        one["text"] = raw.decode("utf-16-be" if one["coding"] == "2" else "latin-1")
        return one


@contextmanager
def _world(folder: Path) -> Iterator[tuple[Instance, CutLine, int, list[dict[str, str]]]]:
    with ExitStack() as stack:
        port = free_port()
        instance = stack.enter_context(
            Instance(folder / "world", free_ports(), extra=GATEWAY.format(port=port))
        )
        password = folder / "world" / "keys" / "gateway-password"
        password.parent.mkdir(parents=True, exist_ok=True)
        password.touch(0o600)
        password.write_text("secret\n")
        instance.create(
            [Shop(f"A{n}", phone, f"8986000000000000000{n}") for n, phone in enumerate(PHONES, 1)]
        )
        instance.start_operator()
        instance.start_daemon()
        line = CutLine(port)
        stack.callback(line.close)
        web_port, seen = stack.enter_context(web(RawWeb))
        ports = {"admin": free_port(), "box": free_port(), "send": free_port()}
        text = CONFIGURATION.format(smpp=line.port, web=web_port, **ports)
        text = text.replace("text=%a", "text=%b&coding=%c")
        text = text.replace("group = core\n", "group = core\nsms-resend-freq = 5\nsms-resend-retry = -1\n")
        text = text.replace("reconnect-delay = 2", "reconnect-delay = 2\nwait-ack = 10\nwait-ack-expire = 0")
        conf = folder / "kannel.conf"
        conf.write_text(text)
        drain(stack.enter_context(running("bearerbox", "-v", "2", str(conf))))
        until_listening(ports["box"])
        drain(stack.enter_context(running("smsbox", "-v", "2", str(conf))))
        yield instance, line, ports["send"], seen


def prove(folder: Path, messages: int, cuts: Cuts, seed: int = 1) -> Outcome:
    """Send them while the line is cut; wait until all is answered; hold the operator's record against what was told."""
    chance, outcome = random.Random(seed), Outcome(messages)
    with _world(folder) as (instance, line, send_port, seen):
        wanted: Counter[str] = Counter()
        spoken: dict[str, str] = {}
        for first, state, lasts_s in _schedule(messages, cuts):
            line.state = state
            ends = time.monotonic() + lasts_s
            for number in first:
                target, phone = f"138{number:08d}", chance.choice(PHONES)
                wanted[target], spoken[target] = 1, phone
                send_over_kannel(send_port, f"{target} 10", "0353911", source=phone)
            time.sleep(max(0.0, ends - time.monotonic()))
        line.state = "open"
        _until(lambda: all(_told(seen, spoken[target], target) for target in wanted), 180)
        for number, target in enumerate(sorted(wanted)):
            if number % 10 == 0:
                outcome.repeats += 1
                send_over_kannel(send_port, f"{target} 10", "0353911", source=spoken[target])
            if number % 20 == 0:
                wanted[target] = 2
                send_over_kannel(send_port, f"{target} 10*2", "0353911", source=spoken[target])
        _until(lambda: _executed(instance) == wanted, 120)
        _until(lambda: _again(seen) >= outcome.repeats, 60)
        executed = _executed(instance)
        outcome.problems += [
            f"{target}: wanted {wanted[target]}, executed {executed[target]}"
            for target in wanted.keys() | executed.keys()
            if wanted[target] != executed[target]
        ]
        outcome.problems += _untruths(seen, spoken)
        outcome.redelivered = _again(seen)
        instance.stop()
        outcome.problems += audit(instance.ledger_file, instance.operator_file).problems
    return outcome


def _schedule(messages: int, cuts: Cuts) -> Iterator[tuple[range, str, float]]:
    """Which messages are sent in which state of the line, and how long it lasts."""
    stretches = 3 * (cuts.short + 1)
    each, at = max(1, messages // stretches), 0
    for number in range(cuts.short + 1):
        is_long = number == cuts.short
        gone_s = cuts.long_s if is_long else cuts.gone_s
        for state, lasts_s in (("open", cuts.deaf_s), ("deaf", cuts.deaf_s), ("cut", gone_s)):
            last = messages if is_long and state == "cut" else at + each
            yield range(at, last), state, lasts_s
            at = last


def _executed(instance: Instance) -> Counter[str]:
    """How often the operator has credited each number, by its own record."""
    with closing(sqlite3.connect(f"file:{instance.operator_file}?mode=ro", uri=True)) as db:
        return Counter(dict(db.execute("SELECT msisdn, count(*) FROM credit GROUP BY msisdn").fetchall()))


def _told(seen: list[dict[str, str]], phone: str, target: str) -> bool:
    return any(one["to"].endswith(phone) and target in one["text"] for one in list(seen))


def _again(seen: list[dict[str, str]]) -> int:
    return sum("(26)" in one["text"] for one in list(seen))


def _untruths(seen: list[dict[str, str]], spoken: dict[str, str]) -> Iterator[str]:
    """Whoever was served knows it; a 成功 of each order is one order's; nobody is told that a done thing was not."""
    for target, phone in spoken.items():
        texts = [one["text"] for one in seen if one["to"].endswith(phone) and target in one["text"]]
        if not any(text.startswith("成功") or "已充" in text for text in texts):
            yield f"{target}: its shopkeeper was not told that it was done: {texts}"
        if any("未办成" in text for text in texts):
            yield f"{target}: told that it was not done: {texts}"


def _until(is_so: Any, timeout_s: float) -> bool:
    ends = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < ends:
        time.sleep(0.5)
    return bool(is_so())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--short", type=int, default=4)
    parser.add_argument("--cut-s", type=float, default=1800.0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found = prove(options.folder, options.messages, Cuts(options.short, 15.0, 20.0, options.cut_s))
    print(
        f"{found.messages} messages, {found.repeats} honest repeats, {found.redelivered} times told 26",
        end=", ",
    )
    print(f"{time.monotonic() - began:.0f} s, {len(found.problems)} problems", *found.problems[:20], sep="\n")
    raise SystemExit(bool(found.problems))


if __name__ == "__main__":
    main()
