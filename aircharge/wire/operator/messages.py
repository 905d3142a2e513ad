"""What the two sides of the operator line say: the types of ``operator_link.asn1`` as plain values.

Money is in fen, times are milliseconds since 1970 UTC. An empty string or 0 stands for an absent optional
component.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from aircharge.values import mask_msisdn

__all__ = [
    "CURRENCY_CNY",
    "PROTOCOL_VERSION",
    "Apdu",
    "Argument",
    "AuthenticateArgument",
    "AuthenticateResult",
    "BindArgument",
    "BindRefusal",
    "BindRefused",
    "BindResult",
    "Heartbeat",
    "Invoke",
    "Opcode",
    "Problem",
    "QueryArgument",
    "QueryResult",
    "QueryStatus",
    "RechargeArgument",
    "RechargeResult",
    "Refused",
    "Reject",
    "Result",
    "ReturnError",
    "ReturnResult",
    "ReverseArgument",
    "ReverseResult",
    "StockArgument",
    "StockResult",
    "Unbind",
]

PROTOCOL_VERSION: Final = 1
CURRENCY_CNY: Final = 156


class Opcode(IntEnum):
    """Operations; the number is also the tag of argument and result."""

    BIND = 1
    AUTHENTICATE = 2
    HEARTBEAT = 3
    UNBIND = 4
    RECHARGE = 5
    QUERY = 6
    REVERSE = 7
    STOCK_BALANCE = 8


class Problem(IntEnum):
    """Why an APDU was rejected (near X.880 clause 9)."""

    UNRECOGNIZED_APDU = 0
    MISTYPED_APDU = 1
    BADLY_STRUCTURED_APDU = 2
    DUPLICATE_INVOCATION = 10
    UNRECOGNIZED_OPERATION = 11
    MISTYPED_ARGUMENT = 12
    RESOURCE_LIMITATION = 13
    INITIATOR_RELEASING = 14
    NOT_BOUND = 15
    UNRECOGNIZED_INVOCATION = 20
    RESULT_RESPONSE_UNEXPECTED = 21
    MISTYPED_RESULT = 22
    UNRECOGNIZED_ERROR = 31
    MISTYPED_PARAMETER = 34


class BindRefusal(IntEnum):
    """Why a bind was refused."""

    AUTHENTICATION = 1
    VERSION = 2
    BUSY = 3
    CLOSING = 4


class QueryStatus(IntEnum):
    """What the operator's record holds of a reference."""

    FOUND = 0
    NOT_FOUND = 1
    PENDING = 2


class MaskedMsisdn:
    """Shows the number in ``repr`` only in part; every field of a subclass is shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = (
            f"{name}={mask_msisdn(getattr(self, name)) if name == 'msisdn' else repr(getattr(self, name))}"
            for name in self.__dataclass_fields__  # type: ignore[attr-defined]
        )
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class BindArgument:
    """The agent names itself and challenges."""

    version: int
    agent_id: str
    link_id: str
    agent_nonce: bytes  # 16 to 32 octets


@dataclass(frozen=True, slots=True)
class BindResult:
    """The operator challenges in turn."""

    version: int
    operator_nonce: bytes  # 16 to 32 octets


@dataclass(frozen=True, slots=True)
class AuthenticateArgument:
    agent_proof: bytes = field(repr=False)  # 32 octets


@dataclass(frozen=True, slots=True)
class AuthenticateResult:
    operator_proof: bytes = field(repr=False)  # 32 octets
    window_max: int  # invokes the operator takes unanswered on this connection


@dataclass(frozen=True, slots=True)
class BindRefused:
    reason: int  # BindRefusal, or one of a later version


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Argument and result."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Unbind:
    """Argument and result. The result comes when everything outstanding is answered."""

    at_ms: int


@dataclass(frozen=True, slots=True, repr=False)
class RechargeArgument(MaskedMsisdn):
    op_ref: str
    agent_id: str
    msisdn: str
    amount_fen: int
    currency: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class RechargeResult:
    op_ref: str
    code: str
    op_serial: str = ""
    at_ms: int = 0
    amount_fen: int = 0


@dataclass(frozen=True, slots=True)
class QueryArgument:
    op_ref: str  # the recharge or reversal that is asked about
    agent_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class QueryResult:
    op_ref: str
    status: int  # QueryStatus
    code: str = ""  # FOUND: the code that the reference came to
    op_serial: str = ""
    at_ms: int = 0
    amount_fen: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class ReverseArgument(MaskedMsisdn):
    op_ref: str  # of the reversal itself
    agent_id: str
    msisdn: str
    amount_fen: int
    currency: int
    at_ms: int
    original_ref: str


@dataclass(frozen=True, slots=True)
class ReverseResult:
    op_ref: str
    code: str
    op_serial: str = ""
    at_ms: int = 0
    amount_fen: int = 0


@dataclass(frozen=True, slots=True)
class StockArgument:
    agent_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StockResult:
    stock_fen: int
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A business "no": definitely not executed under this reference, unless the code says otherwise."""

    op_ref: str
    code: str
    op_serial: str = ""
    at_ms: int = 0


Argument = (
    BindArgument
    | AuthenticateArgument
    | Heartbeat
    | Unbind
    | RechargeArgument
    | QueryArgument
    | ReverseArgument
    | StockArgument
)
Result = (
    BindResult
    | AuthenticateResult
    | Heartbeat
    | Unbind
    | RechargeResult
    | QueryResult
    | ReverseResult
    | StockResult
)


@dataclass(frozen=True, slots=True)
class Invoke:
    invoke_id: int  # 1 to 2**31 - 1
    argument: Argument


@dataclass(frozen=True, slots=True)
class ReturnResult:
    invoke_id: int
    result: Result


@dataclass(frozen=True, slots=True)
class ReturnError:
    invoke_id: int
    error: BindRefused | Refused


@dataclass(frozen=True, slots=True)
class Reject:
    invoke_id: int  # 0 when it could not be read
    problem: int  # Problem, or one of a later version


Apdu = Invoke | ReturnResult | ReturnError | Reject
