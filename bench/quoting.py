"""Any text as a value in a spec: what the grammar of ``bench.spec`` keeps for itself is written ``%`` and two digits.

``prompts=a%2C b`` is the text ``a, b``. Commas and square brackets, ``%``, control characters and blanks at the ends
are quoted, nothing else, so that most values read as they are. The empty text is ``%00``.
"""

from __future__ import annotations

import re
from urllib.parse import unquote as _unquote

EMPTY = "%00"
_RESERVED = re.compile(r"[,\[\]\x00-\x1f\x7f]|^\s+|\s+$")


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def quote(text: str) -> str:
    """A text as it may stand in a spec; ``unquote`` gives it back."""
    return protect(text.replace("%", "%25")) if text else EMPTY


def protect(text: str) -> str:
    """A text that may be quoted already: ``%`` stays, everything else that a spec cannot hold is quoted."""
    return _RESERVED.sub(_escape, text)


def unquote(text: str) -> str:
    """The text behind a value of a spec."""
    return "" if text == EMPTY else _unquote(text)
