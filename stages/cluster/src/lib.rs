//! Selection, dimension reduction, clustering and their scores: a library, and stages of flow.
//!
//! The library works on [`ndarray`] arrays with one row a point, needs nothing else of flow, and gives the same result
//! for every number of threads:
//!
//! - [`Umap`], [`Pca`]: dimension reduction
//! - [`UmapModel`], [`HdbscanModel`]: where new points lie and belong
//! - [`Hdbscan`]: density-based clusters, with soft membership; [`KMeans`]; [`GaussianMixture`]; [`George`],
//!   which searches for the number of clusters
//! - [`scores`]: silhouette, ARI, NMI, AMI, cluster accuracy, trustworthiness
//!
//! [`plugin`] lists the stage kinds, which do the same for each coarse class of a data set.

mod dense;
mod error;
pub mod george;
mod gmm;
pub mod hdbscan;
mod kmeans;
mod knn;
mod pca;
mod random;
pub mod scores;
mod simd;
mod stages;
mod umap;
mod views;

pub use error::{Error, Result};
pub use george::George;
pub use gmm::{Covariance, GaussianMixture, Mixture};
pub use hdbscan::{Clusters, Hdbscan, HdbscanModel, Prediction};
pub use kmeans::{KMeans, Partition};
pub use knn::{EXACT_ROWS, LEAST_RECALL, Metric, Search};
pub use pca::{Components, Pca};
pub use stages::plugin;
pub use umap::{Embedding, Umap, UmapModel};
