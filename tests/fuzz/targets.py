"""Every decoder and every session that bytes from outside reach: one row each, for all three runners.

A new channel adds its rows to a module here and its module to ``TARGETS``; its corpus grows in ``corpus/<name>/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.fuzz import files, gsm, operator_line, ota, pos, pos_frames, pos_fsk, pos_iso, smpp, smpp_session
from tests.fuzz.target import Target

__all__ = ["CORPUS", "TARGETS", "corpus_of"]

TARGETS: Final[dict[str, Target]] = {
    name: target
    for module in (smpp, smpp_session, operator_line, gsm, ota, pos_frames, pos, pos_fsk, pos_iso, files)
    for name, target in module.TARGETS.items()
}

CORPUS: Final = Path(__file__).resolve().parent / "corpus"


def corpus_of(name: str) -> list[tuple[str, bytes]]:
    """Name and octets of every example that is kept of a target, in a fixed order."""
    return [(path.name, path.read_bytes()) for path in sorted((CORPUS / name).glob("*"))]
