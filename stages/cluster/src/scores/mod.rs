//! Scores of clusterings and embeddings, with the definitions of scikit-learn.
//!
//! - `silhouette`: how well labels fit the points
//! - `agreement`: how well labels agree with the truth
//! - `assignment`: the best matching of clusters to classes
//! - `trust`: how well an embedding keeps neighbourhoods

mod agreement;
mod assignment;
mod silhouette;
mod trust;

pub use agreement::{accuracy, adjusted_mutual_info, adjusted_rand, normalized_mutual_info};
pub use silhouette::{Silhouette, sampled_silhouette, silhouette, silhouettes};
pub use trust::trustworthiness;
