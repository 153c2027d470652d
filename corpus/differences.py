"""What differs between what a folder was made with and what is asked now: one line per key, deepest first seen."""

from __future__ import annotations

import json
from typing import Any


def differences(there: Any, here: Any, where: str = "") -> list[str]:
    """`<where.key>: there 1.0, asked 2.0` for each value that differs; lists are compared place by place."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = dict.fromkeys([*there, *here])
        return [line for key in keys for line in differences(there.get(key), here.get(key), _under(where, key))]
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = enumerate(zip(there, here, strict=True))
        return [line for at, (old, new) in pairs for line in differences(old, new, _under(where, at))]
    return [] if there == here else [f"{where}: there {_shown(there)}, asked {_shown(here)}"]


def _under(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
