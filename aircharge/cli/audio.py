"""``aircharge audio``: recordings of fixed-line terminals' calls, read and answered. Needs numpy (extra ``audio``)."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from aircharge.cli.show import out, plain_errors, show_table
from aircharge.errors import WireError
from aircharge.machine import SystemClock
from aircharge.wire.fsk import CONTENT_MAX, FskType
from aircharge.wire.fsk_message import GatewayHeader
from aircharge.wire.lri import Caller
from aircharge.wire.pos_link import CallerBlock, Ended, Envelope, Message, Received, Tpdu
from aircharge.wire.tpdu import TpduLink, TpduSettings

if TYPE_CHECKING:
    from aircharge.wire.modem.g711 import Encoding
    from aircharge.wire.modem.recording import Heard, Hearing

__all__ = ["Asking", "answered", "audio"]

_RATE: Final = 8000
_FILE_MAX: Final = 64 << 20
"""Octets; an hour of linear sound is 58 MB."""
_NII: Final = b"\x00\x03"
_CHUNK: Final = 4096
_NOW: Final = SystemClock().monotonic_s
_ENDPOINT: Final = re.compile(r"tcp:([^:]+):(\d{1,5})")

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_tones = click.option("--tones", type=click.Choice(["bell202", "v23"]), default="bell202", show_default=True)


class Asking:
    """Asks a place of terminals, one content at a time, on one connection that blocks (``sendall``, ``recv``)."""

    def __init__(
        self,
        connection: Any,
        framing: str = "fsk-gateway",
        caller: Caller | None = None,
        *,
        wait_s: float = 30.0,
        now: Callable[[], float] = _NOW,
    ) -> None:
        self.why = ""
        """Why nothing was answered, the last time."""
        self._connection, self._caller, self._wait_s, self._now = connection, caller, wait_s, now
        self._is_gateway = framing == "fsk-gateway"
        self._link = TpduLink(TpduSettings(Envelope(True, CallerBlock.NEVER)), 0)
        self._index = 0

    def __call__(self, content: bytes) -> bytes | None:
        """The answer; None when none came in time or the connection ended. It may have been done all the same."""
        self._index = self._index % 0xFFFF + 1
        octets = GatewayHeader(0, self._index).encode(content) if self._is_gateway else content
        address = Tpdu(_NII, self._index.to_bytes(2, "big"))
        until = self._now() + self._wait_s
        try:
            if not self._link.has_ended:
                self._connection.sendall(self._link.send(Message(octets, address, self._caller), 0))
            return self._answer(until, address)
        except TimeoutError:
            self.why = "no answer in time"
        except OSError as error:
            self.why = str(error)
        return None

    def _answer(self, until: float, address: Tpdu) -> bytes | None:
        """Raises OSError (also TimeoutError)."""
        while not self._link.has_ended:
            left = until - self._now()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            data = self._connection.recv(_CHUNK)
            events = self._link.receive(data, 0) if data else self._link.connection_lost()
            for event in events:
                if isinstance(event, Ended):
                    self.why = event.why
                elif isinstance(event, Received) and event.message.tpdu == address.swapped():
                    return self._content(event.message.content)
        return None

    def _content(self, octets: bytes) -> bytes | None:
        if self._is_gateway:
            try:
                octets = GatewayHeader.decode(octets)[1]
            except WireError as error:
                self.why = str(error)
                return None
        if len(octets) > CONTENT_MAX:
            self.why = f"an answer of {len(octets)} octets: no frame can hold it"
            return None
        return octets


@click.group()
def audio() -> None:
    """Recordings (WAV, 8 kHz) of fixed-line terminals' calls."""


@audio.command("decode")
@_file
@_tones
@click.option(
    "--contents", is_flag=True, help="Contents too: they can bear PIN blocks and customers' numbers."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def decode(file: Path, tones: str, *, contents: bool, as_json: bool) -> None:
    """Every frame of the recording FILE; asks nobody."""
    with plain_errors():
        hearing, _ = _heard(file, tones)
    rows = [_row(heard, contents) for heard in hearing.frames]
    if as_json:
        whole = {"seconds": round(hearing.seconds, 3), "broken": hearing.broken, "frames": rows}
        click.echo(json.dumps(whole))
        return
    show_table("frames", rows)
    out.print(f"{len(rows)} frames, {hearing.broken} broken, in {hearing.seconds:.1f} s")


def _row(heard: Heard, contents: bool) -> dict[str, Any]:
    frame = heard.frame
    row = {
        "begins_s": round(heard.begins_s, 3),
        "ends_s": round(heard.ends_s, 3),
        "type": f"{frame.kind:02X}",
        "name": frame.kind.name,
        "random": frame.random.hex(),
        "sequence": frame.sequence,
        "octets": len(frame.content),
    }
    return {**row, "content": frame.content.hex()} if contents else row


@audio.command("answer")
@_file
@_tones
@click.option(
    "--to", "target", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The WAV to write."
)
@click.option("--connect", "place", required=True, help="tcp:HOST:PORT of a place of terminals.")
@click.option(
    "--framing",
    type=click.Choice(["fsk-gateway", "tpdu"]),
    default="fsk-gateway",
    show_default=True,
    help="Of that place.",
)
@click.option("--caller", default="", help="The number that called; it goes in a caller block.")
@click.option("--called", default="", help="The number that was called; in the same block.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0.1, 300), default=30.0, show_default=True, help="Seconds."
)
def answer(
    file: Path, target: Path, tones: str, place: str, framing: str, caller: str, called: str, wait_s: float
) -> None:
    """Ask a running daemon what the terminal in the recording FILE asks; write what the centre says as a WAV.

    What is asked is done: a recorded sale sells (once, by its batch and trace). Exit code 1 when anything had no
    answer.
    """
    with plain_errors():
        block = Caller(caller, called) if caller or called else None
        if block:
            block.encode()
        address = _address(place)
        hearing, encoding = _heard(file, tones)
        if not any(heard.frame.kind is FskType.FROM_TERMINAL for heard in hearing.frames):
            raise click.ClickException(f"{file}: no request in it, {hearing.broken} broken frames")
        if target.exists() and target.samefile(file):
            raise click.ClickException("--to: the recording itself is not written over")
        with _replaced(target) as write, socket.create_connection(address, wait_s) as connection:
            asking = Asking(connection, framing, block, wait_s=wait_s)
            wav, silent = answered(hearing, tones, encoding, asking)
            write(wav)
    for heard in silent:
        out.print(
            f"{heard.begins_s:.1f} s, sequence {heard.frame.sequence}: no answer; it may have been done"
        )
    out.print(f"{target}: written" + (f"; last fault: {asking.why}" if silent else ""))
    raise SystemExit(1 if silent else 0)


def answered(
    hearing: Hearing, tones: str, encoding: Encoding, ask: Callable[[bytes], bytes | None]
) -> tuple[bytes, list[Heard]]:
    """The WAV of the centre's side, and the requests to which ``ask`` had no answer."""
    from aircharge.wire.modem.recording import centre_says, spoken
    from aircharge.wire.modem.tones import MODEMS
    from aircharge.wire.modem.wav import write_wav

    said, silent = centre_says(hearing, ask)
    return write_wav(spoken(said, MODEMS[tones], hearing.seconds), _RATE, encoding), silent


def _heard(file: Path, tones: str) -> tuple[Hearing, Encoding]:
    """What stands in a recording, and how it is written. Raises ClickException, OSError, WireError."""
    try:
        from aircharge.wire.modem.recording import hear
        from aircharge.wire.modem.tones import MODEMS
        from aircharge.wire.modem.wav import read_wav
    except ImportError:
        raise click.ClickException('recordings need numpy: pip install "aircharge[audio]"') from None
    if file.stat().st_size > _FILE_MAX:
        raise click.ClickException(f"{file}: more than {_FILE_MAX >> 20} MiB")
    samples, rate, encoding = read_wav(file.read_bytes())
    if rate != _RATE:
        raise click.ClickException(f"{file}: {rate} samples a second, {_RATE} wanted")
    return hear(samples, MODEMS[tones]), encoding


def _address(place: str) -> tuple[str, int]:
    """Host and port. Raises ClickException."""
    found = _ENDPOINT.fullmatch(place)
    if found is None or not 0 < int(found[2]) < 1 << 16:
        raise click.ClickException(f"--connect {place}: tcp:HOST:PORT is wanted")
    return found[1], int(found[2])


@contextmanager
def _replaced(target: Path) -> Iterator[Callable[[bytes], None]]:
    """A file of mode 600 that takes its name once it is whole; it is there before anybody is asked anything."""
    made, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.resolve().parent)
    try:
        with open(made, "wb") as handle:
            yield lambda octets: _write(handle, octets, name, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _write(handle: IO[bytes], octets: bytes, name: str, target: Path) -> None:
    handle.write(octets)
    handle.flush()
    os.fsync(handle.fileno())
    os.replace(name, target)
