//! HDBSCAN: density-based clustering with a hierarchy, and its soft form.
//!
//! - `kdtree`: core distances
//! - `mst`: the exact minimum spanning tree of mutual reachability
//! - `tree`: dendrogram and condensed tree
//! - `select`: clusters, labels, probabilities, outlier scores
//! - `membership`: all-points membership vectors
//! - `predict`: where new points belong

mod kdtree;
mod membership;
mod mst;
mod predict;
mod select;
mod tree;

use ndarray::{Array1, Array2, ArrayView2};

use crate::error::{Error, Result, check_length, check_points};
use kdtree::KdTree;
pub use predict::{HdbscanModel, Prediction};
use tree::{CondensedTree, Dendrogram};

/// How the flat clustering is chosen from the condensed tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Excess of mass: the clusters of greatest total stability.
    ExcessOfMass,
    /// The leaves of the tree: many small, even clusters.
    Leaf,
}

/// The parts of the work that core distances and the spanning tree are about.
const CORE_PART: f64 = 0.4;
const EDGES_PART: f64 = 0.5;

/// HDBSCAN* (Campello, Moulavi, Sander 2013; McInnes, Healy 2017), with the semantics of the `hdbscan` package on an
/// exact minimum spanning tree.
///
/// Everything is computed in f64, in O(n log n) time for few columns and memory linear in n. The result is the same
/// for every number of threads.
///
/// ```
/// use flow_stages_cluster::Hdbscan;
/// use ndarray::Array2;
///
/// let points = Array2::from_shape_fn((40, 1), |(i, _)| (i % 20) as f64 * 0.01 + (i / 20) as f64 * 9.0);
/// let clusters = Hdbscan::new().min_cluster_size(5).fit(points.view())?;
/// assert_eq!(clusters.clusters(), 2);
/// assert_eq!(clusters.labels[39], 1);
/// # Ok::<(), flow_stages_cluster::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Hdbscan {
    min_cluster_size: usize,
    min_samples: Option<usize>,
    selection: Selection,
    epsilon: f64,
    allow_single_cluster: bool,
    max_cluster_size: usize,
}

/// What [`Hdbscan::fit`] finds. Clusters are numbered by their smallest member row.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// The cluster of each row `[n]`; -1 is noise.
    pub labels: Array1<i32>,
    /// How strongly each row belongs to its cluster `[n]`, 0..1; 0 for noise.
    pub probabilities: Array1<f64>,
    /// GLOSH outlier score of each row `[n]`, 0..1.
    pub outlier_scores: Array1<f64>,
    /// Persistence of each cluster `[K]`, 0..1.
    pub persistence: Array1<f64>,
    tree: CondensedTree,
    /// The tree's number of each cluster.
    selected: Vec<usize>,
}

impl Clusters {
    /// Number of clusters.
    pub fn clusters(&self) -> usize {
        self.persistence.len()
    }

    /// All-points membership vectors `[n, K]`: how much each of the points that were clustered belongs to each cluster.
    /// Rows sum to at most 1, nothing is NaN, and K may be 0.
    ///
    /// # Errors
    /// Where these are not as many points as were clustered, or a value is not finite.
    pub fn membership(&self, points: ArrayView2<f64>) -> Result<Array2<f64>> {
        check_points(points)?;
        check_length("the array of points", points.nrows(), self.labels.len())?;
        let points = points.as_standard_layout();
        Ok(membership::membership(
            points.view(),
            &self.tree,
            &self.selected,
        ))
    }
}

impl Clusters {
    /// The exemplars of each cluster `[K]`: the points of highest density in each leaf of the tree below it, of equal points
    /// one. Membership is measured from these.
    ///
    /// # Errors
    /// Where these are not as many points as were clustered.
    pub fn exemplars(&self, points: ArrayView2<f64>) -> Result<Vec<Vec<usize>>> {
        check_length("the array of points", points.nrows(), self.labels.len())?;
        Ok(membership::exemplar_rows(
            points,
            &self.tree,
            &self.selected,
        ))
    }
}

/// The cluster of greatest membership of each row `[n]`, the first among equal ones; -1 where there are no clusters.
pub fn soft_labels(membership: ArrayView2<f64>) -> Array1<i32> {
    membership
        .outer_iter()
        .map(|row| {
            let mut best = (f64::NEG_INFINITY, -1);
            for (cluster, &value) in row.iter().enumerate() {
                if value > best.0 {
                    best = (value, cluster as i32);
                }
            }
            best.1
        })
        .collect()
}

impl Default for Hdbscan {
    fn default() -> Self {
        Hdbscan {
            min_cluster_size: 100,
            min_samples: None,
            selection: Selection::ExcessOfMass,
            epsilon: 0.0,
            allow_single_cluster: false,
            max_cluster_size: 0,
        }
    }
}

impl Hdbscan {
    /// Clusters of at least 100 points, chosen by excess of mass.
    pub fn new() -> Self {
        Self::default()
    }

    /// The least number of points in a cluster, 2 or more.
    pub fn min_cluster_size(mut self, points: usize) -> Self {
        self.min_cluster_size = points;
        self
    }

    /// The neighbour, itself not counted, whose distance is a point's core distance: 1 or more; unless set, the
    /// smallest cluster's size. It is cut to n - 1.
    pub fn min_samples(mut self, neighbours: usize) -> Self {
        self.min_samples = Some(neighbours);
        self
    }

    /// How the flat clustering is chosen.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Clusters that part at a distance below this one are not parted; 0 for none.
    pub fn cluster_selection_epsilon(mut self, distance: f64) -> Self {
        self.epsilon = distance;
        self
    }

    /// Whether all points may be one cluster.
    pub fn allow_single_cluster(mut self, allow: bool) -> Self {
        self.allow_single_cluster = allow;
        self
    }

    /// The largest cluster that excess of mass may choose; 0 for no limit.
    pub fn max_cluster_size(mut self, points: usize) -> Self {
        self.max_cluster_size = points;
        self
    }

    fn check(&self) -> Result<()> {
        if self.min_cluster_size < 2 {
            let rule = "a cluster has at least 2 points";
            return Err(Error::parameter(
                "min_cluster_size",
                self.min_cluster_size,
                rule,
            ));
        }
        if self.min_samples == Some(0) {
            return Err(Error::parameter(
                "min_samples",
                0,
                "it has to be at least 1",
            ));
        }
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            let rule = "it has to be a distance, 0 or more";
            return Err(Error::parameter(
                "cluster_selection_epsilon",
                self.epsilon,
                rule,
            ));
        }
        Ok(())
    }

    /// Clusters points `[n, d]`.
    ///
    /// # Errors
    /// Where a parameter is out of range, the array is empty, or a value is not finite.
    pub fn fit(&self, points: ArrayView2<f64>) -> Result<Clusters> {
        self.fit_with(points, &|_| {})
    }

    /// Like [`Hdbscan::fit`]; calls `progress` with each further part of the work that is done, all of it being 1.
    ///
    /// # Errors
    /// As [`Hdbscan::fit`].
    pub fn fit_with(
        &self,
        points: ArrayView2<f64>,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Clusters> {
        self.check()?;
        check_points(points)?;
        let points = points.as_standard_layout();
        let n = points.nrows();
        if n >= u32::MAX as usize / 2 {
            return Err(Error::parameter(
                "the number of rows",
                n,
                "at most 2,147,483,646 can be clustered",
            ));
        }
        let edges = if n < 2 {
            Vec::new()
        } else {
            let tree = KdTree::new(points.view());
            let k = self.min_samples.unwrap_or(self.min_cluster_size).min(n - 1);
            let core = tree.core_distances(k, &|part| progress(CORE_PART * part));
            mst::spanning_tree(&tree, &core, &|part| progress(EDGES_PART * part))
        };
        let tree = CondensedTree::new(n, &Dendrogram::new(n, &edges), self.min_cluster_size);
        let clusters = select::select(&tree, self);
        let clusters = canonical(&clusters, &select::label(&tree, &clusters, self));
        let labels = select::label(&tree, &clusters, self);
        progress(1.0 - if n < 2 { 0.0 } else { CORE_PART + EDGES_PART });
        Ok(Clusters {
            probabilities: select::probabilities(&tree, &clusters, &labels).into(),
            outlier_scores: select::outlier_scores(&tree).into(),
            persistence: select::persistence(&tree, &clusters, &labels).into(),
            labels: labels.into(),
            selected: clusters,
            tree,
        })
    }
}

/// Orders clusters by their smallest member row; those without a member (of a whole that is noise) come last.
fn canonical(clusters: &[usize], labels: &[i32]) -> Vec<usize> {
    let mut first = vec![usize::MAX; clusters.len()];
    for (row, &label) in labels.iter().enumerate() {
        if let Ok(label) = usize::try_from(label) {
            first[label] = first[label].min(row);
        }
    }
    let mut order: Vec<usize> = (0..clusters.len()).collect();
    order.sort_by_key(|&i| (first[i], i));
    order.into_iter().map(|i| clusters[i]).collect()
}
