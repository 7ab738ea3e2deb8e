"""Stage kinds of flow in Python, without dependencies, Python 3.10 or later. A kind is a function:

    #!/usr/bin/env python3
    from typing import Annotated

    from flow_stage import Array, Range, main, stage

    @stage
    def scale(features: Array, factor: Annotated[float, Range(0)] = 2.0) -> Array:
        '''Multiplies an array by a factor.

        features: The array, [n, d].
        factor: What each value is multiplied by.
        returns: The product, [n, d].
        '''
        return features * factor

    if __name__ == "__main__":
        main()

Save that as the executable `flow-stages-mine`; `docs/protocol.md` describes what goes over the wire.
"""

# First of all: it listens for code that runs.
from . import ran as _ran  # noqa: F401, I001
from .artifacts import Array, Dataset, File, Folder, Labels, Mask, Metrics, Model, Output, Table
from .context import Context, Failed
from .hints import Range
from .plugin import PROTOCOL, Plugin, main, stage
from .view import View

__all__ = ["PROTOCOL", "Array", "Context", "Dataset", "Failed", "File", "Folder", "Labels", "Mask", "Metrics", "Model",
           "Output", "Plugin", "Range", "Table", "View", "main", "stage"]
