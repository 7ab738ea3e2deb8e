"""What a stage shows people."""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class View:
    """What a stage shows people: the output of type `view`, a folder. `docs/views.md` has the items.

        with flow_stage.View(context.outputs["view"]) as view:
            view.text("What was done", "Each column by itself.")
            view.table("Columns", ["column", "mean"], [[0, 0.5], [1, None]])
            view.chart("Means", "the mean of each column", {"mark": "bar", "data": {"values": […]}, "encoding": {…}})
            view.image("Sketch", "a histogram of column 0", "sketch.png")

    It is written when the block ends well. It needs no plugin: a `run` stage may use it too. An argument of a stage with
    the hint `View` is one, written when the stage ends well.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)  #: files that items name are written here
        self._items: list[dict[str, Any]] = []

    def __enter__(self) -> "View":
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.write()

    def text(self, title: str, text: str) -> None:
        """A paragraph of plain text."""
        self.add("text", title=title, text=text)

    def table(self, title: str, columns: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
        """A table; cells are strings, numbers, true, false, or None for an empty one."""
        self.add("table", title=title, columns=[str(column) for column in columns], rows=[list(row) for row in rows])

    def chart(self, title: str, alt: str, spec: dict[str, Any], compare: str | None = None) -> None:
        """A chart by its Vega-Lite spec. `alt` says what it shows to who can't see it. Charts of several instances that
        share the name `compare` are laid over each other too."""
        self.add("vega-lite", title=title, alt=alt, spec=spec, **({} if compare is None else {"compare": compare}))

    def image(self, title: str, alt: str, file: str | os.PathLike[str]) -> None:
        """A PNG, JPEG or SVG file in `folder`, by its name there."""
        self.add("image", title=title, alt=alt, file=str(file))

    def add(self, type: str, **item: Any) -> None:
        """Any item, by its fields; NaN and infinity, which JSON does not have, become empty."""
        self._items.append(finite({"type": type, **item}))

    def write(self) -> None:
        """Writes `view.json`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"view": 1, "items": self._items}, ensure_ascii=False, allow_nan=False)
        (self.folder / "view.json").write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """A value with None in the place of NaN and infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
