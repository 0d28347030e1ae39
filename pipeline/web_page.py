"""A page of one HTML file that needs nothing but itself, not even a network, and runs no script but its own."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def assemble(
    template: str, title: str, style: str, script: str, data: Any, parts: Mapping[str, str] | None = None
) -> str:
    """Fills the template's `{{places}}`: `title`, `policy`, `style`, `script`, `data`, and those of `parts`.

    Args:
      template: its text.
      title: plain text.
      style: the one style sheet that the page may use.
      script: the one script that it may run.
      data: embedded as JSON for the script.
      parts: markup by place.
    """
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'"
    known = {"title": html.escape(title), "policy": policy, "style": style, "script": script, "data": _embedded(data)}
    filled = {**known, **(parts or {})}
    return _PLACE.sub(lambda place: filled[place[1]], template)


def _embedded(value: Any) -> str:
    """JSON that may stand in a page: it ends no script, and begins no markup."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    """A source of a content security policy: this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
