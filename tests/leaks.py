"""What no log may hold: PINs, keys, passwords and whole mobile numbers. Looked for after every run of the suite."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from aircharge.instance import DEMO_PIN

__all__ = ["leaks"]

_NUMBER = re.compile(r"(?<![0-9.])(?:86)?1[3-9][0-9]{9}(?![0-9])")
_PIN = re.compile(rf"(?<![0-9.])(?:{DEMO_PIN}|111111)(?![0-9])")  # the PINs that tests use, right and wrong
_ADDRESS = re.compile(r"\b0x[0-9a-f]{12}\b")  # an object's place in memory, chance digits
_LOGS = ("*.out", "*.log*")


def leaks(base: Path) -> list[str]:
    """Every leak in the logs of every instance below ``base``: file and kind, never the secret itself."""
    found = []
    for config in sorted(base.rglob("aircharge.toml")):
        folder = config.parent
        secrets = list(_secrets(folder))
        for pattern in _LOGS:
            for path in sorted(folder.glob(pattern)):
                text = path.read_text(encoding="utf-8", errors="replace")
                plain = _ADDRESS.sub("0x", text)
                kinds = {"a whole number": _NUMBER.search(plain), "a PIN": _PIN.search(plain)}
                found += [f"{path}: {kind}" for kind, hit in kinds.items() if hit]
                found += [f"{path}: {name}" for name, secret in secrets if secret in text]
    return found


def _secrets(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((folder / "keys").glob("*")):
        secret = path.read_text(encoding="utf-8", errors="replace").strip()
        if len(secret) >= 8:  # a shorter one ("secret") may be a word of the log's own
            yield f"the content of {path.name}", secret
    cards = folder / "cards.json"
    if cards.exists():
        for card in json.loads(cards.read_text(encoding="utf-8")):
            yield "a card's KIc", card["kic"]
            yield "a card's KID", card["kid"]
