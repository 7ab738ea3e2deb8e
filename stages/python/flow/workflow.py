"""A workflow file with what is laid over it, and everything that can be asked of it."""

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import command, pages
from .command import Error, Line
from .result import Result
from .run import Run, follow
from .values import plain, toml

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped,unused-ignore]


class Workflow:
    """A workflow file, with values of your own laid over it.

        w = flow.Workflow("workflows/quickstart.toml", set={"min_cluster_size": 20})

    set: params, or `stages.NAME.with.PARAMETER`, by name. None takes a parameter away.
    variants: group to variant. params: a TOML file of params.
    sweep: axis to a list of values, or to a text as `--sweep` reads it. seeds: how many, or a list of them.
    point: of a sweep, only the points with these values: {"keep": 0.8, "seed": 43}.
    store: the folder of results; by default FLOW_STORE, else `.flow` beside the workflow file.
    flow: the program; by default the variable FLOW, else the one that was installed with this package, else on the PATH.

    It is a description: nothing is read before you ask for something, and each answer is that of the files as they are
    then. All errors of flow are `flow.Error`.
    """

    def __init__(self, path: str | os.PathLike[str], *, set: Mapping[str, Any] | None = None,
                 variants: Mapping[str, str] | None = None, params: str | os.PathLike[str] | None = None,
                 sweep: Mapping[str, Any] | None = None, seeds: int | Iterable[int] | None = None,
                 point: Mapping[str, Any] | None = None, store: str | os.PathLike[str] | None = None,
                 flow: str | os.PathLike[str] | None = None):
        self.path = Path(os.path.abspath(os.path.expanduser(path)))  #: the workflow file
        self._program = command.find(flow)
        options = [f"--set={name}={'' if value is None else toml(value)}" for name, value in (set or {}).items()]
        options += [f"--variant={group}={name}" for group, name in (variants or {}).items()]
        if params is not None:
            options.append(f"--params={os.path.abspath(os.path.expanduser(params))}")
        for axis, values in (sweep or {}).items():
            options.append(f"--sweep={axis}={values if isinstance(values, str) else toml(list(values))}")
        if seeds is not None:
            options.append(f"--seeds={seeds if isinstance(seeds, int) else toml([int(seed) for seed in seeds])}")
        if point:
            options.append("--point=" + ",".join(f"{axis}={plain(value)}" for axis, value in point.items()))
        self._options = options
        store = store if store is not None else os.environ.get("FLOW_STORE") or None
        self._store = [] if store is None else [f"--store={os.path.abspath(os.path.expanduser(store))}"]

    def __repr__(self) -> str:
        return f"flow.Workflow({shlex.join([str(self.path), *self._options])})"

    def __getitem__(self, name: str) -> Result:
        """A stage's result by the stage's name, one of its instances (`multihead[alpha=0.1]`), or an output
        (`coarse.history`)."""
        return Result(self, name)

    def _ipython_key_completions_(self) -> list[str]:
        try:
            return [pages.label_of(line) for line in self.status()]
        except Error:
            return []

    def status(self) -> pages.Status:
        """How each stage stands (`up to date`, `frozen`, `will run`, `may run`) and why: a list of the objects
        of `flow status --json`."""
        return pages.Status(line for line in self._lines("status") if line["event"] == "standing")

    def run(self, *, until: str | Iterable[str] = (), only: str | Iterable[str] = (), force: str | Iterable[str] = (),
            jobs: int | None = None, keep_going: bool = False,
            progress: bool | Callable[[Line], object] = False) -> Run:
        """Brings the results up to date; a stage fails with `RunFailed`.

        until, only, force, jobs, keep_going: as of `flow run`.
        progress: True shows how far it is, in a notebook or a terminal. A function is called with each event, a dict, as
            `flow run --json --events` prints it.

        Ctrl-C (in a notebook: interrupt the kernel) ends the run cleanly: what is done stays, trainings keep their
        checkpoints, and `Interrupted` is raised. Press it again to wait no longer.
        """
        options = [f"--{name}={stage}" for name, stages in [("until", until), ("only", only), ("force", force)]
                   for stage in ([stages] if isinstance(stages, str) else stages)]
        options += [] if jobs is None else [f"--jobs={jobs}"]
        options += ["--keep-going"] if keep_going else []
        return follow([self._program, *self._arguments("run", "--json", "--events", *options)], progress)

    def table(self, metrics: Sequence[str] = (), *, by: str | None = None) -> "pandas.DataFrame":
        """The results: a row for each figure, and in a sweep for each figure of each point. The axes and `figure` are the
        index: `w.table()["mean"].unstack("figure")` has a row for each point.

        `mean`; `half_width`, half of the 95 % interval over the seeds (NaN where there is one seed); `n`, how many seeds;
        `difference` and `p_holm` against the base, of a sweep; then of the point `base`, `best`, `status` (complete,
        partial, failed, missing) and `reason`.

        metrics: these figures (`found.accuracy`), instead of those that the kinds call their headline.
        by: in the order of this one.
        """
        options = [f"--metric={name}" for name in ([metrics] if isinstance(metrics, str) else metrics)]
        options += [] if by is None else [f"--by={by}"]
        return frame(self._lines("table", *options)[0])

    def compare(self, other: "str | Run | Workflow | Mapping[str, Any]") -> pages.Comparison:
        """How another one differs from this workflow as it stands: its parameters, figures and artifacts.

        other: a run (or its name), another workflow, or values to set beside those of this one.
        """
        if isinstance(other, Workflow):
            if other._store != self._store:
                raise Error("the two workflows have different stores; give both the same `store`", 2)
            side = other._side()
        elif isinstance(other, Mapping):
            side = self._side([f"--set={name}={'' if value is None else toml(value)}" for name, value in other.items()])
        else:
            side = other.id if isinstance(other, Run) else other
        return pages.Comparison(command.lines(self._program, ["compare", "--json", *self._store, "--", self._side(), side]))

    def graph(self) -> pages.Graph:
        """The DAG with each stage's standing: text when it is printed, a picture in a notebook."""
        text, svg = (self._call("graph", f"--format={form}") for form in ("text", "svg"))
        return pages.Graph(text, svg)

    def _repr_html_(self) -> str:
        return self.graph()._repr_html_()

    def _side(self, more: Sequence[str] = ()) -> str:
        # A single word is taken for a file or a run, whatever is in it.
        options = [*self._options, *more]
        return shlex.join([str(self.path), *options]) if options else str(self.path)

    def _arguments(self, name: str, *more: str, what: Sequence[str] = ()) -> list[str]:
        return [name, *self._options, *self._store, *more, str(self.path), *what]

    def _call(self, name: str, *more: str, what: Sequence[str] = (), folder: Path | None = None) -> str:
        return command.call(self._program, self._arguments(name, *more, what=what), folder)

    def _lines(self, name: str, *more: str, what: Sequence[str] = (), folder: Path | None = None) -> list[Line]:
        return command.lines(self._program, self._arguments(name, "--json", *more, what=what), folder)


def frame(table: Line) -> "pandas.DataFrame":
    """The object of `flow table --json` as a DataFrame."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("a table is a pandas.DataFrame: install pandas") from error
    rows = [(row, name, row["cells"].get(name) or {}) for row in table["rows"] for name in table["metrics"]]
    columns: dict[str, Any] = {
        **{part: pandas.array([cell.get(part) for _, _, cell in rows], dtype="float64") for part in ("mean", "half_width")},
        "n": pandas.array([cell.get("n", 0) for _, _, cell in rows], dtype="int64"),
        **{part: pandas.array([(cell.get("lead") or {}).get(part) for _, _, cell in rows], dtype="float64")
           for part in ("difference", "p_holm")},
        **{name: [row[name] for row, _, _ in rows] for name in ("base", "best", "status", "reason")},
    }
    levels = [[_hashable(row["point"].get(axis)) for row, _, _ in rows] for axis in table["axes"]]
    figures = [name for _, name, _ in rows]
    index = pandas.MultiIndex.from_arrays([*levels, figures], names=[*table["axes"], "figure"]) if levels \
        else pandas.Index(figures, name="figure")
    made: pandas.DataFrame = pandas.DataFrame(columns, index=index)
    return made


def _hashable(value: Any) -> Any:
    return plain(value) if isinstance(value, (list, dict)) else value
