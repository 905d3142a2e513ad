"""What the operator line costs: codec beside pyasn1 and asn1tools, a run against the simulator.

``python -m benchmarks.operator_codec [requests [window]]``
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path
from typing import Any

import asn1tools
from pyasn1.codec.ber import decoder as ber_decoder
from pyasn1.codec.der import encoder as der_encoder
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults

import aircharge.wire.operator
from aircharge.ports import OperatorRequest
from aircharge.protocols.operator_link import OperatorLink, OperatorLinkSettings
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.codec import decode, encode
from tests.wire.operator import schema

reactor: Any = installed
SECRET = b"0123456789abcdef0123456789abcdef"
REF, T = "0000000100000000000000000042", 1_795_408_147_291


def _us(call, number):
    return min(timeit.repeat(call, number=number, repeat=5)) / number * 1e6


def codecs():
    """Microseconds of each codec for a recharge and its answer."""
    module = Path(aircharge.wire.operator.__file__).with_name("operator_link.asn1")
    tools = asn1tools.compile_files([str(module)], "der")
    pair = (
        m.Invoke(12345, m.RechargeArgument(REF, "A00123", "13800138000", 5000, 156, T)),
        m.ReturnResult(12345, m.RechargeResult(REF, "0000", "S000000000001", T, 5000)),
    )
    for apdu in pair:
        octets, plain, value = encode(apdu), schema.plain(apdu), schema.to_pyasn1(apdu)
        name = type(apdu).__name__
        print(f"{name:13} {len(octets):3} octets   encode   decode  [us]")
        rows = (
            ("ours", lambda a=apdu: encode(a), lambda o=octets: decode(o), 20_000),
            (
                "asn1tools",
                lambda p=plain: tools.encode("Apdu", p),
                lambda o=octets: tools.decode("Apdu", o),
                3000,
            ),
            (
                "pyasn1",
                lambda v=value: der_encoder.encode(v),
                lambda o=octets: ber_decoder.decode(o, asn1Spec=schema.APDU),
                300,
            ),
        )
        for label, write, read, number in rows:
            print(f"  {label:20} {_us(write, number):9.1f} {_us(read, number):8.1f}")


class _Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class _Chance:
    def token(self, length: int) -> bytes:
        return os.urandom(length)


async def line(folder: Path, requests: int, window: int) -> None:
    """Recharges over loopback against the simulator with its durable record."""
    (folder / "secret").write_bytes(SECRET)
    command = [sys.executable, "-m", "aircharge.simulators.operator", "--listen", "tcp:0:interface=127.0.0.1"]
    command += ["--db", str(folder / "record.db"), "--secret-file", str(folder / "secret")]
    platform = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert platform.stdout is not None
        port = json.loads(platform.stdout.readline())["listen"][0]
        settings = OperatorLinkSettings(connect=(f"tcp:127.0.0.1:{port}",), window_max=window)
        link = OperatorLink(settings, SECRET, reactor, _Clock(), _Chance())
        await link.start()
        while not link.ready():
            pause: Deferred[None] = Deferred()
            reactor.callLater(0.02, pause.callback, None)
            await pause
        numbers = iter(range(requests))
        waits: list[float] = []

        async def asker() -> None:
            for number in numbers:
                begun = time.perf_counter()
                answer = await link.recharge(OperatorRequest(f"{number:028}", "13800138000", 1000, T))
                waits.append(time.perf_counter() - begun)
                assert answer.code == "0000"

        cpu, before = _cpu_s(platform.pid), time.process_time()
        begun = time.perf_counter()
        await gatherResults([Deferred.fromCoroutine(asker()) for _ in range(window)])
        took, own = time.perf_counter() - begun, time.process_time() - before
        waits.sort()
        p50, p99 = (waits[len(waits) * part // 100] * 1e3 for part in (50, 99))
        theirs = (_cpu_s(platform.pid) - cpu) / requests * 1e6
        print(f"line, window {window}: {requests / took:.0f} recharges/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        print(
            f"CPU per recharge: our side {own / requests * 1e6:.0f} us, simulator, fsynced, {theirs:.0f} us"
        )
        await link.stop()
    finally:
        platform.terminate()
        platform.wait(10)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    codecs()
    requests, window = (*map(int, sys.argv[1:]), *(10_000, 100)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as folder:
        reactor.callWhenRunning(
            lambda: (
                Deferred.fromCoroutine(line(Path(folder), requests, window))
                .addErrback(lambda failure: failure.printTraceback())
                .addBoth(lambda _: reactor.stop())
            )
        )
        reactor.run()


if __name__ == "__main__":
    main()
