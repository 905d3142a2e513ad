"""Numbers of the POS door (section ``[pos]`` of the configuration)."""

from __future__ import annotations

from dataclasses import dataclass

from aircharge.wire.fsk_profiles import PROFILES as FSK_PROFILES
from aircharge.wire.iso8583.crypto import MACS
from aircharge.wire.iso8583.profile import PROFILES

__all__ = ["PosSettings"]


@dataclass(frozen=True, slots=True)
class PosSettings:
    """How terminals are answered."""

    service: str = "0353911"  # the number that SMS about a terminal's orders come from
    answer_s: float = 25.0  # what is not known by then is not answered: the terminal takes it back
    session_s: float = 86_400.0  # working keys are good so long; then the terminal must sign in again
    profile: str = "cup"  # how messages are packed: cup, bcd, cup-aes or ascii
    fsk_profile: str = "2001"  # fixed-line terminals' own message: 2001, or flow (the older variant)
    mac: str = "cup-ecb"  # cup-ecb, cup-ecb-des, x9.9, x9.19 or aes-cmac
    key_octets: int = 16  # the PIN key of a session: 8 (DES) or 16 (3DES)
    mak_octets: int = 16  # its MAC key; stock Q/CUP 007 terminals want 8
    pin_needed: bool = False  # every sale wants the outlet's service PIN; else its own policy
    check_caller: bool = True  # a dialled-in terminal must call from a number bound to its outlet
    reversals_alarm: int = 5  # automatic reversals of an outlet on one day that raise an alarm; 0: none
    upload_max: int = 5000  # lines of one batch that are kept while a terminal uploads them
    parameters_version: int = 1
    parameters: tuple[str, ...] = ()  # lines a terminal downloads
    terminals_max: int = 50_000  # terminals whose keys are kept ready

    @property
    def parameter_lines(self) -> tuple[str, ...]:
        """What is downloaded: the version, then the lines."""
        return (f"VERSION={self.parameters_version}", *self.parameters)

    def __post_init__(self) -> None:
        if self.key_octets not in (8, 16) or self.mak_octets not in (8, self.key_octets):
            raise ValueError("key_octets: 8 or 16; mak_octets: 8 or as many")
        if self.profile not in PROFILES or self.mac not in MACS:
            raise ValueError(f"profile: one of {', '.join(PROFILES)}; mac: one of {', '.join(MACS)}")
        if self.fsk_profile not in FSK_PROFILES:
            raise ValueError(f"fsk_profile: one of {', '.join(FSK_PROFILES)}")
        if self.mac in ("x9.19", "aes-cmac") and self.mak_octets != 16:
            raise ValueError(f"mak_octets: {self.mac} wants 16")
        if self.profile == "cup-aes" and self.key_octets != 16:
            raise ValueError("key_octets: cup-aes wants 16")
        if self.reversals_alarm < 0:
            raise ValueError("reversals_alarm: 0 or more")
        if not (self.answer_s > 0 and self.session_s > 0):
            raise ValueError("answer_s and session_s: more than 0")
