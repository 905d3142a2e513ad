"""``python -m benchmarks.modem``: at which signal-to-noise ratio frames begin to be lost, ours beside two others.

Every decoder hears the same samples (8 kHz, mu-law): 20 FSK frames of 100 octets, each behind a carrier and 30
octets of 55, with white noise in 0 to 4 kHz against the power of the signal. Writes docs/proof/modem.md.
"""

from __future__ import annotations

import datetime
import os
import random
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # many small products: threads only get in each other's way

import numpy as np

from aircharge.wire.fsk import FskFrame, FskHunter, FskType
from aircharge.wire.modem.demodulator import Demodulator
from aircharge.wire.modem.g711 import Encoding, Samples
from aircharge.wire.modem.tones import BELL_202, V23, Modulator, Tones
from tests.peers import spandsp
from tests.peers.modem_audio import minimodem_hears, minimodem_says, on_the_line

FRAMES = 20
RATIOS = (24, 20, 18, 16, 14, 12, 10, 8, 6, 5, 4, 3, 2, 1, 0)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "proof" / "modem.md"
Decoder = Callable[[Samples, Tones, Path], bytes]


def frames() -> list[bytes]:
    chance = random.Random(7)
    return [
        FskFrame(FskType.FROM_TERMINAL, chance.randbytes(4), number, chance.randbytes(100)).encode()
        for number in range(FRAMES)
    ]


def ours_says(octets: bytes, tones: Tones, _: Path) -> Samples:
    modulator = Modulator(tones)
    return np.concatenate((modulator.idle(120), modulator.octets(octets), modulator.idle(60)))


def spandsp_says(octets: bytes, tones: Tones, _: Path) -> Samples:
    return np.array(spandsp.modulated(octets, tones.name, 120), np.int16)


def ours_hears(samples: Samples, tones: Tones, _: Path) -> bytes:
    demodulator = Demodulator(tones)
    octets = b"".join(demodulator.feed(samples[at : at + 160]) for at in range(0, len(samples), 160))
    return octets + demodulator.flush()


def spandsp_hears(samples: Samples, tones: Tones, _: Path) -> bytes:
    return spandsp.demodulated(array("h", samples.tolist()), tones.name)


SPEAKERS = {"ours": ours_says, "minimodem": minimodem_says, "spandsp": spandsp_says}
DECODERS: dict[str, Decoder] = {"ours": ours_hears, "minimodem": minimodem_hears, "spandsp": spandsp_hears}


def whole(octets: bytes, wanted: list[bytes]) -> int:
    hunter = FskHunter()
    return len({*hunter.feed(octets), *hunter.give_up()} & set(wanted))


def table(tones: Tones, speaker: str, folder: Path, spent: dict[str, float]) -> list[str]:
    wanted = frames()
    audio = [SPEAKERS[speaker](b"\x55" * 30 + frame, tones, folder) for frame in wanted]
    line = np.concatenate(audio)
    lines = [
        f"### {tones.name}, modulated by {speaker} ({len(line) / 8000:.0f} s)",
        "",
        "| SNR dB | " + " | ".join(DECODERS) + " |",
        "|---|" + "---|" * len(DECODERS),
    ]
    for ratio in RATIOS:
        heard = on_the_line(line, ratio, ratio, Encoding.ULAW)
        row = [str(ratio)]
        for name, decode in DECODERS.items():
            began = time.perf_counter()
            row.append(str(whole(decode(heard, tones, folder), wanted)))
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
        spent["audio"] = spent.get("audio", 0.0) + len(line) / 8000
        lines.append("| " + " | ".join(row) + " |")
    return [*lines, ""]


def main() -> None:
    spent: dict[str, float] = {}
    pages = []
    with tempfile.TemporaryDirectory() as name:
        for tones in (BELL_202, V23):
            for speaker in SPEAKERS:
                pages += table(tones, speaker, Path(name), spent)
    seconds = spent.pop("audio")
    head = [
        "# The FSK modem beside minimodem and libspandsp",
        "",
        f"Measured {datetime.date.today().isoformat()} by `OPENBLAS_NUM_THREADS=1 python -m benchmarks.modem`"
        f" on {os.cpu_count()} cores.",
        "",
        f"Whole frames of {FRAMES} (100 octets of content each) that each decoder found in the same 8 kHz mu-law",
        "samples; noise is white, 0 to 4 kHz. minimodem hears them resampled to 48 kHz (it is unsound at 8 kHz).",
        "",
        f"Seconds for {seconds:.0f} s of audio: "
        + ", ".join(f"{name} {taken:.0f}" for name, taken in spent.items())
        + " (minimodem with its process and the resampling; spandsp through ctypes).",
        "",
    ]
    PAGE.write_text("\n".join(head + pages).rstrip() + "\n", "utf-8")
    print(PAGE.read_text("utf-8"))


if __name__ == "__main__":
    main()
