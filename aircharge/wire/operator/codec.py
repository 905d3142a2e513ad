"""APDUs of the operator line ↔ octets: field tables that stand for ``operator_link.asn1``, walked both ways.

Written for the hot path and held equal to the published module by differential tests: pyasn1, asn1tools
and tshark. Sends DER; reads BER within the profile of ``ber.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aircharge.errors import WireError
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.ber import ApduSplitter, decode_integer, encode_integer, read_tlv, tlv
from aircharge.wire.operator.messages import Apdu, Invoke, Opcode, Problem, Reject, ReturnError, ReturnResult

__all__ = ["APDU_TAGS", "ApduError", "decode", "encode", "splitter"]

_INVOKE: Final = 0xA1
_RESULT: Final = 0xA2
_ERROR: Final = 0xA3
_REJECT: Final = 0xA4
APDU_TAGS: Final = frozenset((_INVOKE, _RESULT, _ERROR, _REJECT))
_STANDARD: Final = "operator_link.asn1"


class ApduError(WireError):
    """An APDU that cannot be taken. ``invoke_id`` is 0 when it could not be read; ``hint`` is the Problem.

    ``is_answer`` tells whether it was meant as the answer to an invoke of ours.
    """

    def __init__(
        self, why: str, problem: int, *, invoke_id: int = 0, is_answer: bool = False, field: str = ""
    ) -> None:
        super().__init__(_STANDARD, "Apdu", why, field=field, hint=int(problem))
        self.invoke_id = invoke_id
        self.is_answer = is_answer


class Field(NamedTuple):
    """One component: tag octet, our attribute, how its contents are written and read, its absent value."""

    tag: int
    name: str
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]
    absent: Any = None  # None: not optional


def _range(name: str, low: int, high: int) -> tuple[Callable[[int], bytes], Callable[[bytes], int]]:
    def write(value: int) -> bytes:
        if not low <= value <= high:
            raise ApduError(f"not in {low}..{high}", Problem.MISTYPED_ARGUMENT, field=name)
        return encode_integer(value)

    def read(content: bytes) -> int:
        value = decode_integer(content)
        if not low <= value <= high:
            raise ApduError(f"not in {low}..{high}", Problem.MISTYPED_ARGUMENT, field=name)
        return value

    return write, read


def _text(
    name: str, low: int, high: int, digits: bool = False
) -> tuple[Callable[[str], bytes], Callable[[bytes], str]]:
    def check(value: str) -> bool:
        return low <= len(value) <= high and (value.isdecimal() if digits else value.isprintable())

    def write(value: str) -> bytes:
        if not (value.isascii() and check(value)):
            raise ApduError(
                f"not {low} to {high} characters of its alphabet", Problem.MISTYPED_ARGUMENT, field=name
            )
        return value.encode()

    def read(content: bytes) -> str:
        if content.isascii():
            value = content.decode()
            if check(value):
                return value
        raise ApduError(
            f"not {low} to {high} characters of its alphabet", Problem.MISTYPED_ARGUMENT, field=name
        )

    return write, read


def _octets(name: str, low: int, high: int) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    def check(value: bytes) -> bytes:
        if not low <= len(value) <= high:
            raise ApduError(f"not {low} to {high} octets", Problem.MISTYPED_ARGUMENT, field=name)
        return value

    return check, check


_Kind = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
_REFERENCE: Final = _text("Reference", 1, 32)
_NAME: Final = _text("Name", 1, 32)
_SERIAL: Final = _text("Serial", 1, 64)
_CODE: Final = _text("ResultCode", 1, 8)
_MSISDN: Final = _text("Msisdn", 3, 20, digits=True)
_AMOUNT: Final = _range("AmountFen", 1, 10_000_000_000)
_CURRENCY: Final = _range("currency", m.CURRENCY_CNY, m.CURRENCY_CNY)
_TIME: Final = _range("Milliseconds", 1, 2**53 - 1)
_VERSION: Final = _range("version", 1, 255)
_STATUS: Final = _range("status", 0, 2)
_STOCK: Final = _range("stockFen", -(2**63), 2**63 - 1)
_NONCE: Final = _octets("nonce", 16, 32)
_PROOF: Final = _octets("proof", 32, 32)
_WINDOW: Final = _range("windowMax", 1, 65_535)
_REASON: Final = _range("reason", 1, 255)
_INVOKE_ID: Final = _range("invokeId", 1, 2**31 - 1)
_REJECT_ID: Final = _range("invokeId", 0, 2**31 - 1)
_PROBLEM: Final = _range("problem", 0, 255)


def _fields(*components: tuple[Any, ...]) -> tuple[Field, ...]:
    """Components in the module's order: name, kind and, where optional, the value that stands for absent."""
    return tuple(
        Field(0x80 | number, name, kind[0], kind[1], *absent)
        for number, (name, kind, *absent) in enumerate(components)
    )


_OUTCOME: Final = (
    ("op_ref", _REFERENCE),
    ("code", _CODE),
    ("op_serial", _SERIAL, ""),
    ("at_ms", _TIME, 0),
    ("amount_fen", _AMOUNT, 0),
)
_ORDERED: Final = (
    ("op_ref", _REFERENCE),
    ("agent_id", _NAME),
    ("msisdn", _MSISDN),
    ("amount_fen", _AMOUNT),
    ("currency", _CURRENCY),
    ("at_ms", _TIME),
)
_BIND: Final = (("version", _VERSION), ("agent_id", _NAME), ("link_id", _NAME), ("agent_nonce", _NONCE))
_QUERIED: Final = (
    ("op_ref", _REFERENCE),
    ("status", _STATUS),
    ("code", _CODE, ""),
    ("op_serial", _SERIAL, ""),
    ("at_ms", _TIME, 0),
    ("amount_fen", _AMOUNT, 0),
)


class Shape(NamedTuple):
    """One alternative of Argument, Result or Parameter."""

    kind: type[Any]
    fields: tuple[Field, ...]


ARGUMENTS: Final = {
    Opcode.BIND: Shape(m.BindArgument, _fields(*_BIND)),
    Opcode.AUTHENTICATE: Shape(m.AuthenticateArgument, _fields(("agent_proof", _PROOF))),
    Opcode.HEARTBEAT: Shape(m.Heartbeat, _fields(("at_ms", _TIME))),
    Opcode.UNBIND: Shape(m.Unbind, _fields(("at_ms", _TIME))),
    Opcode.RECHARGE: Shape(m.RechargeArgument, _fields(*_ORDERED)),
    Opcode.QUERY: Shape(
        m.QueryArgument, _fields(("op_ref", _REFERENCE), ("agent_id", _NAME), ("at_ms", _TIME))
    ),
    Opcode.REVERSE: Shape(m.ReverseArgument, _fields(*_ORDERED, ("original_ref", _REFERENCE))),
    Opcode.STOCK_BALANCE: Shape(m.StockArgument, _fields(("agent_id", _NAME), ("at_ms", _TIME))),
}
RESULTS: Final = {
    Opcode.BIND: Shape(m.BindResult, _fields(("version", _VERSION), ("operator_nonce", _NONCE))),
    Opcode.AUTHENTICATE: Shape(
        m.AuthenticateResult, _fields(("operator_proof", _PROOF), ("window_max", _WINDOW))
    ),
    Opcode.HEARTBEAT: Shape(m.Heartbeat, _fields(("at_ms", _TIME))),
    Opcode.UNBIND: Shape(m.Unbind, _fields(("at_ms", _TIME))),
    Opcode.RECHARGE: Shape(m.RechargeResult, _fields(*_OUTCOME)),
    Opcode.QUERY: Shape(m.QueryResult, _fields(*_QUERIED)),
    Opcode.REVERSE: Shape(m.ReverseResult, _fields(*_OUTCOME)),
    Opcode.STOCK_BALANCE: Shape(m.StockResult, _fields(("stock_fen", _STOCK), ("at_ms", _TIME, 0))),
}
ERRORS: Final = {
    1: Shape(m.BindRefused, _fields(("reason", _REASON))),
    2: Shape(m.Refused, _fields(*_OUTCOME[:4])),
}


class _Writer(NamedTuple):
    """A shape made ready for sending: the opcode element in front, the tag of the alternative, its fields."""

    opcode: bytes
    tag: int
    fields: tuple[Field, ...]


def _writers(shapes: dict[Any, Shape]) -> dict[type[Any], _Writer]:
    return {
        shape.kind: _Writer(tlv(0x02, encode_integer(number)), 0xA0 | number, shape.fields)
        for number, shape in shapes.items()
    }


_ARGUMENT_WRITERS: Final = _writers(dict(ARGUMENTS))
_RESULT_WRITERS: Final = _writers(dict(RESULTS))
_ERROR_WRITERS: Final = _writers(dict(ERRORS))


def encode(apdu: Apdu) -> bytes:
    """An APDU in DER. Raises ApduError when a component is not what the module allows."""
    if isinstance(apdu, Invoke):
        return _assemble(_INVOKE, apdu.invoke_id, _ARGUMENT_WRITERS[type(apdu.argument)], apdu.argument)
    if isinstance(apdu, ReturnResult):
        return _assemble(_RESULT, apdu.invoke_id, _RESULT_WRITERS[type(apdu.result)], apdu.result)
    if isinstance(apdu, ReturnError):
        return _assemble(_ERROR, apdu.invoke_id, _ERROR_WRITERS[type(apdu.error)], apdu.error)
    return tlv(_REJECT, tlv(0x02, _REJECT_ID[0](apdu.invoke_id)) + tlv(0x02, _PROBLEM[0](apdu.problem)))


def _assemble(tag: int, invoke_id: int, writer: _Writer, value: object) -> bytes:
    parts = []
    for field_tag, name, write, _, absent in writer.fields:
        item = getattr(value, name)
        if item != absent or absent is None:
            parts.append(tlv(field_tag, write(item)))
    body = tlv(writer.tag, b"".join(parts))
    return tlv(tag, tlv(0x02, _INVOKE_ID[0](invoke_id)) + writer.opcode + body)


_BODIES: Final[dict[int, tuple[dict[Any, Shape], Problem, Problem, Any]]] = {
    _INVOKE: (dict(ARGUMENTS), Problem.UNRECOGNIZED_OPERATION, Problem.MISTYPED_ARGUMENT, Invoke),
    _RESULT: (dict(RESULTS), Problem.RESULT_RESPONSE_UNEXPECTED, Problem.MISTYPED_RESULT, ReturnResult),
    _ERROR: (dict(ERRORS), Problem.UNRECOGNIZED_ERROR, Problem.MISTYPED_PARAMETER, ReturnError),
}


def decode(frame: bytes) -> Apdu:
    """One whole APDU. Raises ApduError, with the invokeId when at least that could be read."""
    invoke_id = 0
    tag = frame[0] if frame else 0
    try:
        tag, at, end = read_tlv(frame, 0, len(frame))
        if tag not in APDU_TAGS or end != len(frame):
            raise ApduError("not one APDU", Problem.UNRECOGNIZED_APDU)
        invoke_id, at = _integer(frame, at, end, _REJECT_ID if tag == _REJECT else _INVOKE_ID)
        number, at = _integer(frame, at, end, _PROBLEM)
        if tag == _REJECT:
            _skip_rest(frame, at, end, frozenset())
            return Reject(invoke_id, number)
        return _body(frame, at, end, invoke_id, number)
    except WireError as error:
        problem = error.hint
        if (
            tag in _BODIES
            and invoke_id
            and problem in (Problem.MISTYPED_ARGUMENT, Problem.BADLY_STRUCTURED_APDU)
        ):
            problem = _BODIES[tag][2]
        elif problem == Problem.MISTYPED_ARGUMENT:
            problem = Problem.MISTYPED_APDU
        answers = tag in (_RESULT, _ERROR, _REJECT)
        why, field = error.why, error.field
        raise ApduError(why, problem, invoke_id=invoke_id, is_answer=answers, field=field) from error


def _integer(frame: bytes, at: int, end: int, kind: _Kind) -> tuple[int, int]:
    tag, start, stop = read_tlv(frame, at, end)
    if tag != 0x02:
        raise ApduError("an INTEGER belongs here", Problem.MISTYPED_APDU)
    value: int = kind[1](frame[start:stop])
    return value, stop


def _body(frame: bytes, at: int, end: int, invoke_id: int, number: int) -> Apdu:
    shapes, unknown, mistyped, wrap = _BODIES[frame[0]]
    tag, start, stop = read_tlv(frame, at, end)
    _skip_rest(frame, stop, end, frozenset())
    shape = shapes.get(number)
    if shape is None:
        raise ApduError(f"operation or error {number} is not known", unknown)
    if tag != 0xA0 | number:
        raise ApduError("the alternative is not the one of the code", mistyped)
    value: Apdu = wrap(invoke_id, _components(frame, start, stop, shape))
    return value


def _components(frame: bytes, at: int, end: int, shape: Shape) -> Any:
    """The SEQUENCE's components in their order; what comes behind the last one that we know is skipped."""
    values = []
    tag = -1
    start = stop = at
    for field_tag, name, _, read, absent in shape.fields:
        if tag < 0 and stop < end:
            tag, start, stop = read_tlv(frame, stop, end)
        if tag == field_tag:
            values.append(read(frame[start:stop]))
            tag = -1
        elif absent is None:
            raise ApduError("a component is missing", Problem.MISTYPED_ARGUMENT, field=name)
        else:
            values.append(absent)
    if tag >= 0 or stop < end:
        known = frozenset(item.tag for item in shape.fields)
        if tag in known:
            raise ApduError("a component is out of order", Problem.MISTYPED_ARGUMENT)
        _skip_rest(frame, stop, end, known)
    return shape.kind(*values)


def _skip_rest(frame: bytes, at: int, end: int, known: frozenset[int]) -> None:
    """Extension additions: well formed, none of our own tags, otherwise not looked at."""
    while at < end:
        tag, _, at = read_tlv(frame, at, end)
        if tag in known:
            raise ApduError("a component is out of order or comes twice", Problem.MISTYPED_ARGUMENT)


def splitter() -> ApduSplitter:
    """A splitter that passes APDUs of this protocol only."""
    return ApduSplitter(APDU_TAGS)
