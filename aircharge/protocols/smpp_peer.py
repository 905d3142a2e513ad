"""What we know about one SMPP peer: its profile, and what a message's answerer is told about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aircharge.errors import ConfigError
from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.states import Side
from aircharge.wire.smpp.tables import NPI, TON
from aircharge.wire.smpp.timers import SessionSettings

__all__ = ["PeerInfo", "SmppPeer"]

_MESSAGES = {
    "deliver_sm": Command.DELIVER_SM,
    "submit_sm": Command.SUBMIT_SM,
    "data_sm": Command.DATA_SM,
}
_BINDS = {
    "transmitter": Command.BIND_TRANSMITTER,
    "receiver": Command.BIND_RECEIVER,
    "transceiver": Command.BIND_TRANSCEIVER,
}

_DATA_CODING = re.compile(r"(?:[5-79]|1[0-5])=(?:gbk|gb18030|big5|utf-8|utf-16-be|latin-1|ascii)")


@dataclass(frozen=True, slots=True)
class SmppPeer:
    """Profile of one peer. Its password is a secret and is handed to server or client apart.

    ``role`` is ours: "mc" = the peer binds to us, "esme" = we bind to it; who dials is another matter.
    """

    name: str = "smsc"
    system_id: str = ""  # the peer's when it binds to us; ours when we bind to it
    role: str = "mc"
    bind_as: str = "transceiver"  # role "esme": transceiver, transmitter or receiver
    system_type: str = ""
    our_system_id: str = "aircharge"  # what our bind_resp bears
    interface_version: int = 0x34
    outbind: bool = False  # role "mc" and we dial: send outbind; role "esme" and we listen: expect it
    mo_pdu: tuple[str, ...] = ("deliver_sm", "submit_sm", "data_sm")  # what may bring us a message
    mt_pdu: str = "deliver_sm"  # what carries our messages: deliver_sm or submit_sm
    default_alphabet: str = "gsm7"  # what data_coding 0 means: gsm7, latin1, ascii, gsm7-packed
    data_codings: tuple[str, ...] = ()  # what other data_codings mean: "15=gbk", "9=utf-8", "12=utf-16-be" …
    service_type: str = ""
    source_ton: int = 0
    source_npi: int = 1
    destination_ton: int = (
        0  # unknown: as dialled at home; 1 (international) goes with country_code, 2: national
    )
    destination_npi: int = 1
    country_code: str = ""  # put before national digits of a destination, "86"; empty: as they are
    sent_time_tlv: int = 0  # tag of a TLV with 4 octets of Unix seconds, the SMS centre's own time; 0 = none
    message_id_style: str = "hex"  # message_id of our submit_sm_resp: hex, decimal
    long_messages: str = "udh"  # udh, sar or payload; to a peer of SMPP 3.3 always udh
    user_message_reference: bool = True  # put it on our messages, where the peer takes optional parameters
    sc_interface_version: bool = True  # put it in our bind_resp to a peer of SMPP 3.4 or later
    routes: tuple[str, ...] = ()  # first digits of numbers whose messages go to this peer; the longest wins
    fallback_s: float = 60.0  # answers to what this peer brought go to another when it was away so long
    receipts: bool = False  # ask for a delivery receipt
    throughput_per_s: float = 0.0  # messages to this peer; 0 = no limit
    sessions_max: int = 4
    allow: tuple[str, ...] = ()  # networks in CIDR form it may come from; none = anywhere
    window_max: int = 50
    queue_max: int = 1000
    window_in_max: int = 200
    frame_max: int = 70_000  # a message_payload of 65,535 octets and what stands around it
    session_init_s: float = 10.0
    enquire_link_s: float = 30.0
    inactivity_s: float = 0.0
    response_s: float = 15.0
    pdu_s: float = 30.0
    drain_s: float = 5.0
    unbind_s: float = 5.0

    @property
    def side(self) -> Side:
        """Our end of the session."""
        return Side(self.role)

    @property
    def bind_command(self) -> Command:
        return _BINDS[self.bind_as]

    @property
    def mo_commands(self) -> frozenset[Command]:
        return frozenset(_MESSAGES[name] for name in self.mo_pdu)

    @property
    def codecs(self) -> dict[int, str]:
        """Python's codec of each data_coding that the profile maps."""
        pairs = (one.split("=") for one in self.data_codings)
        return {int(coding): codec for coding, codec in pairs}

    @property
    def mt_command(self) -> Command:
        return _MESSAGES[self.mt_pdu]

    @property
    def session_settings(self) -> SessionSettings:
        return SessionSettings(
            interface_version=self.interface_version,
            window_max=self.window_max,
            queue_max=self.queue_max,
            window_in_max=self.window_in_max,
            frame_max=self.frame_max,
            session_init_s=self.session_init_s,
            enquire_link_s=self.enquire_link_s,
            inactivity_s=self.inactivity_s,
            response_s=self.response_s,
            pdu_s=self.pdu_s,
            drain_s=self.drain_s,
            unbind_s=self.unbind_s,
        )

    def check(self, place: str = "smpp") -> None:
        """Raises ConfigError naming the key that holds no value we know."""
        known: tuple[tuple[str, bool], ...] = (
            ("role", self.role in ("mc", "esme")),
            ("bind_as", self.bind_as in _BINDS),
            ("mo_pdu", all(name in _MESSAGES for name in self.mo_pdu)),
            ("mt_pdu", self.mt_pdu in ("deliver_sm", "submit_sm")),
            ("default_alphabet", self.default_alphabet in ("gsm7", "latin1", "ascii", "gsm7-packed")),
            ("message_id_style", self.message_id_style in ("hex", "decimal")),
            ("long_messages", self.long_messages in ("udh", "sar", "payload")),
            ("interface_version", self.interface_version in (0x33, 0x34, 0x50)),
            ("name", 0 < len(self.name) <= 32),
            ("system_id", len(self.system_id) < 16),
            ("data_codings", all(map(_DATA_CODING.fullmatch, self.data_codings))),
            ("routes", all(0 < len(one) <= 11 and one.isascii() and one.isdigit() for one in self.routes)),
            ("fallback_s", 0 <= self.fallback_s <= 86_400),
            ("our_system_id", len(self.our_system_id) < 16 and self.our_system_id.isascii()),
            ("system_type", len(self.system_type) < 13 and self.system_type.isascii()),
            ("service_type", len(self.service_type) < 6 and self.service_type.isascii()),
            ("source_ton", self.source_ton in TON),
            ("source_npi", self.source_npi in NPI),
            ("destination_ton", self.destination_ton in TON),
            ("destination_npi", self.destination_npi in NPI),
            ("country_code", len(self.country_code) <= 4 and self.country_code.strip("0123456789") == ""),
        )
        for key, is_known in known:
            if not is_known:
                raise ConfigError(place, f"{self.name}.{key}", "no value we know")


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Who brought a message, and over which of its sessions."""

    name: str
    session_id: int
