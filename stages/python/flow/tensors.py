"""Files of networks: `.safetensors`, mapped into memory."""

import json
import math
from pathlib import Path
from typing import Any

from .command import Error

#: Element types as numpy names them. bfloat16 is none of its own.
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
         "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8"}


def read(path: Path) -> dict[str, Any]:
    """The tensors of a file by name: read-only arrays over a memory map of it; those of bfloat16 are converted to float32,
    which changes no value."""
    try:
        import numpy
    except ImportError as error:
        raise ImportError("a network is read with numpy: install numpy, or take `path()`") from error
    try:
        mapped = numpy.memmap(path, mode="r", dtype="u1")
        length = int(mapped[:8].view("<u8")[0])
        header = json.loads(mapped[8:8 + length].tobytes())
        header.pop("__metadata__", None)
        found = {}
        for name, tensor in header.items():
            begin, end = tensor["data_offsets"]
            shape, of_file = tuple(tensor["shape"]), tensor["dtype"]
            if of_file not in TYPES:
                raise Error(f"{path.name}: `{name}` is of the type {of_file}, which numpy does not have; take `path()` "
                            "and read it with the package safetensors")
            dtype = numpy.dtype(TYPES[of_file])
            if end - begin != math.prod(shape) * dtype.itemsize or 8 + length + end > mapped.size:
                raise ValueError(f"`{name}` does not fit the file")
            array = numpy.ndarray(shape, dtype, buffer=mapped, offset=8 + length + begin) if end > begin \
                else numpy.empty(shape, dtype)
            found[name] = (array.astype("<u4") << 16).view("<f4") if of_file == "BF16" else array
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Error(f"{path.name} is no file of safetensors: {error}") from error
    return found
