//! The stage kinds.
//!
//! - `select`: the rows of lowest uncertainty
//! - `umap`, `pca`: dimension reduction
//! - `hdbscan`, `kmeans`, `gmm`, `george`: clustering; `partition`: what the last three of them write; `count`: the
//!   parameter `k`
//! - `umap_model`, `hdbscan_model`: the same with a `model` file; `umap_transform`, `hdbscan_predict`: new rows by it
//! - `shuffle_labels`: a control for it
//! - `score`: scores of a clustering
//! - `classes`: the rows of each coarse class, which all of them work on; `report`: their metrics;
//!   `memory`: whether there is enough

pub(crate) mod classes;
mod count;
mod george;
mod gmm;
mod hdbscan;
mod hdbscan_model;
mod hdbscan_predict;
mod kmeans;
mod memory;
mod model;
mod partition;
mod pca;
mod report;
mod score;
mod select;
mod shuffle_labels;
mod umap;
mod umap_model;
mod umap_transform;

use flow_stage::Plugin;
use flow_stage::protocol::Resources;

/// The stage kinds of this crate.
pub fn plugin() -> Plugin {
    Plugin::new("flow-stages-cluster", env!("CARGO_PKG_VERSION"))
        .stage::<select::Select>()
        .stage::<umap::Umap>()
        .stage::<pca::Pca>()
        .stage::<hdbscan::Hdbscan>()
        .stage::<kmeans::KMeans>()
        .stage::<gmm::Gmm>()
        .stage::<george::George>()
        .stage::<shuffle_labels::ShuffleLabels>()
        .stage::<umap_model::UmapModel>()
        .stage::<umap_transform::UmapTransform>()
        .stage::<hdbscan_model::HdbscanModel>()
        .stage::<hdbscan_predict::HdbscanPredict>()
        .stage::<score::Score>()
}

/// Every core: these stages are parallel inside.
fn all_cores() -> Resources {
    Resources {
        cpus: 0,
        ..Resources::default()
    }
}
