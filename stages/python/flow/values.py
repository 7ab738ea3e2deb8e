"""Values as flow reads them on its command line, and as it writes them in the names of instances."""

import json
import math
import os
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def toml(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, os.PathLike)):
        # Of what JSON leaves as it is, TOML's strings must not hold this one.
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        items = (f"{toml(str(name))} = {toml(item)}" for name, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if hasattr(value, "tolist"):
        # A number or an array of numpy's.
        return toml(value.tolist())
    raise TypeError(f"flow takes no value of the type {type(value).__name__}: {value!r}; give a bool, a number, a "
                    "string, a list or a dict")


def plain(value: Any) -> str:
    """A value as it stands in the name of an instance: `fine[keep=0.8]`."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        text = repr(value)
        if "e-" not in text:
            return text
        # Python writes 1e-05 and 1e-06 where flow writes 0.00001 and 1e-6.
        mantissa, exponent = text.split("e")
        return format(Decimal(text), "f") if int(exponent) == -5 else f"{mantissa}e{int(exponent)}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_item(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_item(str(name))}:{_item(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


def _item(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else plain(value)


def label(stage: str, instance: Mapping[str, Any]) -> str:
    """The name of an instance of a stage."""
    if not instance:
        return stage
    return f"{stage}[{','.join(f'{axis}={plain(value)}' for axis, value in instance.items())}]"
