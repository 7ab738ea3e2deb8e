#!/usr/bin/env python3
"""Stage kinds of one's own. `flow plugin test flow-stages-NAME` tries them out."""

import csv

from flow_stage import Failed, Metrics, Table, main, stage


@stage(headline=["mean"])
def column_mean(table: Table, column: str = "value") -> Metrics:
    """Averages a column of a table.

    table: The table, a row a sample.
    column: The column's name.
    returns: The mean, and the number of rows.
    """
    try:
        with open(table, newline="", encoding="utf-8") as file:
            values = [float(row[column]) for row in csv.DictReader(file)]
    except KeyError:
        raise Failed(f"{table} has no column `{column}`; name another one with `column`") from None
    except ValueError as error:
        raise Failed(f"the column `{column}` of {table} is not of numbers: {error}") from None
    if not values:
        raise Failed(f"{table} has no rows")
    return {"mean": sum(values) / len(values), "rows": len(values)}


if __name__ == "__main__":
    main()
