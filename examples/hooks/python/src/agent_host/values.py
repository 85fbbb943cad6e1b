"""Text and JSON, as they can be given to the host.

The bindings check nothing and raise nothing: a value of a wrong type ends the instance. So all that
this package passes to them goes through here.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

# Whatever `json` reads and writes. It is `Any` since types that know more are in everybody's way.
Json: TypeAlias = Any


def passable(text: str) -> str:
    """The text with `?` for halves of surrogate pairs, which JSON can have and UTF-8 cannot."""
    if not isinstance(text, str):
        raise TypeError(f"text is expected, and not {type(text).__name__}")
    return text.encode("utf-8", "replace").decode("utf-8")


def from_json(text: str) -> Json:
    return json.loads(text)


def to_json(value: Json) -> str:
    """JSON as text. NaN and infinities, which Python would write, are none."""
    return passable(json.dumps(value, ensure_ascii=False, allow_nan=False))
