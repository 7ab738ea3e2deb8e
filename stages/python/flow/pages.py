"""What is shown in a notebook: lists and pictures as HTML. All text is escaped, and pictures can't run scripts."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .command import Line
from .values import label


def label_of(line: Line) -> str:
    """The instance that a line of `--json` is about."""
    return label(line["stage"], line["instance"])


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p style='white-space:pre-wrap'>{html.escape(text)}</p>"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of plain texts."""
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(_text(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table class='dataframe'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def image(content: bytes, kind: str, alt: str) -> str:
    """A picture. Scripts in an SVG don't run there, and it loads nothing."""
    data = base64.b64encode(content).decode()
    return f"<img style='max-width:100%' alt=\"{html.escape(alt)}\" src='data:image/{kind};base64,{data}'>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= 200 else text[:199] + "…"


class Status(list[Line]):
    """How each stage stands: a list of the objects of `flow status --json`."""

    def _repr_html_(self) -> str:
        rows = [[label_of(line), line["status"], line.get("failure") or line["reason"]] for line in self]
        return table(["stage", "status", "why"], rows)


class Graph:
    """The DAG: `text` for people, `svg` as a picture."""

    def __init__(self, text: str, svg: str):
        self.text, self.svg = text, svg

    def __repr__(self) -> str:
        return self.text.rstrip()

    def _repr_html_(self) -> str:
        return image(self.svg.encode(), "svg+xml", self.text)


class Origin(list[Line]):
    """How a result came to be: a list of the objects of `flow show --json`, the result's stage first."""

    def __repr__(self) -> str:
        return "\n".join(f"{line['label']}: {line['manifest'].get('kind') or 'run'} "
                         f"({', '.join(self._sources(line)) or 'no inputs'}), {line['finished']}" for line in self)

    def _repr_html_(self) -> str:
        rows = []
        for line in self:
            provenance = line["provenance"]
            parameters = line["manifest"].get("parameters") or {}
            made = f"{line['finished']}, {line['seconds']:.1f} s, {provenance.get('threads')} thread(s), " \
                   f"{provenance.get('host')}, run {provenance.get('run')}"
            rows.append([line["label"], line["manifest"].get("kind") or "run",
                         ", ".join(f"{name} = {_short(value)}" for name, value in parameters.items()),
                         ", ".join(self._sources(line)), made, provenance.get("plugin") or "", line["key"][:12]])
        return table(["stage", "kind", "parameters", "inputs", "made", "by", "key"], rows)

    @staticmethod
    def _sources(line: Line) -> list[str]:
        return [f"{role} = {source.get('path') or '.'.join([source['stage'], source['output']])}"
                for role, sources in line["inputs"].items() for source in sources]


class Comparison:
    """How two runs or workflows differ: `params`, `stages` (those that differ), `same` (how many do not), `without` (stages
    that neither has a result of); the objects of `flow compare --json`."""

    def __init__(self, lines: list[Line]):
        begin, *stages, end = lines
        self.a: str = begin["a"]["name"]
        self.b: str = begin["b"]["name"]
        self.params: list[Line] = begin["params"]
        self.stages: list[Line] = stages
        self.same: int = end["same"]
        self.without: list[str] = end["without"]

    def __repr__(self) -> str:
        changed = [f"{line['name']} {_text(line['a'])} → {_text(line['b'])}" for line in self.params]
        return f"<{', '.join(changed) or 'the same params'}; {len(self.stages)} stages differ, {self.same} the same>"

    def metrics(self) -> list[Line]:
        """The figures that differ: `stage`, `name`, `a`, `b`; `pandas.DataFrame` takes them."""
        return [{"stage": line["stage"], **metric} for line in self.stages for metric in line["metrics"]]

    def _repr_html_(self) -> str:
        rows = [["", line["name"], _short(line["a"]), _short(line["b"])] for line in self.params]
        for line in self.stages:
            for part in [*line["parts"], *line["metrics"]]:
                rows.append([line["stage"], part["name"], _short(part["a"]), _short(part["b"])])
            for output in line["outputs"]:
                sides = [(output[side] or {}).get("digest", "")[:12] for side in ("a", "b")]
                rows.append([line["stage"], f"output {output['role']}", *sides])
        return paragraph(repr(self).strip("<>")) + table(["stage", "what", self.a, self.b], rows)


class View:
    """What a stage shows: `items` as in `view.json`, and flow's drawings of its charts and pictures, `figures`: the
    item's number to the paths of pictures."""

    def __init__(self, items: list[Line], label: str, folder: Path):
        self.items = items
        self.figures: dict[int, list[Path]] = {}
        # LABEL-NUMBER-TITLE, where a label with odd characters has others in their place, and ends with a digest.
        is_plain = re.fullmatch(r"[-A-Za-z0-9_=.,\[\]]{,120}", label)
        length = len(label) if is_plain else min(len(label), 120) + 9
        for path in sorted(folder.glob("*.png")):
            number = re.match(r"-(\d+)-", path.name[length:])
            if number:
                self.figures.setdefault(int(number[1]), []).append(path)

    def __repr__(self) -> str:
        return "\n".join(f"{item['type']}: {item.get('title', '')}" for item in self.items)

    def _repr_html_(self) -> str:
        return "".join(self._item(number, item) for number, item in enumerate(self.items, 1))

    def _item(self, number: int, item: Line) -> str:
        if item["type"] == "thumbnails":
            return ""
        title = f"<h4>{html.escape(str(item.get('title', '')))}</h4>"
        if item["type"] == "text":
            return title + paragraph(item["text"])
        if item["type"] == "table":
            return title + table(item["columns"], item["rows"])
        alt = str(item.get("alt", ""))
        drawn = [image(path.read_bytes(), "png", alt) for path in self.figures.get(number, [])]
        return title + ("".join(drawn) or paragraph(f"(not drawn here; `flow report` shows it) {alt}"))
