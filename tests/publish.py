"""What the tests of the report publish, by the public format of docs/views.md alone and with nothing but Python.

python3 publish.py WHAT OUT [KEY=VALUE ...] writes the view WHAT into the folder OUT.
"""

import json
import math
import random
import struct
import sys
import zlib
from pathlib import Path

HOSTILE = {
    "html": "<b>bold</b><img src=x onerror=\"window.hostile=1\">",
    "script": "</script><script>window.hostile=1</script>",
    "quotes": "a \"b\" 'c' `d` ${window.hostile=1} \\ \\u0041 & &lt;",
    "bidi": "abc \u202egnp.exe\u202c \u05d0\u05d1\u05d2 \u2066def",
    "long": "x" * 10000,
}


def png(width, height, pixel):
    """A grey picture, by its pixels."""
    lines = b"".join(b"\0" + bytes(pixel(x, y) for x in range(width)) for y in range(height))
    chunk = lambda kind, data: (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(lines, 9))
        + chunk(b"IEND", b"")
    )


def sheet(count, columns, side=8):
    """Images of one size: each a bar whose place is its number."""
    lines = -(-count // columns)
    return png(
        columns * side,
        lines * side,
        lambda x, y: 255 if x % side == ((x // side) + (y // side)) % side else 40,
    )


def curves(epochs, level, title="Loss by epoch"):
    values = [
        {"epoch": e, "series": series, "loss": round(level * scale / math.sqrt(e), 4)}
        for series, scale in (("train", 1.0), ("validation", 1.2))
        for e in range(1, epochs + 1)
    ]
    return {
        "type": "vega-lite",
        "title": title,
        "alt": f"Training and validation loss over {epochs} epochs",
        "compare": "loss",
        "spec": {
            "data": {"values": values},
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "epoch", "type": "quantitative"},
                "y": {"field": "loss", "type": "quantitative"},
                "color": {"field": "series", "type": "nominal"},
                "tooltip": [{"field": "loss", "type": "quantitative"}],
            },
        },
    }


def points(out, count, names, seed=1):
    draw = random.Random(seed)
    label = [draw.randrange(len(names)) for _ in range(count)]
    x = [round(math.cos(l) * 10 + draw.gauss(0, 1.5), 3) for l in label]
    y = [round(math.sin(l * 2) * 10 + draw.gauss(0, 1.5), 3) for l in label]
    colour = [
        {"name": "discovered label", "kind": "category", "names": names,
         "value": [l if draw.random() > 0.03 else -1 for l in label]},
        {"name": "uncertainty", "kind": "number", "value": [round(draw.random(), 3) for _ in label]},
    ]
    content = {"row": list(range(count)), "x": x, "y": y, "colour": colour}
    (out / "points.json").write_text(json.dumps(content))
    return {"type": "points", "title": "Embedding of even", "alt": "Points in groups",
            "note": "the first two principal components of 4 dimensions", "file": "points.json"}


def data(out, rows="400", **_):
    rows = int(rows)
    (out / "sheet.png").write_bytes(sheet(rows, 50))
    return [
        {"type": "thumbnails", "sprite": "sheet.png", "size": [8, 8], "columns": 50, "row": list(range(rows))},
        {"type": "table", "title": "Images by class", "columns": ["class", "train", "test"],
         "rows": [["even", 120, 30], ["odd", 95, None], ["unsure", 7.5, 12]]},
        {"type": "text", "title": "Where from", "text": "Drawn by a program.\nNobody's handwriting."},
    ]


def train(out, level="1.0", **_):
    (out / "rates.csv").write_text("class,accuracy\neven,0.97\nodd,0.91\n")
    bars = {"type": "vega-lite", "title": "Accuracy by class", "alt": "Bars: even 0.97, odd 0.91",
            "spec": {"data": {"url": "rates.csv"}, "mark": "bar",
                     "encoding": {"x": {"field": "accuracy", "type": "quantitative"},
                                  "y": {"field": "class", "type": "nominal"}}}}
    return [curves(12, float(level)), bars]


def clusters(out, count="1500", **_):
    (out / "sheet.png").write_bytes(sheet(20, 10))
    (out / "plan.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="120" height="60"><script>parent.hostile=1</script>'
        '<rect width="120" height="60" fill="#56b4e9"/></svg>')
    groups = [{"name": f"cluster {c}", "note": f"{20 * c + 10} images, purity 0.9{c}",
               "images": [{"at": 10 * c + i, "row": 7 * i, "label": f"digit {2 * c}"} for i in range(10)]}
              for c in range(2)]
    return [
        points(out, int(count), [f"cluster {c}" for c in range(7)]),
        {"type": "gallery", "title": "Examples", "alt": "Ten images of each cluster", "sprite": "sheet.png",
         "size": [8, 8], "columns": 10, "groups": groups},
        {"type": "image", "title": "Plan", "alt": "A blue rectangle", "file": "plan.svg"},
    ]


def hostile(out, **_):
    items = []
    for name, text in HOSTILE.items():
        chart = curves(3, 1.0, text)
        chart["alt"] = text
        for value in chart["spec"]["data"]["values"]:
            value["series"] = text
        chart["spec"]["encoding"]["x"]["title"] = text
        chart["spec"]["encoding"]["href"] = {"value": "javascript:window.hostile=1"}
        items += [
            chart,
            {"type": "text", "title": text, "text": text},
            {"type": "table", "title": text, "columns": [text, "n"], "rows": [[text, 1], ["b", 2]]},
        ]
        (out / f"{name}.png").write_bytes(sheet(4, 4))
        items += [
            {"type": "image", "title": text, "alt": text, "file": f"{name}.png"},
            {"type": "gallery", "title": text, "alt": text, "sprite": f"{name}.png", "size": [8, 8], "columns": 4,
             "groups": [{"name": text, "note": text, "images": [{"at": 0, "row": 0, "label": text}]}]},
        ]
    items.append(points(out, 50, list(HOSTILE.values())))
    items[-1].update(title=HOSTILE["script"], alt=HOSTILE["quotes"], note=HOSTILE["html"])
    # What names no file of the folder, and a chart that wants to be fetched.
    items += [{"type": "text", "title": "last", "text": "end"}]
    return items


def large(out, **_):
    draw = random.Random(2)
    noise = draw.randbytes(2000 * 2000)
    (out / "noise.png").write_bytes(png(2000, 2000, lambda x, y: noise[2000 * y + x]))
    items = [{"type": "image", "title": "Noise", "alt": "Noise", "file": "noise.png"}]
    items.append(points(out, 25000, ["a", "b", "c"]))
    for copy in range(24):
        name = f"more{copy}.json"
        (out / name).write_text((out / "points.json").read_text())
        items.append({"type": "points", "title": f"More {copy}", "alt": "Points", "file": name})
    return items


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shown = globals()[what](folder, **dict(pair.split("=", 1) for pair in rest))
    (folder / "view.json").write_text(json.dumps({"view": 1, "items": shown}))
