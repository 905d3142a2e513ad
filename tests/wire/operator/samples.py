"""One APDU of every kind, for the codec's tests and its peers."""

from __future__ import annotations

from hypothesis import strategies as st

from aircharge.wire.operator import messages as m

T = 1_795_408_147_291
REF = "0000000100000000000000000042"
PROOF = bytes(range(32))
NONCE = bytes(range(16, 40))

SAMPLES: tuple[m.Apdu, ...] = (
    m.Invoke(1, m.BindArgument(1, "A00123", "link.1", NONCE)),
    m.Invoke(127, m.AuthenticateArgument(PROOF)),
    m.Invoke(128, m.Heartbeat(T)),
    m.Invoke(32768, m.Unbind(T)),
    m.Invoke(2**31 - 1, m.RechargeArgument(REF, "A00123", "13800138000", 5000, 156, T)),
    m.Invoke(5, m.QueryArgument(REF, "A00123", T)),
    m.Invoke(6, m.ReverseArgument(REF, "A00123", "13800138000", 10_000_000_000, 156, T, "R" * 32)),
    m.Invoke(7, m.StockArgument("A00123", 1)),
    m.ReturnResult(1, m.BindResult(1, NONCE)),
    m.ReturnResult(2, m.AuthenticateResult(PROOF, 65535)),
    m.ReturnResult(3, m.Heartbeat(T)),
    m.ReturnResult(4, m.Unbind(T)),
    m.ReturnResult(5, m.RechargeResult(REF, "0000", "S" * 64, T, 5000)),
    m.ReturnResult(5, m.RechargeResult(REF, "0000")),
    m.ReturnResult(6, m.QueryResult(REF, 0, "0000", "S1", T, 5000)),
    m.ReturnResult(6, m.QueryResult(REF, 1)),
    m.ReturnResult(6, m.QueryResult(REF, 2, at_ms=T)),
    m.ReturnResult(7, m.ReverseResult(REF, "6001", at_ms=T)),
    m.ReturnResult(8, m.StockResult(-5, T)),
    m.ReturnResult(8, m.StockResult(2**63 - 1)),
    m.ReturnError(1, m.BindRefused(1)),
    m.ReturnError(9, m.Refused(REF, "1001", "S9", T)),
    m.ReturnError(9, m.Refused(REF, "1001")),
    m.Reject(0, 2),
    m.Reject(77, 255),
)

_visible = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def _text(size: int) -> st.SearchStrategy[str]:
    return st.text(_visible, min_size=1, max_size=size)


refs, codes = _text(32), _text(8)
serials = st.just("") | _text(64)
times = st.integers(1, 2**53 - 1)
amounts = st.integers(1, 10_000_000_000)
numbers = st.text("0123456789", min_size=3, max_size=20)
nonces = st.binary(min_size=16, max_size=32)
proofs = st.binary(min_size=32, max_size=32)
ids = st.integers(1, 2**31 - 1)
yuan = st.just(156)
absent = st.just(0)

ARGUMENTS = st.one_of(
    st.builds(m.BindArgument, st.integers(1, 255), refs, refs, nonces),
    st.builds(m.AuthenticateArgument, proofs),
    st.builds(m.Heartbeat, times),
    st.builds(m.Unbind, times),
    st.builds(m.RechargeArgument, refs, refs, numbers, amounts, yuan, times),
    st.builds(m.QueryArgument, refs, refs, times),
    st.builds(m.ReverseArgument, refs, refs, numbers, amounts, yuan, times, refs),
    st.builds(m.StockArgument, refs, times),
)
RESULTS = st.one_of(
    st.builds(m.BindResult, st.integers(1, 255), nonces),
    st.builds(m.AuthenticateResult, proofs, st.integers(1, 65535)),
    st.builds(m.Heartbeat, times),
    st.builds(m.Unbind, times),
    st.builds(m.RechargeResult, refs, codes, serials, absent | times, absent | amounts),
    st.builds(
        m.QueryResult, refs, st.integers(0, 2), st.just("") | codes, serials, absent | times, absent | amounts
    ),
    st.builds(m.ReverseResult, refs, codes, serials, absent | times, absent | amounts),
    st.builds(m.StockResult, st.integers(-(2**63), 2**63 - 1), absent | times),
)
ERRORS = st.one_of(
    st.builds(m.BindRefused, st.integers(1, 255)),
    st.builds(m.Refused, refs, codes, serials, absent | times),
)
APDUS: st.SearchStrategy[m.Apdu] = st.one_of(
    st.builds(m.Invoke, ids, ARGUMENTS),
    st.builds(m.ReturnResult, ids, RESULTS),
    st.builds(m.ReturnError, ids, ERRORS),
    st.builds(m.Reject, st.integers(0, 2**31 - 1), st.integers(0, 255)),
)
