"""Writes docs/configuration.md from the declarations: `python -m tests.configuration_page`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aircharge.allowed import Limit, Listed, limit_of
from aircharge.config import Config

__all__ = ["PAGE", "keys", "page"]

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
HEAD = """# Every key of the configuration

Written by `python -m tests.configuration_page` from what the code declares (`aircharge/allowed.py` and each room's
settings); a test holds it. `aircharge check-config` and the daemon's start make the same check before anything is
opened, and say every problem: file, key, value, what is allowed. An unknown key is a problem too; so is a file that
begins with a byte order mark. [examples/aircharge.toml](../examples/aircharge.toml) says what each key means.

`[]` stands for a list of tables (`[[operator]]`), `*` for a name of your own. A place to listen always names its
address: `interface=127.0.0.1` for this machine only, `interface=0.0.0.0` for every address; colons of an IPv6 address
are written `\\:`. `daemon.metrics_listen` may be on loopback only.

## What keys say of each other

- `daemon.node` and `desk_node` differ; `sms.recharge_number` and `query_number` differ; no two doors share a port.
- Peers, operators and terminals' places have names of their own; operators have ids of their own, and a number segment
  belongs to one operator. Every peer has a `system_id` (never blank), its own where several bind at one place.
- A result code has one meaning: none of `yes` is in `no`, `not_found` or `reverse_no`. 5001 (unknown) and 9001 (not
  decided yet) are no answer. `busy` is part of `no`; `no_original`, `reversed_before`, `stands` are of `reverse_no`.
- `max_fen` is not below `min_fen`, `max_s` not below `first_s`, `retry_max_s` not below `retry_first_s`,
  `manual_after_s` not below `finality_s`, `reconnect_max_s` not below `reconnect_min_s`.
- `lease.renew_s` is shorter than `ttl_s` less `quiet_s`. Older key-encryption keys have versions below `kek_version`.

## Secret files

One secret a file, mode 0600 or 0400, of the user who runs the daemon; a newline at the end does not count. Pepper and
check-code key: 32 and 16 octets or more, any octets (`aircharge init` writes hexadecimal digits). Card master: 16, 24
or 32 octets, KEK: 32, both in hexadecimal. An SMPP password: 1 to 8 ASCII characters, not blank. An operator's secret:
16 octets or more. A key whose octets repeat is refused, and so is one key in two files' places.

## Keys

| key | default | allowed |
|---|---|---|
"""


def keys(kind: type = Config, where: str = "") -> Iterator[tuple[str, type, Any, Limit | Listed | None]]:
    """Each key with its type, default (MISSING: it must be said) and what it may hold."""
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        hint, name = hints[item.name], f"{where}{item.name}"
        origin, inner = typing.get_origin(hint), hint
        if origin in (tuple, dict):
            inner = typing.get_args(hint)[0 if origin is tuple else 1]
        if dataclasses.is_dataclass(inner):
            end = {tuple: "[].", dict: ".*."}.get(origin or str, ".")
            yield from keys(typing.cast("type", inner), name + end)
        elif name != "path":
            default = item.default
            if item.default_factory is not dataclasses.MISSING:
                default = item.default_factory()
            yield name, origin or hint, default, limit_of(name, origin or hint, default)


def _shown(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "must be said"
    text = str(default).lower() if isinstance(default, bool) else repr(default).replace("'", '"')
    if isinstance(default, tuple):
        text = "[" + ", ".join(f'"{one}"' for one in default) + "]"
    return f"`{text}`"


def page() -> str:
    rows = [
        f"| `{key}` | {_shown(default)} | {(limit.words if limit else 'true, false').replace('|', chr(92) + '|')} |"
        for key, _, default, limit in keys()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
