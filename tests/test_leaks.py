"""The search for secrets in logs bites."""

from __future__ import annotations

from pathlib import Path

import pytest

from aircharge.instance import DEMO_PIN
from tests.leaks import leaks


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ("order 912571104885739520 SETTLED for 138****5678, 流水85739520", []),
        ("recharge of 13812345678", ["a whole number"]),
        ('{"delay":0.16376953125} after 0.736194 s', []),  # a fraction of a second is no number of anybody's
        ("from 8613812345678", ["a whole number"]),
        (f"<Failure at 0x7f1a{DEMO_PIN}b0>", []),  # an address, by chance
        (f"pin={DEMO_PIN}", ["a PIN"]),
        (f"0x{DEMO_PIN}", ["a PIN"]),
        ("AC00912571104885739520 1736194000", []),
        ("secret 0123456789abcdef", ["the content of pepper"]),
        ("kic 00112233445566778899aabbccddeeff", ["a card's KIc"]),
    ],
)
@pytest.mark.parametrize("name", ["daemon.out", "other.log"])
def test_what_is_found(tmp_path: Path, line: str, kinds: list[str], name: str) -> None:
    folder = tmp_path / "world"
    (folder / "keys").mkdir(parents=True)
    (folder / "aircharge.toml").touch()
    (folder / "keys" / "pepper").write_text("0123456789abcdef\n")
    (folder / "cards.json").write_text(
        '[{"kic": "00112233445566778899aabbccddeeff", "kid": "ff"}]'.replace('"ff"', '"ff00"')
    )
    (folder / name).write_text(f"harmless\n{line}\n", encoding="utf-8")
    assert [found.split(": ", 1)[1] for found in leaks(tmp_path)] == kinds
    for path in folder.glob(name):
        path.unlink()  # this run's own search must not find it
