"""Writes mixture.json: what scikit-learn's GaussianMixture makes of the digits' embedding, from fixed starts and from its
own. Run beside the arrays."""
import json

import numpy as np
from sklearn.mixture import GaussianMixture

points = np.load("digits_umap_seed42.npy").astype(np.float64)
truth = np.load("digits_y.npy")
rows = np.arange(len(truth))
starts = {"noisy": np.where(rows % 5 == 0, rows % 7, truth), "unrelated": rows % 10}
settings = {
    "settled": dict(),
    "regularised": dict(reg_covar=0.01, tol=1e-5, max_iter=500),
    "stopped": dict(max_iter=3),
}


class FromLabels(GaussianMixture):
    def _initialize_parameters(self, X, random_state, xp=None):
        self._initialize(X, np.eye(self.n_components)[self.start])


def whole(mixture):
    """Covariances [k, d, d] whatever the shape."""
    k, d = mixture.means_.shape
    found = mixture.covariances_
    return {
        "full": lambda: found,
        "tied": lambda: np.repeat(found[None], k, axis=0),
        "diag": lambda: np.array([np.diag(own) for own in found]),
        "spherical": lambda: found[:, None, None] * np.eye(d),
    }[mixture.covariance_type]()


cases = []
for shape in ["full", "tied", "diag", "spherical"]:
    for start, labels in starts.items():
        for name, setting in settings.items():
            mixture = FromLabels(10, covariance_type=shape, **setting)
            mixture.start = labels
            mixture.fit(points)
            cases.append({
                "covariance": shape,
                "start": start,
                "setting": name,
                "iterations": mixture.n_iter_,
                "converged": mixture.converged_,
                "lower_bound": mixture.lower_bound_,
                "log_likelihood": mixture.score(points),
                "bic": mixture.bic(points),
                "aic": mixture.aic(points),
                # Sorted, so that nothing depends on how components are numbered.
                "weights": np.sort(mixture.weights_).tolist(),
                "means": np.sort(mixture.means_, axis=0).tolist(),
                "covariances": np.sort(whole(mixture), axis=0).reshape(10, 16).tolist(),
                "largest_membership": mixture.predict_proba(points).max(axis=1)[::100].tolist(),
            })
own = {
    shape: GaussianMixture(10, covariance_type=shape, n_init=20, random_state=0).fit(points).lower_bound_
    for shape in ["full", "tied", "diag", "spherical"]
}
with open("mixture.json", "w") as file:
    json.dump({"cases": cases, "own_starts": own}, file)
    file.write("\n")
