"""flow's workflows and their results in Python. `docs/python.md` shows how.

    import flow

    w = flow.Workflow("workflows/quickstart.toml", set={"min_cluster_size": 20})
    w.run(progress=True)
    w["umap"].load()        # a read-only memory map of what is in the store
    w.table()               # a pandas.DataFrame

It calls the program `flow` and decides nothing itself. Needs Python 3.10 or later; numpy where arrays are read, pandas
where tables are made.
"""

from .command import Error
from .pages import Comparison, Graph, Origin, Status, View
from .result import Result
from .run import Interrupted, Run, RunFailed
from .workflow import Workflow

__all__ = ["Comparison", "Error", "Graph", "Interrupted", "Origin", "Result", "Run", "RunFailed", "Status", "View",
           "Workflow"]
