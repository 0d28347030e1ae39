"""A lineage as a page to look at: one HTML file that needs nothing but itself, not even a network."""

import dataclasses
import importlib.resources
from typing import Any

from pipeline import web_page
from pipeline.lineage import as_json
from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.picture import Node, picture

_SCRIPTS = ("page_layout.js", "page.js", "page_record.js")


def text(lineage: Lineage, left_out: int = 0) -> str:
    """The page. It may load nothing, and run no script but its own, whatever the store's texts say."""
    drawn = data(lineage, left_out)
    script = "".join(_file(name) for name in _SCRIPTS)
    return web_page.assemble(_file("page.html"), drawn["caption"], _file("page.css"), script, drawn)


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


def _file(name: str) -> str:
    return importlib.resources.files("pipeline.lineage").joinpath(name).read_text(encoding="utf-8")
