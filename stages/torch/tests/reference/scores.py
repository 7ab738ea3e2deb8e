"""Writes scores.json: what scikit-learn and torchmetrics say of made-up answers, for the tests of `src/scores.rs`.

    pip install scikit-learn==1.9.1 torch==2.13.0 torchmetrics==1.9.0 && python scores.py

Probabilities are multiples of 1/64: many scores are equal, which the area under a curve has to take into account, and
each row sums to one exactly.
"""

import json
import pathlib

import numpy
import sklearn
import torch
import torchmetrics
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

ROWS, CLASSES = 80, 4


def main():
    random = numpy.random.default_rng(1)
    truth = random.choice(CLASSES, size=ROWS, p=[0.5, 0.25, 0.15, 0.1])
    share = random.dirichlet([0.5] * CLASSES, size=ROWS) * 0.6
    share[numpy.arange(ROWS), truth] += 0.4 * random.random(ROWS)
    parts = numpy.floor(64 * share / share.sum(axis=1, keepdims=True)).astype(int)
    parts[:, 0] += 64 - parts.sum(axis=1)
    probabilities = parts / 64
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted, zero_division=0)
    error = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(truth), num_classes=CLASSES, n_bins=15, norm="l1"
    )
    scores = {
        "versions": {module.__name__: module.__version__ for module in (numpy, sklearn, torchmetrics)},
        "probabilities": probabilities.tolist(),
        "truth": truth.tolist(),
        "auroc": roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"),
        "aurocs": [roc_auc_score(truth == c, probabilities[:, c]) for c in range(CLASSES)],
        "confusion": confusion_matrix(truth, predicted).tolist(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "calibration_error": error.item(),
    }
    pathlib.Path(__file__).with_name("scores.json").write_text(json.dumps(scores) + "\n")


if __name__ == "__main__":
    main()
