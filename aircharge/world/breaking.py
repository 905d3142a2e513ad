"""What breaks in a world, a verb a kind of step: crashes, lines, the disk, the clock, the peers."""

from __future__ import annotations

from aircharge.simulators.operator import OperatorPlatform
from aircharge.simulators.sms_centre import SmsCentre
from aircharge.world.base import OPERATOR_PORT, SMPP_PORT
from aircharge.world.disk import Disk
from aircharge.world.network import Network, Weather
from aircharge.world.plan import POS_PORTS, Step
from aircharge.world.timeline import Host, Timeline

__all__ = ["Breaking"]


class Breaking:
    """The half of a world that breaks it."""

    timeline: Timeline
    network: Network
    disk: Disk
    operator: OperatorPlatform
    centre: SmsCentre
    operator_host: Host
    _offset_ms: int
    _down_s: float

    def met(self, fault: str) -> None:
        """A fault has happened."""
        raise NotImplementedError

    def start_daemon(self, node: int = 1) -> Host:
        """Another life of the daemon."""
        raise NotImplementedError

    def _living(self) -> list[Host]:
        raise NotImplementedError

    def _do_crash(self, step: Step) -> None:
        self._down_s = step.about["down_s"]
        for host in self._living():
            self.met("crash")
            host.die(silent=step.about["silent"])

    def _do_crash_before(self, step: Step) -> None:
        self._down_s = step.about["down_s"]
        self.disk.later(step.about["commits"], "crash_before")

    def _do_crash_after(self, step: Step) -> None:
        self._down_s = step.about["down_s"]
        self.disk.later(step.about["commits"], "crash_after")

    def _do_fail(self, step: Step) -> None:
        self.disk.later(step.about["commits"], "fail")

    def _do_unknown(self, step: Step) -> None:
        self.disk.later(step.about["commits"], "unknown")

    def _do_pause(self, step: Step) -> None:
        for host in self._living():
            self.met("pause")
            host.sleep(self.timeline.now_s + step.about["for_s"])

    def _do_standby(self, step: Step) -> None:
        """The daemon stands still for longer than its lease, and another takes its place; then it wakes."""
        living = self._living()
        if len(living) != 1:
            return
        self.met("standby")
        living[0].sleep(self.timeline.now_s + 14.0)
        self.timeline.at(self.operator_host, self.timeline.now_s + step.about["down_s"], self._stand_by)

    def _stand_by(self) -> None:
        if len(self._living()) == 1:
            node = 2 if self._living()[0].name.startswith("daemon.1") else 1
            self.start_daemon(node)

    def _do_stop(self, step: Step) -> None:
        for host in self._living():
            self.met("orderly stop")
            host.callLater(0.0, host.stop)

    def _cut(self, port: int, name: str) -> None:
        for connection in self.network.between(port):
            self.met(f"cut {name}")
            connection.cut()

    def _do_cut_operator(self, step: Step) -> None:
        self._cut(OPERATOR_PORT, "operator")

    def _do_cut_centre(self, step: Step) -> None:
        self._cut(SMPP_PORT, "centre")

    def _deafen(self, port: int, name: str) -> None:
        for connection in self.network.between(port):
            self.met(f"half-open {name}")
            connection.is_deaf = True

    def _do_deaf_operator(self, step: Step) -> None:
        self._deafen(OPERATOR_PORT, "operator")

    def _do_cut_tills(self, step: Step) -> None:
        for port in POS_PORTS.values():
            self._cut(port, "tills")

    def _do_deaf_tills(self, step: Step) -> None:
        for port in POS_PORTS.values():
            self._deafen(port, "tills")

    def _do_deaf_centre(self, step: Step) -> None:
        self._deafen(SMPP_PORT, "centre")

    def _for_a_while(self, step: Step, weather: Weather) -> None:
        self.met(step.kind)
        self.network.weather = weather
        self.timeline.at(self.operator_host, self.timeline.now_s + step.about["for_s"], self._fair)

    def _fair(self) -> None:
        self.network.weather = Weather()

    def _do_slow(self, step: Step) -> None:
        self._for_a_while(step, Weather(0.2, 2.5))

    def _do_pieces(self, step: Step) -> None:
        self._for_a_while(step, Weather(split=0.6, octets=0.4))

    def _do_full(self, step: Step) -> None:
        self.met("disk full")
        self.disk.is_full = True
        self.timeline.at(self.operator_host, self.timeline.now_s + step.about["for_s"], self._empty)

    def _empty(self) -> None:
        self.disk.is_full = False

    def _do_broken(self, step: Step) -> None:
        self.met("disk broken")
        self._down_s = step.about["down_s"]
        self.disk.is_broken = True

    def _do_clock(self, step: Step) -> None:
        self.met("clock jump")
        self._offset_ms += step.about["by_s"] * 1000

    def _do_drop_responses(self, step: Step) -> None:
        self.met("answers lost")
        self.centre.postman.responses_to_drop = step.about["n"]

    def _do_refuse_texts(self, step: Step) -> None:
        self.met("texts refused")
        self.centre._mt_refusals = [0x58] * step.about["n"]

    def _do_freeze(self, step: Step) -> None:
        for line in list(self.operator.lines):
            self.met("operator freezes")
            line.freeze()
