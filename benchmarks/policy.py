"""CPU of finding an order's limits, beside a walk over all of them (the way it was), for more and more limits.

python -m benchmarks.policy [--seconds 1]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from aircharge.ledger.chart import PERIOD_DAY, SUBJECT_OUTLET
from aircharge.ledger.policy import LimitRule, Policy
from aircharge.values import Operation

COUNTS = (10, 1_000, 40_000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    seconds = parser.parse_args().seconds
    operation = int(Operation.RECHARGE)
    for count in COUNTS:
        rules = tuple(
            LimitRule(n, SUBJECT_OUTLET, str(n), "", operation, PERIOD_DAY, 100, None, None)
            for n in range(1, count + 1)
        )
        policy = Policy(limits=rules)
        asked = str(count)

        def walk(rules: tuple[LimitRule, ...] = rules, asked: str = asked) -> list[LimitRule]:
            return [rule for rule in rules if rule.operation == operation and rule.value in ("", asked)]

        def by_key(policy: Policy = policy, asked: str = asked) -> list[LimitRule]:
            return policy.limits_on(operation, ((SUBJECT_OUTLET, asked),), "standard")

        assert walk() == by_key()
        print(
            f"{count:>6} limits: by key {_cpu_us(by_key, seconds):9.2f} µs CPU an order,"
            f" a walk over all {_cpu_us(walk, seconds):9.2f} µs"
        )
    return 0


def _cpu_us(act: Callable[[], object], seconds: float) -> float:
    """CPU time of one call in µs, over so many seconds."""
    calls = 0
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        for _ in range(10):
            act()
        calls += 10
    return spent / calls * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
