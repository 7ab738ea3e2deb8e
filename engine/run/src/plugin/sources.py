# Prints, as JSON, what a plugin in Python is made of: its file and the modules that it imports from its own folder or
# below, what would stand in their place were it there, and the interpreter.
#
# Nothing of the plugin is run. Modules are read by the interpreter that runs them, with the grammar that it has, and
# found by its own finders. An import that only shows when it is executed is not seen here: the check after each run is
# for those.
import ast
import json
import os
import platform
import site
import sys
from importlib import machinery, util

LOADERS = [
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
]


class Sources:
    def __init__(self, program):
        self.folder = os.path.dirname(program)
        self.modules = {}
        self.files = {program}
        self.absent = set()
        self.unread = [("__main__", False, program)]

    def add(self, path):
        self.files.add(path)
        # Python takes bytecode for that of a source of the same second and size. Older than its source it is of another one,
        # and would be run in its place.
        try:
            cached = util.cache_from_source(path)
            if os.stat(cached).st_mtime_ns <= os.stat(path).st_mtime_ns:
                os.remove(cached)
        except (OSError, NotImplementedError):
            pass

    def find(self, name):
        """The folders in which submodules of a module lie; none where it is not one of the plugin's own."""
        if name in self.modules:
            return self.modules[name]
        self.modules[name] = []
        parent, _, last = name.rpartition(".")
        for place in self.find(parent) if parent else [self.folder]:
            stem = os.path.join(place, last)
            spec = machinery.FileFinder(place, *LOADERS).find_spec(name)
            origin = spec and spec.loader and spec.origin
            # What would be taken in its place, or where nothing is.
            ahead = [os.path.join(stem, "__init__.py") if os.path.isdir(stem) else stem, stem + ".py"]
            self.absent.update(path for path in ahead if not os.path.lexists(path))
            if spec is None:
                continue
            locations = [os.path.abspath(path) for path in spec.submodule_search_locations or []]
            self.modules[name] = locations
            if origin:
                origin = os.path.abspath(origin)
                self.add(origin)
                if origin.endswith(".py"):
                    self.unread.append((name, bool(locations), origin))
            break
        return self.modules[name]

    def read(self):
        while self.unread:
            name, is_package, path = self.unread.pop()
            try:
                with open(path, "rb") as file:
                    tree = ast.parse(file.read())
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # Its content counts all the same; who imports it hears what is wrong.
            package = name.split(".") if is_package else name.split(".")[:-1]
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        self.find(alias.name)
                elif isinstance(node, ast.ImportFrom):
                    self.read_from(package, node)

    def read_from(self, package, node):
        above = package[: len(package) - (node.level - 1)] if node.level else []
        base = ".".join([*above, *filter(None, [node.module])])
        if not base:
            return
        places = self.find(base)
        for alias in node.names:
            if alias.name != "*":
                self.find(f"{base}.{alias.name}")
                continue
            # Which of them `__all__` names is known when it is run.
            for place in places:
                for entry in sorted(os.listdir(place)):
                    module = entry.split(".")[0]
                    if module.isidentifier() and module != "__init__":
                        self.find(f"{base}.{module}")


def main(program):
    sources = Sources(os.path.abspath(program))
    sources.read()
    report = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "files": sorted(sources.files),
        "absent": sorted(sources.absent),
        "executable": os.path.realpath(sys.executable),
        "site": site.getsitepackages(),
        "venv": sys.prefix if sys.prefix != sys.base_prefix else None,
    }
    print(json.dumps(report))


main(sys.argv[1])
