"""Writes embeddings.npz, the example of embeddings.toml: python3 embeddings.py

The vectors are 16 principal components of the 1,797 digits that scikit-learn has (UCI "Optical Recognition of Handwritten
Digits", CC BY 4.0). Yours come from a model: whatever gives an array with a row for each image or text is written like this.
Needs scikit-learn (written with 1.9.1).
"""

import numpy
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

digits = load_digits()
vectors = PCA(16, svd_solver="full").fit_transform(digits.data)
rows = numpy.arange(len(vectors))
numpy.savez_compressed(
    "embeddings.npz",
    embeddings=vectors.astype(numpy.float16),
    digit=digits.target.astype(numpy.uint8),
    parity=numpy.array(["even", "odd"])[digits.target % 2],
    name=numpy.array([f"digit {row}" for row in rows]),
    split=numpy.where(rows % 5 == 4, "test", "train"),
)
