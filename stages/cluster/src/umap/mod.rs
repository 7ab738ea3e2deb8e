//! UMAP: uniform manifold approximation and projection (McInnes, Healy, Melville 2018).
//!
//! - `graph`: the fuzzy neighbourhood graph
//! - `start`, `eigen`: the spectral start
//! - `curve`, `layout`: the gradient descent
//! - `transform`: new points in an embedding

mod curve;
mod eigen;
mod graph;
mod layout;
mod start;
mod transform;

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result, check_points};
use crate::knn::{self, Metric, Search};
use graph::Graph;
pub use transform::UmapModel;

/// The parts of the work that the search for neighbours and the start are about.
const SEARCH_PART: f64 = 0.4;
const START_PART: f64 = 0.1;

/// UMAP with the semantics of umap-learn, parallel and deterministic: one seed gives the same bits for every number of
/// threads.
///
/// Neighbours are exact up to [`EXACT_ROWS`](crate::EXACT_ROWS) points, in O(n² d) time; beyond, they are searched for
/// approximately (see [`Search`]). The rest takes O(n) time; memory is O(n (d + neighbours)).
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
    search: Search,
    seed: u64,
}

/// What [`Umap::fit`] gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The points' places `[n, components]`.
    pub points: Array2<f32>,
    /// The number of parts of the neighbourhood graph that no edge connects.
    pub parts: usize,
    /// The part of the true neighbours that an approximate search found, measured on 256 points; none where neighbours
    /// were searched for exactly from the start.
    pub recall: Option<f64>,
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
            search: Search::Auto,
            seed: 42,
        }
    }
}

impl Umap {
    /// 30 neighbours, minimal distance 0, 4 components, Euclidean, neighbours exact up to 100,000 points, seed 42.
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

    /// How neighbours are searched for.
    pub fn search(mut self, search: Search) -> Self {
        self.search = search;
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

    /// The size of a neighbourhood of `n` points.
    fn neighbourhood(&self, n: usize) -> usize {
        if n <= self.neighbors {
            n.saturating_sub(1).max(2)
        } else {
            self.neighbors
        }
    }

    /// About how many bytes [`Umap::fit`] takes at most for points `[n, d]`, beside the points themselves.
    pub fn memory(&self, n: usize, d: usize) -> usize {
        let k = self.neighbors.min(n);
        // Two copies of the points, and the lists of either search with the neighbours found.
        let lists = 8 * (2 * (k + 8) + 16);
        let approximate = 12 * (k + 8) + 64 + 8 * (k + 6) + 2 * 4 * 30 + 48;
        let search = n * (2 * 4 * d + lists.max(approximate) + 12 * k);
        // Edges in both directions, while they are sorted, in the graph and in the layout; the basis of the spectral start.
        let graph = n * k * (12 + 2 * (12 + 8 + 8) + 2 * 16);
        search.max(graph + 8 * n * 45)
    }

    /// Embeds points `[n, d]`.
    ///
    /// # Errors
    /// Where a parameter is out of range, the array is empty, or a value is not finite.
    pub fn fit(&self, points: ArrayView2<f32>) -> Result<Embedding> {
        self.fit_with(points, &|_| {})
    }

    /// Like [`Umap::fit`]; calls `progress` with each further part of the work that is done, all of it being 1.
    ///
    /// # Errors
    /// As [`Umap::fit`].
    pub fn fit_with(
        &self,
        points: ArrayView2<f32>,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Embedding> {
        self.check()?;
        check_points(points)?;
        let n = points.nrows();
        if n == 1 {
            progress(1.0);
            return Ok(Embedding {
                points: Array2::zeros((1, self.components)),
                parts: 1,
                recall: None,
                warnings: vec!["one point is embedded at the origin".into()],
            });
        }
        let mut notes = Vec::new();
        let neighbors = self.neighbourhood(n);
        if n <= self.neighbors {
            notes.push(format!(
                "n_neighbors is cut from {} to {neighbors}: there are {n} points",
                self.neighbors
            ));
        }
        if start::is_small(n, self.components) {
            notes.push(format!(
                "n_components is {}, and there are {n} points: too few for a spectral start, they start at random places",
                self.components
            ));
        }
        let epochs = if n <= 10_000 { 500 } else { 200 };
        let (found, recall) = knn::search(
            points,
            neighbors - 1,
            self.metric,
            self.search,
            self.seed,
            &|part| progress(SEARCH_PART * part),
        );
        if self.search == Search::Auto
            && let Some(recall) = recall.filter(|&recall| recall < knn::LEAST_RECALL)
        {
            notes.push(format!(
                "approximate search found {:.1} % of the neighbours of a sample: they are searched for exactly",
                100.0 * recall
            ));
        }
        let mut graph = Graph::new(&found);
        drop(found);
        graph.prune(graph.heaviest() / epochs as f32);
        let (mut layout, parts, warnings) =
            start::start(points, &graph, self.components, self.seed);
        notes.extend(warnings);
        progress(START_PART);
        let curve = curve::fit(self.min_dist);
        layout::optimise(
            &graph,
            &mut layout,
            self.components,
            epochs,
            curve,
            self.seed,
            &|| progress((1.0 - SEARCH_PART - START_PART) / epochs as f64),
        );
        Ok(Embedding {
            points: Array2::from_shape_vec((n, self.components), layout)
                .expect("a value for each place"),
            parts,
            recall,
            warnings: notes,
        })
    }
}
