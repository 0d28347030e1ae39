"""A lineage as a page to look at: one HTML file that needs nothing but itself, not even a network."""

import base64
import dataclasses
import hashlib
import html
import importlib.resources
import json
import re
from typing import Any

from pipeline.lineage import as_json
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.picture import Node, picture

_SCRIPTS = ("page_layout.js", "page.js", "page_record.js")
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def text(lineage: Lineage, left_out: int = 0) -> str:
    """The page. It may load nothing, and run no script but its own, whatever the store's texts say."""
    style, script = _file("page.css"), "".join(_file(name) for name in _SCRIPTS)
    drawn = data(lineage, left_out)
    parts = {
        "title": html.escape(drawn["caption"]),
        "policy": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'",
        "style": style,
        "script": script,
        "data": _embedded(drawn),
    }
    return _PLACE.sub(lambda place: parts[place[1]], _file("page.html"))


def data(lineage: Lineage, left_out: int = 0) -> dict[str, Any]:
    """What the page draws from: nodes with their records as `as_json` has them, and edges."""
    drawn = picture(lineage, left_out)
    document = as_json.document(lineage)
    records = {f"a{record['id']}": record for record in document["artifacts"]}
    records |= {f"e{record['id']}": record for record in document["executions"]}
    return {
        "caption": drawn.caption,
        "direction": lineage.direction,
        "start": [*(f"a{id_}" for id_ in lineage.start), *(f"e{id_}" for id_ in lineage.starting)],
        "nodes": [_node(node, records) for node in drawn.nodes],
        "edges": [dataclasses.asdict(edge) for edge in drawn.edges],
        "totals": document["totals"],
        "hidden_resolvers": drawn.hidden_resolvers,
    }


def _node(node: Node, records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    source = node.source
    of_file = {"path": source.path, "digest": source.digest or "not recorded", "size": source.size} if source else {}
    return {
        "id": node.id,
        "kind": node.kind,
        "look": node.look,
        "lines": list(node.lines),
        "run": node.run,
        "record": records.get(node.id, of_file),
    }


def _embedded(value: Any) -> str:
    """JSON that may stand in a page: it ends no script, and begins no markup."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    """A source of a content security policy: this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return importlib.resources.files("pipeline.lineage").joinpath(name).read_text(encoding="utf-8")
