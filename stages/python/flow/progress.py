"""How far a run is, for people: a picture that changes in a notebook, a line that changes on a terminal, lines elsewhere."""

import html
import importlib
import shutil
import sys
import time
from typing import Any

from .command import Line
from .values import label

#: Seconds between two pictures: more often nobody can read.
INTERVAL = 0.2


class Progress:
    """Shows the events that it hears."""

    def __init__(self) -> None:
        self._wanted = 0
        self._done: list[tuple[str, str, float]] = []
        self._running: dict[str, str] = {}
        self._note = ""
        self._shown, self._stale = 0.0, False
        self._display: Any = None
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        if _in_notebook():
            shown: Any = importlib.import_module("IPython.display")
            self._html = shown.HTML
            self._display = shown.display(shown.HTML(""), display_id=True)

    def hear(self, event: Line) -> None:
        """Takes one event in."""
        kind = event["event"]
        if kind == "start":
            self._wanted = event["stages"]
        elif kind == "execute":
            self._running[event["label"]] = ""
        elif kind == "waiting":
            self._running[event["label"]] = f"waits for {event['holder']}"
        elif kind == "progress":
            total = f"/{event['total']}" if event["total"] else ""
            message = f", {event['message']}" if event["message"] else ""
            self._running[event["label"]] = f"{event['unit']} {event['done']}{total}{message}"
        elif kind == "warning":
            self._line(f"warning: {event['label'] + ': ' if event.get('label') else ''}{event['message']}")
        elif kind == "stage":
            name = label(event["stage"], event["instance"])
            self._running.pop(name, None)
            self._done.append((name, event["status"], event["seconds"]))
            if event["status"] != "cached":
                self._line(f"{event['status']:<9} {name:<28} {event['seconds']:8.1f} s")
        elif kind == "run":
            self._running.clear()
        self._stale = True
        if time.monotonic() - self._shown > INTERVAL:
            self._show()

    def pause(self) -> None:
        """Shows what came since the last picture: for now nothing comes."""
        if self._stale:
            self._show()

    def interrupt(self) -> None:
        """Says that it is about to end."""
        self._note = "interrupting; once more: without waiting"
        self._show()

    def end(self) -> None:
        """Shows the last state."""
        self._note = ""
        self._show()
        if self._is_terminal and self._display is None:
            print(file=sys.stderr, flush=True)

    def _summary(self) -> str:
        counts: dict[str, int] = {}
        for _, status, _ in self._done:
            counts[status] = counts.get(status, 0) + 1
        words = [f"{count} {status}" for status, count in counts.items()]
        return f"{len(self._done)}/{max(self._wanted, len(self._done))} stages" + "".join(f", {word}" for word in words)

    def _show(self) -> None:
        self._shown, self._stale = time.monotonic(), False
        if self._display is not None:
            rows = [f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>"
                    for name, text in self._running.items()]
            note = f" <em>{html.escape(self._note)}</em>" if self._note else ""
            bar = f"<progress value='{len(self._done)}' max='{max(self._wanted, len(self._done), 1)}'></progress>"
            self._display.update(self._html(f"<div>{bar} {html.escape(self._summary())}{note}</div>"
                                            f"<table>{''.join(rows)}</table>"))
        elif self._is_terminal:
            running = [f"{name} {text}".strip() for name, text in self._running.items()]
            text = _printable("; ".join(filter(None, [self._summary(), self._note, *running])))
            # Where a terminal does not tell its width, Python 3.10 says 0.
            width = (shutil.get_terminal_size().columns or 80) - 1
            print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        if self._display is None:
            clear = "\r\x1b[K" if self._is_terminal else ""
            print(f"{clear}{_printable(text)}", file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _in_notebook() -> bool:
    module: Any = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")
