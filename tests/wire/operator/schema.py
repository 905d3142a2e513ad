"""``operator_link.asn1`` in pyasn1, written by hand from the module and not from our codec's tables.

Also the translation of our messages into pyasn1's and asn1tools' values, by the module's own component names.
"""

from __future__ import annotations

from typing import Any

from pyasn1.type import char, constraint, namedtype, tag, univ

from aircharge.wire.operator import messages as m


def _context(number: int, constructed: bool = False) -> tag.Tag:
    return tag.Tag(
        tag.tagClassContext, tag.tagFormatConstructed if constructed else tag.tagFormatSimple, number
    )


def _integer(low: int, high: int) -> univ.Integer:
    return univ.Integer().subtype(subtypeSpec=constraint.ValueRangeConstraint(low, high))


def _string(kind: Any, low: int, high: int) -> Any:
    return kind().subtype(subtypeSpec=constraint.ValueSizeConstraint(low, high))


REFERENCE = NAME = _string(char.VisibleString, 1, 32)
SERIAL = _string(char.VisibleString, 1, 64)
CODE = _string(char.VisibleString, 1, 8)
MSISDN = _string(char.NumericString, 3, 20)
AMOUNT = _integer(1, 10_000_000_000)
TIME = _integer(1, 2**53 - 1)
CURRENCY = _integer(156, 156)
NONCE = _string(univ.OctetString, 16, 32)
PROOF = _string(univ.OctetString, 32, 32)
SERIAL_, TIME_, AMOUNT_, CODE_ = (SERIAL, True), (TIME, True), (AMOUNT, True), (CODE, True)

ORDER = {
    "opRef": REFERENCE,
    "agentId": NAME,
    "msisdn": MSISDN,
    "amountFen": AMOUNT,
    "currency": CURRENCY,
    "requestTime": TIME,
}
OUTCOME = {
    "opRef": REFERENCE,
    "resultCode": CODE,
    "operatorSerial": SERIAL_,
    "operatorTime": TIME_,
    "amountFen": AMOUNT_,
}
BODIES: dict[str, dict[str, Any]] = {
    "BindArgument": {"version": _integer(1, 255), "agentId": NAME, "linkId": NAME, "agentNonce": NONCE},
    "BindResult": {"version": _integer(1, 255), "operatorNonce": NONCE},
    "AuthenticateArgument": {"agentProof": PROOF},
    "AuthenticateResult": {"operatorProof": PROOF, "windowMax": _integer(1, 65535)},
    "Heartbeat": {"time": TIME},
    "Unbind": {"time": TIME},
    "RechargeArgument": ORDER,
    "RechargeResult": OUTCOME,
    "QueryArgument": {"opRef": REFERENCE, "agentId": NAME, "requestTime": TIME},
    "QueryResult": {
        "opRef": REFERENCE,
        "status": univ.Enumerated().subtype(subtypeSpec=constraint.SingleValueConstraint(0, 1, 2)),
        "resultCode": CODE_,
        "operatorSerial": SERIAL_,
        "operatorTime": TIME_,
        "amountFen": AMOUNT_,
    },
    "ReverseArgument": {**ORDER, "originalRef": REFERENCE},
    "ReverseResult": OUTCOME,
    "StockArgument": {"agentId": NAME, "requestTime": TIME},
    "StockResult": {"stockFen": _integer(-(2**63), 2**63 - 1), "operatorTime": TIME_},
    "BindRefused": {"reason": _integer(1, 255)},
    "Refused": {"opRef": REFERENCE, "resultCode": CODE, "operatorSerial": SERIAL_, "operatorTime": TIME_},
}
OPERATIONS = ("bind", "authenticate", "heartbeat", "unbind", "recharge", "query", "reverse", "stockBalance")
ARGUMENTS = (
    "BindArgument",
    "AuthenticateArgument",
    "Heartbeat",
    "Unbind",
    "RechargeArgument",
    "QueryArgument",
    "ReverseArgument",
    "StockArgument",
)
RESULTS = (
    "BindResult",
    "AuthenticateResult",
    "Heartbeat",
    "Unbind",
    "RechargeResult",
    "QueryResult",
    "ReverseResult",
    "StockResult",
)


def _sequence(components: dict[str, Any]) -> univ.Sequence:
    named = []
    for number, (name, kind) in enumerate(components.items()):
        kind, optional = kind if isinstance(kind, tuple) else (kind, False)
        wrap = namedtype.OptionalNamedType if optional else namedtype.NamedType
        named.append(wrap(name, kind.subtype(implicitTag=_context(number))))
    return univ.Sequence(componentType=namedtype.NamedTypes(*named))


def _choice(names: tuple[str, ...], bodies: tuple[str, ...]) -> univ.Choice:
    return univ.Choice(
        componentType=namedtype.NamedTypes(
            *(
                namedtype.NamedType(name, _sequence(BODIES[body]).subtype(implicitTag=_context(number, True)))
                for number, (name, body) in enumerate(zip(names, bodies, strict=True), 1)
            )
        )
    )


def _apdu(number: int, *components: tuple[str, Any]) -> univ.Sequence:
    named = namedtype.NamedTypes(*(namedtype.NamedType(name, kind) for name, kind in components))
    return univ.Sequence(componentType=named).subtype(implicitTag=_context(number, True))


_ID = ("invokeId", _integer(1, 2**31 - 1))
_NUMBER = _integer(1, 30)
APDU = univ.Choice(
    componentType=namedtype.NamedTypes(
        namedtype.NamedType(
            "invoke", _apdu(1, _ID, ("opcode", _NUMBER), ("argument", _choice(OPERATIONS, ARGUMENTS)))
        ),
        namedtype.NamedType(
            "returnResult", _apdu(2, _ID, ("opcode", _NUMBER), ("result", _choice(OPERATIONS, RESULTS)))
        ),
        namedtype.NamedType(
            "returnError",
            _apdu(
                3,
                _ID,
                ("errcode", _NUMBER),
                ("parameter", _choice(("bindRefused", "refused"), ("BindRefused", "Refused"))),
            ),
        ),
        namedtype.NamedType(
            "reject", _apdu(4, ("invokeId", _integer(0, 2**31 - 1)), ("problem", _integer(0, 255)))
        ),
    )
)

_NAMES = {"code": "resultCode", "op_serial": "operatorSerial", "status": "status"}


def _component(kind: type, name: str) -> str:
    if name == "at_ms":
        if kind in (m.Heartbeat, m.Unbind):
            return "time"
        return "requestTime" if kind.__name__.endswith("Argument") else "operatorTime"
    head, *rest = name.split("_")
    return _NAMES.get(name, head + "".join(word.capitalize() for word in rest))


def _body(value: Any) -> dict[str, Any]:
    kind = type(value)
    items = {_component(kind, name): getattr(value, name) for name in kind.__dataclass_fields__}
    needed = {name for name, of in BODIES[kind.__name__].items() if not isinstance(of, tuple)}
    return {name: item for name, item in items.items() if name in needed or item not in ("", 0)}


def plain(apdu: m.Apdu) -> tuple[str, dict[str, Any]]:
    """An APDU as (alternative, components) in the module's own names."""
    if isinstance(apdu, m.Reject):
        return "reject", {"invokeId": apdu.invoke_id, "problem": apdu.problem}
    if isinstance(apdu, m.ReturnError):
        number = 1 if isinstance(apdu.error, m.BindRefused) else 2
        inner = (("bindRefused", "refused")[number - 1], _body(apdu.error))
        return "returnError", {"invokeId": apdu.invoke_id, "errcode": number, "parameter": inner}
    what, value, bodies = (
        ("argument", apdu.argument, ARGUMENTS)
        if isinstance(apdu, m.Invoke)
        else ("result", apdu.result, RESULTS)
    )
    number = bodies.index(type(value).__name__)
    kind = "invoke" if what == "argument" else "returnResult"
    inner = (OPERATIONS[number], _body(value))
    return kind, {"invokeId": apdu.invoke_id, "opcode": number + 1, what: inner}


def to_pyasn1(apdu: m.Apdu) -> Any:
    """An APDU as a pyasn1 value of the schema."""
    kind, components = plain(apdu)
    value = APDU.clone()
    target = value.setComponentByName(kind).getComponentByName(kind)
    for name, item in components.items():
        if isinstance(item, tuple):
            inner = target.setComponentByName(name).getComponentByName(name)
            body = inner.setComponentByName(item[0]).getComponentByName(item[0])
            for inner_name, inner_item in item[1].items():
                body[inner_name] = inner_item
        else:
            target[name] = item
    return value


def from_pyasn1(value: Any) -> tuple[str, dict[str, Any]]:
    """A decoded pyasn1 value in the form of ``plain``."""
    return value.getName(), _native(value.getComponent())


def _native(sequence: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in sequence:
        item = sequence[name]
        if isinstance(item, univ.Choice):
            found[name] = (item.getName(), _native(item.getComponent()))
        elif item.isValue:
            if isinstance(item, univ.Integer):
                found[name] = int(item)
            elif isinstance(item, char.AbstractCharacterString):
                found[name] = str(item)
            else:
                found[name] = bytes(item)
    return found
