"""docs/protocols/pos-8583.md says what the code does: elements, acts, codes, profiles, MACs, key layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aircharge.pos import codes
from aircharge.wire.iso8583.crypto import MACS
from aircharge.wire.iso8583.profile import CUP, PROFILES, Field
from aircharge.wire.iso8583.terminal import ACTS, MANDATORY, Act, WorkingKeys
from tests.wire.iso8583.samples import MESSAGES

TEXT: Final = (Path(__file__).parents[3] / "docs" / "protocols" / "pos-8583.md").read_text("utf-8")


def table(section: int) -> list[list[str]]:
    """The cells of the first table of a section, without its head."""
    part = TEXT.split(f"\n## {section}. ")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.split("\n|", 1)[1].split("\n\n")[0].splitlines()]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def size_of(spec: Field) -> str:
    return "." * spec.prefix + str(spec.size)


def test_elements() -> None:
    described = {int(row[0]): (row[1], row[2]) for row in table(3)}
    assert described == {number: (spec.kind.value, size_of(spec)) for number, spec in CUP.fields.items()}
    sent = {int(row[0]) for row in table(3) if row[3]}
    assert sent | {64} >= {number for message in MESSAGES for number in message.fields}


def test_acts() -> None:
    rows = {row[0]: row[1:] for row in table(4)}
    assert rows.keys() == {act.value for act in Act}
    for act in Act:
        mti, keys, elements = rows[act.value][:3]
        assert {(mti, key) for key in keys.split(", ")} == {
            key for key, known in ACTS.items() if known is act
        }
        assert [int(number) for number in elements.split()] == sorted(MANDATORY[act])


def test_codes() -> None:
    mine = {value for name, value in vars(codes).items() if name in codes.__all__ and isinstance(value, str)}
    assert {row[0] for row in table(8)} == mine | set(codes.CODES.values())


def test_profiles_macs_and_keys() -> None:
    assert {row[0].strip("`") for row in table(2)} == PROFILES.keys()
    assert [row[0].strip("`") for row in table(6)] == list(MACS)
    for row in table(5):
        assert WorkingKeys.decode(bytes(int(row[0])))
