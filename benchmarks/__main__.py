"""``make bench``: the parts, then the whole, each beside a baseline of the same run."""

from __future__ import annotations

import subprocess
import sys

PARTS = (
    "smpp_codec",
    "smpp_session",
    "ota",
    "operator_codec",
    "ledger",
    "scale",
    "policy",
    "verify",
    "stages",
    "recharge",
    "pos",
    "overload",
)


def main() -> int:
    for part in PARTS:
        print(f"\n== {part}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{part}", *sys.argv[1:]], check=False)
        if done.returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
