"""Artifacts as arguments and results of a stage's function: hints, and how files become values and values files."""

import csv
import importlib
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from .context import Failed
from .view import finite

#: The artifact types of inputs and outputs.
ARTIFACTS = ("array", "labels", "mask", "model", "metrics", "table", "dataset", "view", "file", "folder")
#: Those that a function may return.
RETURNED = ("array", "labels", "mask", "model", "metrics", "table")


class Input:
    """The mark of the hints below."""

    def __init__(self, type: str) -> None:
        self.type = type


class Output:
    """The hint of an argument that is a path to write an output to: `network: Annotated[Path, Output("model")]`."""

    def __init__(self, type: str) -> None:
        if type not in ARTIFACTS:
            raise TypeError(f"Output({type!r}): the artifact types are {', '.join(ARTIFACTS)}")
        self.type = type


Array = Annotated[Any, Input("array")]  #: a numpy array of floats, a row a sample; NaN in a row that was left out
Labels = Annotated[Any, Input("labels")]  #: a numpy array of integers, [n]; -1 in a row that was left out
Mask = Annotated[Any, Input("mask")]  #: a numpy array of booleans, [n]
Metrics = Annotated[dict[str, Any], Input("metrics")]  #: numbers by name
Table = Annotated[Any, Input("table")]  #: taken: the path of a .csv; returned: a DataFrame, or a list of dicts
Model = Annotated[Any, Input("model")]  #: taken: the path of a .safetensors; returned: a state dict
Dataset = Annotated[Path, Input("dataset")]  #: the path of a folder
File = Annotated[Path, Input("file")]  #: a path
Folder = Annotated[Path, Input("folder")]  #: a path


def marked(hint: Any, kind: type[Input] | type[Output]) -> Any:
    """The mark of an annotation, or None."""
    if typing.get_origin(hint) is not typing.Annotated:
        return None
    return next((one for one in typing.get_args(hint)[1:] if isinstance(one, kind)), None)


def text_of(hint: Any) -> str | None:
    """What an annotation says in words."""
    arguments = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
    return next((one for one in arguments if isinstance(one, str)), None)


def load(role: str, type: str, path: Path) -> Any:
    """An input as the function gets it: arrays mapped into memory, read-only; numbers by name; else the path."""
    if type == "metrics":
        try:
            return json.loads(path.read_bytes())
        except ValueError as error:
            raise Failed(f"the input `{role}` is no JSON: {error}") from None
    if type not in ("array", "labels", "mask"):
        return path
    numpy = _numpy()
    try:
        return numpy.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Failed(f"the input `{role}` is no .npy array that can be read: {error}") from None


def save(place: str, type: str, value: Any, path: Path) -> None:
    """Writes what a function returned. Raises `TypeError` where that is no such artifact."""
    if type == "metrics":
        if not isinstance(value, Mapping):
            raise TypeError(f"{place} is {_name(value)}; metrics are a dict of numbers by name")
        # Numbers of numpy and PyTorch are numbers.
        text = json.dumps(finite(_plain(value)), indent=2, allow_nan=False, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
    elif type == "table":
        _save_table(place, value, path)
    elif type == "model":
        _save_model(place, value, path)
    else:
        _save_array(place, type, value, path)


def _save_array(place: str, type: str, value: Any, path: Path) -> None:
    numpy = _numpy()
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    array = numpy.asarray(value)
    kinds, words = {"array": ("fiub", "numbers"), "labels": ("iu", "integers"), "mask": ("b", "booleans")}[type]
    if array.dtype.kind not in kinds or array.dtype.itemsize > 8:
        raise TypeError(f"{place} is an array of {array.dtype}; {type} holds {words}")
    if array.ndim == 0 or type != "array" and array.ndim != 1:
        raise TypeError(f"{place} has the shape {list(array.shape)}; {type} has {'[n, …]' if type == 'array' else '[n]'}")
    with open(path, "wb") as file:
        numpy.save(file, numpy.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")))


def _save_table(place: str, value: Any, path: Path) -> None:
    if hasattr(value, "to_csv"):
        # An index without a name is the numbers of the rows.
        value.to_csv(path, index=any(name is not None for name in value.index.names), lineterminator="\n")
        return
    rows = list(value) if isinstance(value, (list, tuple)) else []
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"{place} is {_name(value)}; a table is a DataFrame of pandas, or a list of dicts, one at least")
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _save_model(place: str, value: Any, path: Path) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{place} is {_name(value)}; a model is a dict of tensors by name, as `network.state_dict()` is")
    kind = "torch" if any(hasattr(tensor, "detach") for tensor in value.values()) else "numpy"
    try:
        save_file = importlib.import_module(f"safetensors.{kind}").save_file
    except ImportError:
        raise Failed("a model is written with safetensors: install the package safetensors") from None
    if kind == "torch":
        # Of their own memory: tensors that share some can't be written.
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in value.items()}
    else:
        tensors = {name: _numpy().ascontiguousarray(array) for name, array in value.items()}
    save_file(tensors, path)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value.item() if hasattr(value, "item") else value


def _name(value: Any) -> str:
    return "None" if value is None else f"of the type {type(value).__name__}"


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise Failed("arrays are read and written with numpy: install numpy") from None
    return numpy
