"""python -m tests.fuzz: every target for a while, one target under coverage guidance, or one input again.

    python -m tests.fuzz                          all targets, ten seconds each, plain mutation
    python -m tests.fuzz smpp-pdu --seconds 300 --guided
    python -m tests.fuzz smpp-pdu --input FILE    one input, with its traceback
    python -m tests.fuzz --long                   CPU time of inputs of 64 kB, the slowest of each target
    python -m tests.fuzz --keep                   corpora anew: fewest of corpus, seeds and var/fuzz/<target>

New examples of the guided runner and every input that failed are in var/fuzz/. Exit code 1: something was found.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

_VAR = Path(__file__).resolve().parents[2] / "var" / "fuzz"
_CORPORA_MAX = 100 * 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "tests.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("target", nargs="*", help="names of targets; none = all")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="of the plain runner; 0 = another one each time")
    parser.add_argument("--guided", action="store_true", help="by coverage (atheris)")
    parser.add_argument("--input", type=Path, help="run this file only")
    parser.add_argument("--long", action="store_true", help="CPU time of long inputs")
    parser.add_argument("--keep", action="store_true", help="write the corpora anew")
    return parser.parse_args()


def _name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _report(name: str, data: bytes, seed: str) -> None:
    """A find: its traceback, and the input in a file beside."""
    traceback.print_exc()
    path = _VAR / f"found-{name}-{_name_of(data)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"FOUND in {name} ({seed}): {data[:200]!r}\n  again: python -m tests.fuzz {name} --input {path}")


def _plain(name: str, seconds: float, seed: int) -> bool:
    """Mutants of the corpus until the time is up or something is found; whether nothing was."""
    from tests.fuzz.mutation import mutants
    from tests.fuzz.targets import TARGETS, corpus_of

    target = TARGETS[name]
    examples = [*(data for _, data in corpus_of(name)), *target.seeds()]
    end = time.monotonic() + seconds
    count = taken = 0
    for data in mutants(examples, seed):
        if time.monotonic() > end:
            break
        count += 1
        try:
            taken += target.run(data)
        except Exception:  # whatever escapes is what we look for
            _report(name, data, f"seed {seed}, input {count}")
            return False
    print(f"{name:18} {count:9,} inputs, {taken:9,} taken, seed {seed}", flush=True)
    return True


def _guided(name: str, seconds: float) -> None:
    """Hands the process over to atheris: it ends with exit code 0, or with a traceback and the input's path."""
    import atheris

    with atheris.instrument_imports(include=["aircharge"], enable_loader_override=False):
        from tests.fuzz.targets import CORPUS, TARGETS
    target = TARGETS[name]
    work, seeds = _VAR / name, _VAR / f"{name}.seeds"
    for folder in (work, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (seeds / _name_of(data)).write_bytes(data)
    kept = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
    arguments = [
        sys.argv[0], f"-max_total_time={int(seconds)}", "-max_len=1024", "-timeout=20", "-rss_limit_mb=2048",
        f"-artifact_prefix={_VAR}/found-{name}-", "-print_final_stats=1", str(work), str(seeds), *kept,
    ]  # fmt: skip

    def one(data: bytes) -> None:
        target.run(bytes(data))

    atheris.Setup(arguments, one)
    atheris.Fuzz()


def _long(name: str) -> None:
    """CPU time of the slowest input of 64 kB that is one piece repeated. For people to look at."""
    from tests.fuzz.mutation import repeated
    from tests.fuzz.targets import TARGETS, corpus_of

    target = TARGETS[name]
    slowest = (0.0, b"")
    for data in repeated([data for _, data in corpus_of(name)], 65_000):
        began = time.process_time()
        with suppress(*target.allowed):
            target.decode(data)
        slowest = max(slowest, (time.process_time() - began, data[:40]))
    print(f"{name:18} {slowest[0] * 1000:8.1f} ms  {slowest[1]!r}", flush=True)


def _keep(name: str, octets_max: int) -> None:
    from tests.fuzz.targets import CORPUS, TARGETS, corpus_of
    from tests.fuzz.trace import fewest

    target = TARGETS[name]
    examples = [*target.seeds(), *(data for _, data in corpus_of(name))]
    examples += [path.read_bytes() for path in (_VAR / name).glob("*")]
    kept = {_name_of(data): data for data in fewest(target.run, examples, octets_max)}
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()
    for file, data in kept.items():
        (folder / file).write_bytes(data)
    print(
        f"{name:18} {len(kept)} of {len(examples)} examples, {sum(map(len, kept.values()))} octets",
        flush=True,
    )


def _main() -> int:
    options = _options()
    if options.guided:
        if len(options.target) != 1:
            sys.exit("--guided wants one target")
        _guided(options.target[0], options.seconds)
        return 0
    from tests.fuzz.targets import TARGETS

    names = options.target or list(TARGETS)
    if strange := set(names) - set(TARGETS):
        sys.exit(f"no target {', '.join(sorted(strange))}; there are: {', '.join(TARGETS)}")
    if options.input:
        return 0 if TARGETS[names[0]].run(options.input.read_bytes()) is not None else 1
    if options.long:
        for name in names:
            _long(name)
        return 0
    if options.keep:
        for name in names:
            _keep(name, _CORPORA_MAX // len(TARGETS))
        return 0
    seed = options.seed or int.from_bytes(os.urandom(4), "big")
    found = [name for name in names if not _plain(name, options.seconds, seed)]
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(_main())
