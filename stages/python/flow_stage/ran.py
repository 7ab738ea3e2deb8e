"""What code a stage ran, so that the engine can compare it with the plugin's version."""

import os
import site
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Files of Python code that were opened or run since this module was loaded: what `exec` runs is in no `sys.modules`.
_ran: set[str | None] = set()
_began = time.time()


def _audit(event: str, arguments: tuple[Any, ...], ran: Callable[[str | None], None] = _ran.add) -> None:
    # It hears of much else, and whatever it raises would be raised there.
    if event == "open":
        path = arguments[0]
        if isinstance(path, str) and path.endswith(".py"):
            ran(path)
    elif event == "exec":
        ran(getattr(arguments[0], "co_filename", None))


sys.addaudithook(_audit)


def own_code(work: Path) -> list[str]:
    """The files of code that ran in this process and belong neither to Python nor to an installed package, sorted. Code
    that the stage made itself is none of them: what lies in its work folder, in the user's cache, in that of a compiler, or
    is younger than this process."""
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")] + site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folders += [str(work), cache]
    # Where torch.compile keeps what it wrote.
    inductor = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    folders.append(inductor or os.path.join(tempfile.gettempdir(), "torchinductor_"))
    known = tuple(os.path.realpath(folder) + os.sep for folder in folders[:-1])
    known += (os.path.realpath(folders[-1]) + (os.sep if inductor else ""),)
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    found = set()
    for file in {*loaded, *_ran}:
        try:
            if isinstance(file, str) and os.path.isfile(file) and os.stat(file).st_ctime < _began:
                if not os.path.realpath(file).startswith(known):
                    found.add(os.path.abspath(file))
        except (OSError, ValueError):
            continue
    return sorted(found)
