"""What an airtime outlet asks for at an FSK terminal.

Source: docs/protocols/pos-fsk.md section 6.4; which operations carry it: ``aircharge.wire.fsk_parts``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "Balance",
    "Echo",
    "Last",
    "NumberCheck",
    "Original",
    "Parameters",
    "Recharge",
    "Reprint",
    "Reversal",
    "Settlement",
    "SignIn",
    "SignOut",
    "Upload",
    "Void",
    "Wish",
]


class Original(NamedTuple):
    """The request that an automatic reversal takes back: its trace and its MAC."""

    trace: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class Echo:
    """Is anybody there?"""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the terminal shall know."""


@dataclass(frozen=True, slots=True)
class SignOut:
    """The working keys are of no use any more."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """New working keys are wanted. ``serial``: of the device, 10 octets, where it is told."""

    serial: bytes = b""


@dataclass(frozen=True, slots=True)
class NumberCheck:
    """Whether ``number`` is served, and by whom."""

    number: str


@dataclass(frozen=True, slots=True)
class Recharge:
    """``amount_fen`` for ``number``; ``pin_block``: the outlet's PIN under the PIN key; ``repeat`` 2: yes, once more.

    ``batch`` here and below: 0 where a terminal does not tell it.
    """

    number: str
    amount_fen: int
    pin_block: bytes = b""
    repeat: int = 1
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """The outlet's own."""

    pin_block: bytes = b""


@dataclass(frozen=True, slots=True)
class Last:
    """What became of the last recharge?"""

    pin_block: bytes = b""


@dataclass(frozen=True, slots=True)
class Void:
    """Take back the recharge of this trace. ``amount_fen`` 0 and no ``consent`` (the customer's code): not told."""

    trace: int
    amount_fen: int = 0
    pin_block: bytes = b""
    consent: str = ""
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Reprint:
    """The slip of the recharge of this trace again; 0: of the last one."""

    trace: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Reversal:
    """Automatic: no answer came to ``original``. ``amount_fen`` 0: not told."""

    original: Original
    amount_fen: int = 0
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """The totals of a batch: recharges and voids, their numbers and sums in fen."""

    batch: int
    sales: int
    sales_fen: int
    voids: int
    voids_fen: int


@dataclass(frozen=True, slots=True)
class Upload:
    """Details of a batch, as many as a message takes: ``(trace, fen)``, voids below zero; none: that is all."""

    batch: int
    details: tuple[tuple[int, int], ...] = ()


Wish = (
    Echo
    | Parameters
    | SignOut
    | SignIn
    | NumberCheck
    | Recharge
    | Balance
    | Last
    | Void
    | Reprint
    | Reversal
    | Settlement
    | Upload
)
