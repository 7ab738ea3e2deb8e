//! Scores of clusterings and embeddings, with the definitions of scikit-learn.
//!
//! - `silhouette`: how well labels fit the points
//! - `agreement`: how well labels agree with the truth
//! - `assignment`: the best matching of clusters to classes
//! - `trust`: how well an embedding keeps neighbourhoods
//! - `sample`: means over a sample of the rows

mod agreement;
mod assignment;
mod sample;
mod silhouette;
mod trust;

pub use agreement::{accuracy, adjusted_mutual_info, adjusted_rand, normalized_mutual_info};
pub use sample::Estimate;
pub(crate) use silhouette::sampled_silhouettes;
pub use silhouette::{sampled_silhouette, silhouette, silhouettes};
pub use trust::{sampled_trustworthiness, trustworthiness};
