//! `kmeans`: fine labels by k-means, each coarse class by itself.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::Axis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::all_cores;
use super::classes::{self, Class};
use super::report::{self, Group, Report};
use crate::views::{self, Discovered, Label};

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

/// One number for all classes, or one for each.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Count {
    Same(#[schemars(range(min = 1))] u32),
    ByClass(BTreeMap<String, u32>),
}

fn ten() -> u32 {
    10
}

impl KMeans {
    /// The number for a class.
    fn count(&self, class: &Class) -> Result<usize> {
        match &self.k {
            Count::Same(k) => Ok(*k as usize),
            Count::ByClass(table) => match table.get(&class.name) {
                Some(k) => Ok(*k as usize),
                None => bail!(
                    "k names no number for this class; it names {}",
                    names(table)
                ),
            },
        }
    }
}
fn names(table: &BTreeMap<String, u32>) -> String {
    table
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Stage for KMeans {
    const NAME: &'static str = "kmeans";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str = "Finds fine labels in each coarse class by k-means";
    const SEEDED: bool = true;
    const HEADLINE: &'static [&'static str] = &["clusters", "silhouette", "inertia"];

    fn inputs() -> Vec<Port> {
        let [data, mask] = classes::ports();
        vec![
            Port::new(
                "embedding",
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
                "labels",
                ArtifactType::Labels,
                "i32 [n], the cluster, numbered on through the classes; -1 in rows that are left out",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "clusters, silhouette (and silhouette_error where that is an estimate), inertia; the same by coarse class",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "the points by label, images of each, purity and confusion with the true labels where known",
            ),
        ]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        let points = array::read_matrix_f64(context.input("embedding")?)?;
        let n = points.nrows();
        let classes = classes::of(context, "embedding", n, |row| classes::finite(&points, row))?;
        if let Count::ByClass(table) = &self.k
            && let Some(unknown) = table.keys().find(|&k| classes.iter().all(|c| c.name != *k))
        {
            let known: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
            bail!(
                "k names the class {unknown}, which has no rows; there are {}",
                known.join(", ")
            );
        }
        let found = classes::each(context, &classes, |class, step| {
            let points = classes::take(&points, &class.rows)?;
            let (k, rows) = (self.count(class)?, class.rows.len());
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
            let group = Group {
                name: class.name.clone(),
                rows: class.rows.len(),
                numbers,
            };
            let centers = found.centers.outer_iter().enumerate();
            let nearest = centers.map(|(cluster, center)| {
                let members =
                    (0..found.labels.len()).filter(|&i| found.labels[i] == cluster as i32);
                let members: Vec<usize> = members.collect();
                let center = center.insert_axis(Axis(0));
                let nearest = views::nearest(points.view(), &members, center);
                nearest.into_iter().map(|i| class.rows[i]).collect()
            });
            let nearest: Vec<Vec<usize>> = nearest.collect();
            let part = (found.labels, clusters);
            Ok((part, found.inertia, group, nearest))
        })?;
        let mut parts = Vec::new();
        let mut each = Vec::new();
        let mut groups = Vec::new();
        let mut whole = 0.0;
        for (class, (part, inertia, group, nearest)) in found.into_iter().enumerate() {
            parts.push(part);
            each.extend(nearest.into_iter().map(|nearest| Label {
                class,
                nearest,
                persistence: None,
            }));
            whole += inertia;
            groups.push(group);
        }
        let labels = classes::join_labels(n, &classes, &parts);
        array::write(&context.output("labels")?, &labels)?;
        let discovered = Discovered {
            labels: &labels,
            probabilities: None,
            each,
            anchor: "its centre",
        };
        views::labels(context, &points, &classes, &discovered)?;
        Report::new(groups)
            .total(
                "clusters",
                parts.iter().map(|part| part.1).sum::<usize>() as f64,
            )
            .estimate("silhouette", "silhouette_error")
            .total("inertia", whole)
            .write(context)
    }
}
