"""The figures of umap-learn on two arcs (umap_quality.rs makes the same points): medians of five seeds, each with the rows
in another order, for which the silhouette differs from 0.43 to 0.49.

    python3 -m venv venv && venv/bin/pip install umap-learn==0.5.12 hdbscan==0.8.44 scikit-learn==1.9.1
    venv/bin/python arcs.py
"""

import hdbscan
import numpy as np
import umap
from sklearn import metrics
from sklearn.manifold import trustworthiness

i = np.arange(10_000)
angle = np.pi * (i // 2 * 0.6180339887498949 % 1)
radius = 1 + 0.2 * (i * 0.7548776662466927 % 1 - 0.5)
arc = np.c_[radius * np.cos(angle), radius * np.sin(angle)]
truth = i % 2
points = np.where(truth[:, None] == 0, arc, [1, 0.5] - arc).astype(np.float32)

found = []
for seed in range(5):
    order = np.random.default_rng(seed).permutation(len(points))
    x, y = points[order], truth[order]
    places = umap.UMAP(n_neighbors=30, min_dist=0, n_components=4, random_state=seed).fit_transform(x)
    clusters = hdbscan.HDBSCAN(min_cluster_size=100, approx_min_span_tree=False, prediction_data=True)
    labels = hdbscan.all_points_membership_vectors(clusters.fit(places.astype(np.float64))).argmax(1)
    found.append(
        [
            trustworthiness(x, places, n_neighbors=15),
            metrics.adjusted_rand_score(y, labels),
            metrics.silhouette_score(places, labels),
        ]
    )
    print(found[-1], flush=True)
print("medians:", np.median(found, axis=0))
