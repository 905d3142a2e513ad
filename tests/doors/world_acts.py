"""What operators, machines and strangers do: answers of every kind, kills, and people who try the doors."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct

from tests.doors.street import Street, act

FATES = (
    "lose",
    "swallow",
    "late",
    "duplicate",
    "busy",
    "refuse",
    "strange",
    "disconnect",
    "cut",
    "other_ref",
    "reject",
    "garbage",
    "contradict",
)
STRANGER = "127.0.0.66"


# -- the operator ---------------------------------------------------------------------------------------------


@act(10)
def operator_answers_otherwise(street: Street, rng: random.Random) -> None:
    """Its next answers: lost, late, twice, garbled, contradicting themselves, a no, an unknown code."""
    fate = rng.choice(FATES)
    street.counts[f"operator {fate}"] += 1
    street.house.instance.operator("next", fault=fate, count=rng.choice((1, 1, 2, 4)))


@act(2)
def operator_has_a_bad_day(street: Street, rng: random.Random) -> None:
    chances = {fate: rng.choice((0.0, 0.03, 0.08)) for fate in FATES[:-1]}
    street.house.instance.operator(
        "faults", **chances, late_s=1.6, finality_s=2.0, latency_ms=4, jitter_ms=rng.choice((5, 300))
    )


@act(2)
def operator_hangs_up(street: Street, rng: random.Random) -> None:
    street.house.instance.operator(rng.choice(("drop_link", "freeze", "unbind")))


@act(1)
def operator_dies(street: Street, rng: random.Random) -> None:
    street.house.instance.stop_one("operator", signal.SIGKILL)
    street.house.turn_for(rng.uniform(0.1, 1.5))
    street.house.start_operator()
    street.counts["kill -9 of the operator"] += 1


# -- the daemon -----------------------------------------------------------------------------------------------


@act(3)
def daemon_is_killed(street: Street, rng: random.Random) -> None:
    _again(street, rng, signal.SIGKILL)


@act(1)
def daemon_is_stopped(street: Street, rng: random.Random) -> None:
    _again(street, rng, signal.SIGTERM)


def _again(street: Street, rng: random.Random, how: int) -> None:
    house = street.house
    house.turn_for(rng.uniform(0.0, 0.5))
    house.end(how)
    house.turn_for(rng.uniform(0.0, 1.0))
    street.lives += 1
    house.start()


@act(1)
def daemon_sleeps(street: Street, rng: random.Random) -> None:
    """For less than its lease, or for more."""
    pid = street.house.instance.pid("daemon")
    os.kill(pid, signal.SIGSTOP)
    try:
        street.house.turn_for(rng.choice((0.5, 1.5, 3.5)))
    finally:
        os.kill(pid, signal.SIGCONT)
    street.house.counts["SIGSTOP"] += 1


# -- the SMS centre -------------------------------------------------------------------------------------------


@act(3)
def centre_hangs_up(street: Street, rng: random.Random) -> None:
    street.house.centre.lost()


@act(3)
def centre_loses_answers(street: Street, rng: random.Random) -> None:
    street.house.centre.drops_response = rng.choice((0.0, 0.1, 0.4))


# -- strangers ------------------------------------------------------------------------------------------------


def _pdu(command: int, body: bytes, sequence: int = 1, length: int | None = None) -> bytes:
    size = 16 + len(body) if length is None else length
    return struct.pack(">4I", size, command, 0, sequence) + body


def _smpp(street: Street, rng: random.Random) -> bytes:
    """What a stranger says to the SMS centres' door."""
    target = street.forbidden_target()
    order = b"\0\1\1" + b"13900000001\0\0\1" + b"0353911\0" + bytes(9)
    text = f"{target} 50".encode()
    deliver = _pdu(5, order + bytes((0, len(text))) + text)
    bind = b"smsc\0" + rng.choice((b"wrong\0", b"\0", b"x" * 8 + b"\0")) + b"\0\x34\0\0\0"
    return rng.choice(
        (
            _pdu(9, bind),
            _pdu(rng.choice((1, 2, 9)), b"nobody\0pass\0\0\x34\0\0\0") + deliver,
            deliver,
            _pdu(4, deliver[16:]),
            _pdu(0x15, b"") * 20,
            _pdu(9, b"", length=rng.choice((0, 3, 15, 0x7FFFFFFF))),
            _pdu(9, b"smsc\0")[: rng.randrange(1, 20)],
            bytes(rng.randrange(256) for _ in range(rng.randrange(300))),
            b"GET / HTTP/1.0\r\n\r\n",
        )
    )


@act(6)
def stranger_at_a_door(street: Street, rng: random.Random) -> None:
    """Wrong binds, orders before a bind, half PDUs, random octets, a line that is never read."""
    house = street.house
    port = rng.choice((house.instance.ports.smpp, house.pos_port, house.instance.ports.metrics))
    at_smpp = port == house.instance.ports.smpp
    said = _smpp(street, rng) if at_smpp else bytes(rng.randrange(256) for _ in range(rng.randrange(400)))
    try:
        line: socket.socket = house.dial(port, STRANGER)
        line.sendall(said)
    except OSError:
        street.counts["a stranger was not let in"] += 1
        return
    if rng.random() < 0.5:
        house.turn_for(0.2)
    if rng.random() < 0.2:
        STAYING.append(line)  # and never reads
        while len(STAYING) > 20:
            STAYING.pop(0).close()
    else:
        line.close()


STAYING: list[socket.socket] = []
