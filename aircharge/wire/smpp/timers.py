"""Limits and timers of an SMPP session as plain values (SMPP 3.4 §7.2, §2.9; 5.0 §2.7)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SessionSettings"]


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a session obeys. Times are seconds; 0 switches a timer off where the text says so."""

    interface_version: int = 0x34  # ours; the session speaks the lower of both ends
    window_max: int = 10  # requests of ours without an answer
    queue_max: int = 1000  # requests of ours that may wait for room in the window
    window_in_max: int = 100  # requests of the peer without our answer; more are answered 0x58
    frame_max: int = 65536  # octets of one PDU
    session_init_s: float = 10.0  # from connection to bind (or outbind)
    enquire_link_s: float = 30.0  # silence after which the peer is asked; 0 = never
    inactivity_s: float = 0.0  # no message either way for so long: unbind; 0 = never
    response_s: float = 15.0  # an answer that has not come by then is unknown
    pdu_s: float = 30.0  # a PDU that has begun must end
    drain_s: float = 5.0  # from the wish to unbind to the unbind itself, while answers are still due
    unbind_s: float = 5.0  # from unbind to unbind_resp
