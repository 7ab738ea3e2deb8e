//! UMAP: uniform manifold approximation and projection (McInnes, Healy, Melville 2018).
//!
//! - `graph`: the fuzzy neighbourhood graph
//! - `start`, `eigen`: the spectral start
//! - `curve`, `layout`: the gradient descent

mod curve;
mod eigen;
mod graph;
mod layout;
mod start;

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result, check_points};
use crate::knn::{self, Metric};
use graph::Graph;

/// UMAP with the semantics of umap-learn, parallel and deterministic: one seed gives the same bits for every number of
/// threads.
///
/// Neighbours are exact; time is O(n² d) for them and O(n) for the rest, memory O(n (d + neighbours)).
///
/// ```
/// use flow_stages_cluster::Umap;
/// use ndarray::Array2;
///
/// let points = Array2::from_shape_fn((60, 3), |(i, j)| ((i * 31 + j * 17) % 47) as f32);
/// let embedding = Umap::new().neighbors(10).components(2).seed(7).fit(points.view())?;
/// assert_eq!(embedding.points.dim(), (60, 2));
/// # Ok::<(), flow_stages_cluster::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Umap {
    neighbors: usize,
    min_dist: f64,
    components: usize,
    metric: Metric,
    seed: u64,
}

/// What [`Umap::fit`] gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The points' places `[n, components]`.
    pub points: Array2<f32>,
    /// The number of parts of the neighbourhood graph that no edge connects.
    pub parts: usize,
    /// What the user should know: a neighbourhood cut to the data's size, a start that did not converge.
    pub warnings: Vec<String>,
}

impl Default for Umap {
    fn default() -> Self {
        Umap {
            neighbors: 30,
            min_dist: 0.0,
            components: 4,
            metric: Metric::Euclidean,
            seed: 42,
        }
    }
}

impl Umap {
    /// 30 neighbours, minimal distance 0, 4 components, Euclidean, seed 42.
    pub fn new() -> Self {
        Self::default()
    }

    /// The size of a neighbourhood, the point itself included: 2 or more. With n points or fewer it is cut to
    /// n - 1 (and not below 2), with a warning.
    pub fn neighbors(mut self, count: usize) -> Self {
        self.neighbors = count;
        self
    }

    /// How close points may lie in the embedding: 0 (dense clumps, for clustering) to 1 (even).
    pub fn min_dist(mut self, distance: f64) -> Self {
        self.min_dist = distance;
        self
    }

    /// The embedding's columns: 1 to 64.
    pub fn components(mut self, count: usize) -> Self {
        self.components = count;
        self
    }

    /// How far rows are from each other.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// The seed of every random draw.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn check(&self) -> Result<()> {
        if self.neighbors < 2 {
            let rule = "a neighbourhood has at least 2 points, itself included";
            return Err(Error::parameter("n_neighbors", self.neighbors, rule));
        }
        if !(0.0..=1.0).contains(&self.min_dist) {
            return Err(Error::parameter(
                "min_dist",
                self.min_dist,
                "it has to lie in 0..1",
            ));
        }
        if !(1..=64).contains(&self.components) {
            return Err(Error::parameter(
                "n_components",
                self.components,
                "it has to be 1 to 64",
            ));
        }
        Ok(())
    }

    /// Embeds points `[n, d]`.
    ///
    /// # Errors
    /// Where a parameter is out of range, the array is empty, or a value is not finite.
    pub fn fit(&self, points: ArrayView2<f32>) -> Result<Embedding> {
        self.fit_with(points, &|_, _| {})
    }

    /// Like [`Umap::fit`]; calls `progress` with the epochs done and in all. It may be called from any thread.
    ///
    /// # Errors
    /// As [`Umap::fit`].
    pub fn fit_with(
        &self,
        points: ArrayView2<f32>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Embedding> {
        self.check()?;
        check_points(points)?;
        let n = points.nrows();
        if n == 1 {
            return Ok(Embedding {
                points: Array2::zeros((1, self.components)),
                parts: 1,
                warnings: vec!["one point is embedded at the origin".into()],
            });
        }
        let mut notes = Vec::new();
        let mut neighbors = self.neighbors;
        if n <= neighbors {
            neighbors = (n - 1).max(2);
            notes.push(format!(
                "n_neighbors is cut from {} to {neighbors}: there are {n} points",
                self.neighbors
            ));
        }
        let epochs = if n <= 10_000 { 500 } else { 200 };
        let mut graph = Graph::new(&knn::nearest(points, neighbors - 1, self.metric));
        graph.prune(graph.heaviest() / epochs as f32);
        let (mut layout, parts, warnings) =
            start::start(points, &graph, self.components, self.seed);
        notes.extend(warnings);
        let curve = curve::fit(self.min_dist);
        layout::optimise(
            &graph,
            &mut layout,
            self.components,
            epochs,
            curve,
            self.seed,
            &|epoch| {
                progress(epoch, epochs);
            },
        );
        Ok(Embedding {
            points: Array2::from_shape_vec((n, self.components), layout)
                .expect("a value for each place"),
            parts,
            warnings: notes,
        })
    }
}
