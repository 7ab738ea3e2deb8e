//! `kmeans`: fine labels by k-means, each coarse class by itself.

use anyhow::Result;
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::count::Count;
use super::partition::{self, Part};
use super::report::{self, Report};
use super::{all_cores, classes};

/// Finds a given number of round clusters.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KMeans {
    /// Clusters in each coarse class: one number, or a table of class name and number.
    k: Count,
    /// Starts, of which the best is kept.
    #[serde(default = "ten")]
    #[schemars(range(min = 1))]
    n_init: u32,
    /// In a class of more rows the silhouette is estimated from this number of them, drawn at random, with its standard error.
    #[serde(default = "report::silhouette_rows")]
    #[schemars(range(min = 2))]
    silhouette_rows: u32,
}

fn ten() -> u32 {
    10
}

impl Stage for KMeans {
    const NAME: &'static str = "kmeans";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str = "Finds fine labels in each coarse class by k-means";
    const SEEDED: bool = true;
    const HEADLINE: &'static [&'static str] = &["clusters", "silhouette", "inertia"];

    fn inputs() -> Vec<Port> {
        partition::inputs()
    }

    fn outputs() -> Vec<Port> {
        vec![
            partition::labels(),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "clusters, silhouette (and silhouette_error where that is an estimate), inertia; the same by coarse class",
            ),
            partition::view(),
        ]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        let points = array::read_matrix_f64(context.input("embedding")?)?;
        let n = points.nrows();
        let classes = classes::of(context, "embedding", n, |row| classes::finite(&points, row))?;
        self.k.check(&classes)?;
        let found = classes::each(context, &classes, |class, step| {
            let points = classes::take(&points, &class.rows)?;
            let (k, rows) = (self.k.of(class)?, class.rows.len());
            let found = crate::KMeans::new(k.min(rows))
                .starts(self.n_init as usize)
                .seed(context.seed())
                .fit_with(points.view(), &|part| step(0.7 * part))?;
            let clusters = found.centers.nrows();
            if clusters == rows && k > 1 {
                context.warning(format!(
                    "class {}: k is {k}, and each of its {rows} row(s) is a cluster of its own",
                    class.name
                ));
            } else if clusters < k {
                context.warning(format!(
                    "class {}: k is {k}, and its {rows} row(s) make {clusters} cluster(s): too few of them differ",
                    class.name
                ));
            }
            let silhouette = report::silhouette(
                points.view(),
                found.labels.view(),
                self.silhouette_rows,
                &|part| step(0.3 * part),
            )?;
            let mut numbers = vec![("clusters", Some(clusters as f64))];
            numbers.extend(silhouette);
            numbers.push(("inertia", Some(found.inertia)));
            Ok(Part {
                nearest: partition::nearest(points.view(), &found.labels, &found.centers, class),
                labels: found.labels,
                clusters,
                numbers,
            })
        })?;
        let groups = partition::write(context, &points, &classes, found, None)?;
        Report::new(groups)
            .sum("clusters")
            .estimate("silhouette", "silhouette_error")
            .sum("inertia")
            .write(context)
    }
}
