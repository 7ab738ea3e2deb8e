"""Writes placing_*.npy: where umap-learn and hdbscan put new rows. Run beside the arrays.

Every fifth digit is new. umap-learn places each one by itself, with 20 seeds; hdbscan predicts for those places, and for points
spread over the box around the training points, many of which are noise.
"""
import warnings

import hdbscan
import numpy as np
import scipy.sparse
import umap
from sklearn.metrics import pairwise_distances
from umap.umap_ import compute_membership_strengths, init_graph_transform, smooth_knn_dist

warnings.filterwarnings("ignore")
NEIGHBOURS, SEEDS = 30, 20
# Under these its prediction gives the training rows their own labels; under others, such as 20 and 1, it does not.
SETS = [
    dict(min_cluster_size=100),
    dict(min_cluster_size=50, min_samples=10),
    dict(min_cluster_size=50, min_samples=1),
]

digits = np.load("digits_X.npy")
new = np.arange(len(digits)) % 5 == 4
points, rows = digits[~new], digits[new]
model = umap.UMAP(n_neighbors=NEIGHBOURS, min_dist=0, n_components=4, random_state=42).fit(points)
np.save("placing_embedding.npy", model.embedding_.astype(np.float32))

# What `transform` starts from, by the same steps, one row at a time.
starts = []
for row in rows:
    away = pairwise_distances(row[None], points)[0]
    near = np.argsort(away, kind="stable")[:NEIGHBOURS]
    distances = away[near].astype(np.float32)[None]
    sigmas, rhos = smooth_knn_dist(distances, float(NEIGHBOURS), local_connectivity=0.0)
    found = compute_membership_strengths(near.astype(np.int32)[None], distances, sigmas, rhos, bipartite=True)
    graph = scipy.sparse.coo_matrix((found[2], (found[0], found[1])), shape=(1, len(points)))
    starts.append(init_graph_transform(graph.tocsr(), model.embedding_)[0])
np.save("placing_starts.npy", np.array(starts, dtype=np.float32))

places = np.empty((SEEDS, len(rows), 4))
for seed in range(SEEDS):
    model.transform_seed = seed
    for i, row in enumerate(rows):
        places[seed, i] = model.transform(row[None])[0]
mean = places.mean(axis=0)
spread = np.sqrt(((places - mean) ** 2).sum(axis=2).sum(axis=0) / (SEEDS - 1))
# [m, 5]: the mean over the seeds, and how far one seed's place is from it (root mean square).
np.save("placing_places.npy", np.column_stack([mean, spread]))
moved = np.sqrt(((mean - np.array(starts)) ** 2).sum(axis=1))
print("spread", np.quantile(spread, [0.1, 0.5, 0.9, 1]), "moved from the start", np.quantile(moved, [0.1, 0.5, 0.9, 1]))

embedding = model.embedding_.astype(np.float32).astype(np.float64)
random = np.random.default_rng(1)
low, high = embedding.min(axis=0) - 1, embedding.max(axis=0) + 1
asked = np.vstack([places[0], random.uniform(low, high, (300, 4)), embedding[:300] + random.normal(0, 0.1, (300, 4))])
np.save("placing_asked.npy", asked)
trained, labels, probabilities, membership = [], [], [], []
for options in SETS:
    clusters = hdbscan.HDBSCAN(approx_min_span_tree=False, prediction_data=True, **options).fit(embedding)
    trained.append(clusters.labels_)
    found = hdbscan.approximate_predict(clusters, asked)
    labels.append(found[0])
    probabilities.append(found[1])
    soft = hdbscan.membership_vector(clusters, asked)
    membership.append(soft)
    print(options, soft.shape[1], "clusters", (found[0] < 0).sum(), "noise of", len(asked))
# [sets, n], the labels of the training points; [sets, m]; [sets, m]; [m, the clusters of all sets].
np.save("placing_trained.npy", np.array(trained, dtype=np.int32))
np.save("placing_labels.npy", np.array(labels, dtype=np.int32))
np.save("placing_probabilities.npy", np.array(probabilities))
np.save("placing_membership.npy", np.hstack(membership).astype(np.float32))
