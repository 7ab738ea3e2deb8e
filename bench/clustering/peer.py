"""The peers' side of run.py: each task prints one line of JSON; times are [seconds, CPU seconds], without compilation."""

import gzip
import json
import sys
import time
import warnings

import numpy as np
import psutil

warnings.filterwarnings("ignore")
UMAP = dict(n_neighbors=30, min_dist=0.0, n_components=4)


def cpu_seconds():
    """Of this process and of the workers that hdbscan starts for many points."""
    own = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [own, *own.children(recursive=True)])


def timed(step):
    start, cpu = time.perf_counter(), cpu_seconds()
    result = step()
    return result, [time.perf_counter() - start, cpu_seconds() - cpu]


def blobs(n, d, k):
    """k classes of unequal size, each spread in 8 directions of its own, under noise in all."""
    random = np.random.default_rng(0)
    truth = random.choice(k, n, p=random.dirichlet(np.full(k, 3.0)))
    centers = random.normal(size=(k, d)) * 0.25
    spread = random.normal(size=(k, 8, d)) / np.sqrt(8)
    points = 0.5 * random.normal(size=(n, d))
    for i in range(k):
        own = truth == i
        points[own] += centers[i] + random.normal(size=(own.sum(), 8)) @ spread[i]
    return points, truth


def generate(name, points, truth, fashion):
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
    elif name.startswith("fashion"):
        n = 60_000 if name == "fashion60k" else 10_000
        with gzip.open(fashion) as file:
            x = np.frombuffer(file.read(), np.uint8, n * 784, 16).reshape(n, 784) / 255.0
        with gzip.open(fashion.replace("images-idx3", "labels-idx1")) as file:
            y = np.frombuffer(file.read(), np.uint8, n, 8)
    elif name == "moons":
        from sklearn.datasets import make_moons

        x, y = make_moons(10_000, noise=0.08, random_state=0)
    elif name == "mixture":
        random = np.random.default_rng(0)
        y = random.choice(15, 10_000, p=random.dirichlet(np.full(15, 2.0)))
        width = np.linspace(0.3, 1.5, 15)[y, None]
        x = random.normal(size=(15, 50))[y] * 1.2 + width * random.normal(size=(10_000, 50))
    elif name == "integers":
        random = np.random.default_rng(0)
        y = random.integers(8, size=10_000)
        x = np.round(random.uniform(0, 12, size=(8, 5))[y] + random.normal(size=(10_000, 5)))
    elif name.startswith("points"):
        x, y = blobs({"points100k": 100_000, "points1m": 1_000_000}[name], 4, 20)
        x = x / 0.25 * 0.05 + np.random.default_rng(1).uniform(0, 10, size=(20, 4))[y]
    else:
        x, y = blobs({"blobs10k": 10_000, "blobs25k": 25_000}[name], 512, 20)
    np.save(points, x.astype(np.float32))
    np.save(truth, np.asarray(y, dtype=np.int64))
    return {}


def umap(points, seed, embedding):
    import umap as reference

    x = np.load(points)
    seed = None if seed == "none" else int(seed)
    # Above 4,096 points it compiles other code: as many are needed to have all compiled before the clock starts.
    reference.UMAP(**UMAP, random_state=seed, n_epochs=11).fit(x[:5000])
    found, times = timed(lambda: reference.UMAP(**UMAP, random_state=seed).fit_transform(x))
    np.save(embedding, found)
    return {"umap": times}


def soft_labels(embedding):
    import hdbscan

    found = hdbscan.HDBSCAN(min_cluster_size=100, approx_min_span_tree=False, prediction_data=True).fit(embedding)
    return hdbscan.all_points_membership_vectors(found).argmax(1)


def figures(points, embedding, truth):
    from sklearn import metrics
    from sklearn.manifold import trustworthiness

    x, places, truth = np.load(points), np.load(embedding), np.load(truth)
    labels = soft_labels(places.astype(np.float64))
    # Trustworthiness needs a matrix of all distances: a part is enough.
    part = np.random.default_rng(0).permutation(len(x))[:5000]
    return [
        trustworthiness(x[part], places[part], n_neighbors=15),
        metrics.adjusted_rand_score(truth, labels),
        metrics.silhouette_score(places, labels, sample_size=5000, random_state=0),
    ]


def cluster(points, labels):
    import fast_hdbscan
    import hdbscan
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    x = np.load(points).astype(np.float64)
    result = {}
    _, result["hdbscan"] = timed(lambda: hdbscan.HDBSCAN(min_cluster_size=100).fit(x))
    fast_hdbscan.HDBSCAN(min_cluster_size=100).fit(x[:1000])
    _, result["fast_hdbscan"] = timed(lambda: fast_hdbscan.HDBSCAN(min_cluster_size=100).fit(x))
    found = hdbscan.HDBSCAN(min_cluster_size=100, approx_min_span_tree=False, prediction_data=True).fit(x)
    membership, result["membership"] = timed(lambda: hdbscan.all_points_membership_vectors(found))
    chosen = membership.argmax(1)
    result["equal"] = adjusted_rand_score(chosen, np.load(labels))
    if len(x) <= 30_000:
        result["value"], result["silhouette"] = timed(lambda: float(silhouette_score(x, chosen)))
    return result


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
