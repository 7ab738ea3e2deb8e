//! `pca`: dimension reduction by principal components, each coarse class by itself.

use anyhow::{Result, ensure};
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::{Array2, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{self, Group, Report};
use super::{all_cores, classes};
use crate::Metric;
use crate::views;

/// Reduces features to the directions of greatest variance.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pca {
    /// Columns of the embedding. A class with fewer rows or features has zeros in the columns beyond.
    #[serde(default = "components")]
    #[schemars(range(min = 1))]
    n_components: u32,
    /// Whether each column is scaled to variance 1.
    #[serde(default)]
    whiten: bool,
    /// Whether each row is scaled to length 1 at the end. With `whiten` this is what DeepCluster does before k-means.
    #[serde(default)]
    normalize: bool,
}

fn components() -> u32 {
    16
}

impl Stage for Pca {
    const NAME: &'static str = "pca";
    const VERSION: u32 = 3;
    const SUMMARY: &'static str =
        "Reduces the features of each coarse class to principal components";
    const HEADLINE: &'static [&'static str] = &["explained_variance_ratio", "trustworthiness"];

    fn inputs() -> Vec<Port> {
        let [data, mask] = classes::ports();
        vec![
            Port::new(
                "features",
                ArtifactType::Array,
                "[n, d]; rows with NaN are left out",
            ),
            data,
            mask,
        ]
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "embedding",
                ArtifactType::Array,
                "f32 [n, n_components]; NaN in rows that are left out",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "explained_variance_ratio: the part of the features' variance that the components have, trustworthiness: how far the 15 nearest in the embedding are near among the features, 1 at best (and trustworthiness_error where that is an estimate); the same by coarse class",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "the points of each class in two dimensions",
            ),
        ]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        let features = array::read_matrix(context.input("features")?)?;
        let n = features.nrows();
        let wanted = self.n_components as usize;
        let classes = classes::of(context, "features", n, |row| {
            classes::finite(&features, row)
        })?;
        let columns = features.ncols();
        if columns < wanted {
            context.warning(format!(
                "n_components is {wanted}, and the features have {columns} column(s): the columns beyond are 0"
            ));
        }
        let found = classes::each(context, &classes, |class, step| {
            let points = classes::take(&features, &class.rows)?;
            let (rows, possible) = (points.nrows(), wanted.min(columns));
            if rows < possible {
                context.warning(format!(
                    "class {}: n_components is {wanted}, and it has {rows} row(s): the columns beyond are 0",
                    class.name
                ));
            }
            let k = rows.min(possible);
            let found = crate::Pca::new(k).whiten(self.whiten).fit(points.view())?;
            ensure!(
                found.scores.iter().all(|x| x.is_finite()),
                "a component goes beyond 3.4e38, where f32 ends: scale the features, in NumPy x / numpy.nanmax(numpy.abs(x))"
            );
            let explained = found.variance_ratio.sum();
            context.log(format!(
                "class {}: {:.1} % of the variance",
                class.name,
                100.0 * explained
            ));
            let mut padded = Array2::zeros((points.nrows(), wanted));
            padded.slice_mut(s![.., ..k]).assign(&found.scores);
            if self.normalize {
                for mut row in padded.outer_iter_mut() {
                    let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                    if length > 0.0 {
                        row.mapv_inplace(|x| x / length);
                    }
                }
            }
            let mut numbers = vec![("explained_variance_ratio", Some(explained))];
            numbers.extend(report::trustworthiness(
                &points,
                &padded,
                Metric::Euclidean,
            )?);
            let group = Group {
                name: class.name.clone(),
                rows,
                numbers,
            };
            step(1.0);
            Ok((padded, group))
        })?;
        let (parts, groups): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        classes::write_rows(context, "embedding", n, wanted, &classes, &parts)?;
        views::embedding(context, &features, &classes, &parts, None)?;
        Report::new(groups)
            .mean("explained_variance_ratio")
            .estimate("trustworthiness", "trustworthiness_error")
            .write(context)
    }
}
