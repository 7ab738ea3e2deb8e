"""Writes options_labels.npy [sets, n]: labels of the hdbscan package with each of its options. Run beside the arrays."""
import hdbscan
import numpy as np

SETS = [
    dict(min_cluster_size=20),
    dict(min_cluster_size=20, min_samples=5),
    dict(min_cluster_size=50, min_samples=5, cluster_selection_method="leaf"),
    dict(min_cluster_size=20, min_samples=5, cluster_selection_method="leaf", cluster_selection_epsilon=0.3),
    dict(min_cluster_size=20, min_samples=5, cluster_selection_epsilon=0.5),
    dict(min_cluster_size=20, min_samples=5, max_cluster_size=150),
    dict(min_cluster_size=700, allow_single_cluster=True),
    dict(min_cluster_size=20, min_samples=5, allow_single_cluster=True, cluster_selection_epsilon=0.4),
]
points = np.load("digits_umap_seed42.npy").astype(np.float64)
labels = [hdbscan.HDBSCAN(approx_min_span_tree=False, **options).fit(points).labels_ for options in SETS]
np.save("options_labels.npy", np.array(labels, dtype=np.int32))
for options, found in zip(SETS, labels):
    print(options, found.max() + 1, (found < 0).sum())
