"""Counters, gauges and histograms of this process, and their text for Prometheus (exposition format 0.0.4).

``registry.counter(...)`` is called once at start-up; what it gives is kept and incremented: an attribute
addition, no look-up, no lock (everything counts in the reactor's thread).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["Counter", "Gauge", "Histogram", "Registry"]

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds for waiting times, in seconds."""


class Counter:
    """Only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount

    def lines(self, name: str, labels: str) -> list[str]:
        return [f"{name}{_braced(labels)} {self.value}"]


class Gauge:
    """A value of now: set, or read from a function whenever somebody asks."""

    __slots__ = ("_read", "value")

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        self.value: float = 0
        self._read = read

    def set(self, value: float) -> None:
        self.value = value

    def lines(self, name: str, labels: str) -> list[str]:
        value = self._read() if self._read else self.value
        return [f"{name}{_braced(labels)} {_number(value)}"]


class Histogram:
    """Counts of values by fixed upper bounds; a value equal to a bound belongs under it."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        if not bounds or list(bounds) != sorted(set(bounds)):
            raise ValueError("bounds must be given in rising order")
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def quantile(self, share: float) -> float:
        """The bound under which ``share`` (0..1) of all values lie; 0.0 while there are none."""
        wanted, seen = share * self.count, 0
        if not wanted:
            return 0.0
        for bound, count in zip(self._bounds, self._counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return float("inf")

    def lines(self, name: str, labels: str) -> list[str]:
        seen, text = 0, []
        for bound, count in zip((*map(_number, self._bounds), "+Inf"), self._counts, strict=True):
            seen += count
            under = _braced(labels, f'le="{bound}"')
            text.append(f"{name}_bucket{under} {seen}")
        return [*text, f"{name}_sum{_braced(labels)} {self.total!r}", f"{name}_count{_braced(labels)} {seen}"]


_KINDS: Final = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
_Metric = Counter | Gauge | Histogram


class Registry:
    """All metrics of a process. The same name and labels give the same metric again."""

    def __init__(self, prefix: str = "aircharge_") -> None:
        self._prefix = prefix
        self._families: dict[str, tuple[type[_Metric], str, dict[str, _Metric]]] = {}

    def counter(self, name: str, text: str, **labels: str) -> Counter:
        metric = self._metric(name, text, labels, Counter)
        assert isinstance(metric, Counter)
        return metric

    def gauge(self, name: str, text: str, read: Callable[[], float] | None = None, **labels: str) -> Gauge:
        metric = self._metric(name, text, labels, lambda: Gauge(read))
        assert isinstance(metric, Gauge)
        return metric

    def histogram(self, name: str, text: str, bounds: Sequence[float] = SECONDS, **labels: str) -> Histogram:
        metric = self._metric(name, text, labels, lambda: Histogram(bounds))
        assert isinstance(metric, Histogram)
        return metric

    def _metric(self, name: str, text: str, labels: dict[str, str], make: Callable[[], _Metric]) -> _Metric:
        key = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(labels.items()))
        if name in self._families and key in self._families[name][2]:
            return self._families[name][2][key]
        metric = make()
        kind, _, members = self._families.setdefault(name, (type(metric), text, {}))
        if kind is not type(metric):
            raise ValueError(f"{name} is a {_KINDS[kind]} already")
        members[key] = metric
        return metric

    def exposition(self) -> str:
        """All metrics as Prometheus reads them."""
        lines: list[str] = []
        for name, (kind, text, members) in sorted(self._families.items()):
            full = self._prefix + name
            lines += [f"# HELP {full} {text}", f"# TYPE {full} {_KINDS[kind]}"]
            for labels, metric in sorted(members.items()):
                lines += metric.lines(full, labels)
        return "\n".join(lines) + "\n"


def _braced(labels: str, more: str = "") -> str:
    inside = ",".join(part for part in (labels, more) if part)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
