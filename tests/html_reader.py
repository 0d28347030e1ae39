"""Pages as a program reads them."""

import html.parser
import json
from typing import Any


class Reader(html.parser.HTMLParser):
    """Tags with their attributes, and the text right behind each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")
        self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(found, text) for (name, found), text in zip(self.tags, self.texts, strict=True) if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        (text,) = (text for found, text in self.of("script") if found.get("id") == "data")
        loaded: dict[str, Any] = json.loads(text)
        return loaded
