"""Tests of flow-stages-NAME: python3 -m unittest"""

import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

FILE = Path(__file__).with_name("flow-stages-NAME")
LOADER = SourceFileLoader("plugin", str(FILE))
plugin = module_from_spec(spec_from_loader("plugin", LOADER))
LOADER.exec_module(plugin)


class ColumnMean(unittest.TestCase):
    def test_the_mean_of_a_column(self):
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder, "table.csv")
            table.write_text("name,value\na,1\nb,2\n", encoding="utf-8")
            self.assertEqual(plugin.column_mean(table), {"mean": 1.5, "rows": 2})
            with self.assertRaisesRegex(plugin.Failed, "no column `size`"):
                plugin.column_mean(table, column="size")


if __name__ == "__main__":
    unittest.main()
