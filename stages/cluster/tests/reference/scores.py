"""Writes scores.json: what scikit-learn says of labellings that a formula makes. Run beside the arrays."""
import json

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

points = np.load("digits_X.npy").astype(np.float64)
truth = np.load("digits_y.npy")
embedding = np.load("digits_umap_seed42.npy").astype(np.float64)
rows = np.arange(len(truth))
labellings = {
    "split": truth * 2 + rows % 2,
    "merged": truth // 3,
    "noisy": np.where(rows % 5 == 0, rows % 7, truth),
    "unrelated": rows % 10,
}


def accuracy(labels):
    table = metrics.cluster.contingency_matrix(truth, labels)
    return table[linear_sum_assignment(-table)].sum() / len(truth)


result = {
    name: {
        "silhouette": metrics.silhouette_score(embedding, labels),
        "ari": metrics.adjusted_rand_score(truth, labels),
        "nmi": metrics.normalized_mutual_info_score(truth, labels),
        "ami": metrics.adjusted_mutual_info_score(truth, labels),
        "accuracy": accuracy(labels),
    }
    for name, labels in labellings.items()
}
result["trustworthiness"] = trustworthiness(points, embedding, n_neighbors=15)
result["pca_variance"] = PCA(5, svd_solver="full").fit(points).explained_variance_.tolist()
result["kmeans_inertia"] = KMeans(10, n_init=50, random_state=0).fit(embedding).inertia_
with open("scores.json", "w") as file:
    json.dump(result, file, indent=1)
    file.write("\n")
