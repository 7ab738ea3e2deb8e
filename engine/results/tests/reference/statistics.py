"""Writes statistics.json: what SciPy says of made-up samples, for the tests of `src/results/statistics.rs`.

    pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0 && python statistics.py

Intervals and paired t-tests are SciPy's; SciPy has no Holm correction, so that is statsmodels'.
"""

import json
import pathlib

import numpy
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.multitest import multipletests


def main():
    random = numpy.random.default_rng(7)
    samples, pairs, families = [], [], []
    for n in [2, 3, 4, 5, 7, 10, 20, 30, 100]:
        # Accuracies, losses of a wide range, large numbers that hardly differ.
        for values in [
            random.normal(0.93, 0.01, n),
            random.lognormal(0, 3, n),
            1e6 + random.normal(0, 1, n),
        ]:
            half_width = stats.t.ppf(0.975, n - 1) * stats.sem(values)
            samples.append(
                {
                    "values": values.tolist(),
                    "mean": float(numpy.mean(values)),
                    "half_width": float(half_width),
                }
            )
        for shift in [0, 0.003, 0.03, 0.5]:
            b = random.normal(0.9, 0.02, n)
            a = b + random.normal(shift, 0.01, n)
            p = stats.ttest_rel(a, b).pvalue
            # Below this no one asks for the digits.
            if p > 1e-100:
                pairs.append({"a": a.tolist(), "b": b.tolist(), "p": float(p)})
    for m in [1, 2, 3, 5, 17, 53]:
        for scale in [0.01, 1]:
            p = (random.random(m) * scale).round(3)
            families.append({"p": p.tolist(), "holm": multipletests(p, method="holm")[1].tolist()})
    found = {
        "versions": {module.__name__: module.__version__ for module in (numpy, scipy, statsmodels)},
        "samples": samples,
        "pairs": pairs,
        "families": families,
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
