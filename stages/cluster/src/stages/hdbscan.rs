//! `hdbscan`: fine labels by soft density-based clustering, each coarse class by itself.

use anyhow::Result;
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::{Array1, Array2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{self, Group, Report};
use super::{all_cores, classes};
use crate::hdbscan;
use crate::views::{self, Discovered, Label};

/// Finds clusters of any shape and number, and how much each row belongs to each.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hdbscan {
    /// The least number of rows in a cluster.
    #[serde(default = "hundred")]
    #[schemars(range(min = 2))]
    min_cluster_size: u32,
    /// The neighbour whose distance measures density around a row; as min_cluster_size where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    min_samples: Option<u32>,
    /// `eom`: the most persistent clusters. `leaf`: the smallest, even ones.
    #[serde(default)]
    cluster_selection_method: Method,
    /// Clusters that part at a distance below this are not parted.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    cluster_selection_epsilon: f64,
    /// Whether a whole class may be one cluster with noise around it.
    #[serde(default)]
    allow_single_cluster: bool,
    /// The largest cluster that `eom` may choose; 0 for no limit.
    #[serde(default)]
    max_cluster_size: u32,
    /// In a class of more rows the silhouette is estimated from this number of them, drawn at random, with its standard error.
    #[serde(default = "report::silhouette_rows")]
    #[schemars(range(min = 2))]
    silhouette_rows: u32,
}

/// How clusters are chosen from the hierarchy.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    #[default]
    Eom,
    Leaf,
}

fn hundred() -> u32 {
    100
}

/// One class's result: where HDBSCAN finds no cluster, the class is one fine label.
struct Found {
    clusters: hdbscan::Clusters,
    membership: Array2<f64>,
    labels: Array1<i32>,
    /// Fine labels: the clusters, or 1.
    count: usize,
    /// The class's rows nearest to the exemplars of each cluster.
    nearest: Vec<Vec<usize>>,
    /// The silhouette, and its standard error where it is an estimate.
    silhouette: [(&'static str, Option<f64>); 2],
}

impl Stage for Hdbscan {
    const NAME: &'static str = "hdbscan";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str = "Finds fine labels in each coarse class by soft HDBSCAN";
    const HEADLINE: &'static [&'static str] = &["clusters", "silhouette", "noise", "persistence"];

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
                "i32 [n], the cluster of greatest membership, numbered on through the classes; -1 in rows that are left out",
            ),
            Port::new(
                "hard_labels",
                ArtifactType::Labels,
                "i32 [n], the same numbers by density alone; -1 for noise and in rows that are left out",
            ),
            Port::new(
                "probabilities",
                ArtifactType::Array,
                "f64 [n], strength of the hard label, 0..1; NaN in rows that are left out",
            ),
            Port::new(
                "membership",
                ArtifactType::Array,
                "f64 [n, K], how much a row belongs to each cluster; 0 for clusters of other classes; NaN in rows that are left out",
            ),
            Port::new(
                "outlier_scores",
                ArtifactType::Array,
                "f64 [n], GLOSH: how far a row lies outside the densest part of its surroundings, 0..1; NaN in rows that are left out",
            ),
            Port::new(
                "clusters",
                ArtifactType::Table,
                "a line for each fine label: label, class, rows, hard_rows (those of its hard label), persistence (0..1)",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "clusters, silhouette (and silhouette_error where that is an estimate), noise, persistence (the clusters' mean); the same by coarse class",
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
        self.find(context).map(drop)
    }
}

/// What was clustered.
pub(super) struct Clustered {
    pub points: Array2<f64>,
    pub classes: Vec<classes::Class>,
    /// The hard labels of each class's rows, numbered in the class.
    pub hard_labels: Vec<Array1<i32>>,
}

impl Hdbscan {
    /// Clusters each class, and writes the outputs of `hdbscan`.
    ///
    /// # Errors
    /// Where an input can't be read or computed with, or an output can't be written.
    pub fn find(&self, context: &Context) -> Result<Clustered> {
        let points = array::read_matrix_f64(context.input("embedding")?)?;
        let n = points.nrows();
        let classes = classes::of(context, "embedding", n, |row| classes::finite(&points, row))?;
        let parameters = self.parameters();
        if let Some(warning) = self.contradiction() {
            context.warning(warning);
        }
        let found = classes::each(context, &classes, |class, step| {
            let points = classes::take(&points, &class.rows)?;
            let clusters = parameters.fit_with(points.view(), &|part| step(0.6 * part))?;
            let membership = clusters.membership(points.view())?;
            step(0.1);
            let (name, rows) = (&class.name, class.rows.len());
            if let Some(k) = self.min_samples.filter(|&k| k as usize >= rows) {
                let most = rows - 1;
                context.warning(format!(
                    "class {name}: min_samples is cut from {k} to {most}, the other rows of its {rows}"
                ));
            }
            let (labels, count) = match clusters.clusters() {
                0 => {
                    let why = self.no_cluster(rows);
                    context.warning(format!(
                        "class {name}: no cluster among {rows} rows{why}; the class is one fine label"
                    ));
                    (Array1::zeros(rows), 1)
                }
                count => {
                    if rows < self.min_cluster_size as usize {
                        let least = self.min_cluster_size;
                        context.warning(format!(
                            "class {name}: min_cluster_size is {least}, and it has {rows} row(s): they are one cluster"
                        ));
                    }
                    (hdbscan::soft_labels(membership.view()), count)
                }
            };
            let silhouette = report::silhouette(
                points.view(),
                labels.view(),
                self.silhouette_rows,
                &|part| step(0.3 * part),
            )?;
            let exemplars = clusters.exemplars(points.view())?;
            let nearest = exemplars.iter().enumerate().map(|(cluster, exemplars)| {
                let members = (0..labels.len()).filter(|&i| labels[i] == cluster as i32);
                let members: Vec<usize> = members.collect();
                let anchors = points.select(Axis(0), exemplars);
                let nearest = views::nearest(points.view(), &members, anchors.view());
                nearest.into_iter().map(|i| class.rows[i]).collect()
            });
            Ok(Found {
                nearest: nearest.collect(),
                clusters,
                membership,
                labels,
                count,
                silhouette,
            })
        })?;
        let hard_labels = found.iter().map(|found| found.clusters.labels.clone());
        let hard_labels = hard_labels.collect();
        write(context, &points, &classes, found)?;
        Ok(Clustered {
            points,
            classes,
            hard_labels,
        })
    }

    /// What two parameters say against each other.
    fn contradiction(&self) -> Option<String> {
        let (least, most) = (self.min_cluster_size, self.max_cluster_size);
        if most == 0 {
            None
        } else if matches!(self.cluster_selection_method, Method::Leaf) {
            Some(format!(
                "max_cluster_size is {most}, and cluster_selection_method = \"leaf\" takes no notice of it"
            ))
        } else if most < least {
            Some(format!(
                "max_cluster_size is {most} and min_cluster_size {least}: no cluster is small enough to be chosen"
            ))
        } else {
            None
        }
    }

    /// Why a class of `rows` rows has no cluster, or what may find some; follows the words "no cluster".
    fn no_cluster(&self, rows: usize) -> String {
        let least = self.min_cluster_size as usize;
        if rows < least {
            return format!(": min_cluster_size is {least}");
        }
        if !self.allow_single_cluster && rows < 2 * least {
            let both = 2 * least;
            return format!(": two clusters of min_cluster_size {least} take {both}");
        }
        let single = match self.allow_single_cluster {
            true => "",
            false => ", or allow_single_cluster,",
        };
        format!(" (a min_cluster_size below {least}{single} may find some)")
    }

    /// The same parameters, as the library takes them.
    pub fn parameters(&self) -> crate::Hdbscan {
        let parameters = crate::Hdbscan::new()
            .min_cluster_size(self.min_cluster_size as usize)
            .selection(match self.cluster_selection_method {
                Method::Eom => hdbscan::Selection::ExcessOfMass,
                Method::Leaf => hdbscan::Selection::Leaf,
            })
            .cluster_selection_epsilon(self.cluster_selection_epsilon)
            .allow_single_cluster(self.allow_single_cluster)
            .max_cluster_size(self.max_cluster_size as usize);
        match self.min_samples {
            Some(k) => parameters.min_samples(k as usize),
            None => parameters,
        }
    }
}

fn write(
    context: &Context,
    points: &Array2<f64>,
    classes: &[classes::Class],
    found: Vec<Found>,
) -> Result<()> {
    let n = points.nrows();
    let clusters: usize = found.iter().map(|found| found.count).sum();
    let mut membership = Array2::from_elem((n, clusters), f64::NAN);
    let mut probabilities = Array1::from_elem(n, f64::NAN);
    let mut outlier_scores = Array1::from_elem(n, f64::NAN);
    let mut table = csv::Writer::from_path(context.output("clusters")?)?;
    table.write_record(["label", "class", "rows", "hard_rows", "persistence"])?;
    let mut groups = Vec::new();
    let mut each = Vec::new();
    let mut first = 0;
    for (place, (class, found)) in classes.iter().zip(&found).enumerate() {
        let hard = &found.clusters;
        for (i, &row) in class.rows.iter().enumerate() {
            probabilities[row] = hard.probabilities[i];
            outlier_scores[row] = hard.outlier_scores[i];
            for column in 0..clusters {
                membership[[row, column]] = match column.checked_sub(first) {
                    // The one fine label of a class without clusters holds all its rows.
                    Some(0) if hard.clusters() == 0 => 1.0,
                    Some(own) if own < hard.clusters() => found.membership[[i, own]],
                    _ => 0.0,
                };
            }
        }
        for cluster in 0..found.count {
            let count = |labels: &Array1<i32>| {
                let own = labels.iter().filter(|&&label| label == cluster as i32);
                own.count().to_string()
            };
            // A class that is one fine label for want of clusters has no persistence.
            let persistence = hard.persistence.get(cluster).map(f64::to_string);
            table.write_record([
                (first + cluster).to_string(),
                class.name.clone(),
                count(&found.labels),
                count(&hard.labels),
                persistence.unwrap_or_default(),
            ])?;
            each.push(Label {
                class: place,
                nearest: found.nearest.get(cluster).cloned().unwrap_or_default(),
                persistence: hard.persistence.get(cluster).copied(),
            });
        }
        first += found.count;
        let noise = hard.labels.iter().filter(|&&label| label < 0).count();
        let mut numbers = vec![("clusters", Some(found.count as f64))];
        numbers.extend(found.silhouette);
        numbers.push(("noise", Some(noise as f64 / class.rows.len() as f64)));
        numbers.push(("persistence", hard.persistence.mean()));
        groups.push(Group {
            name: class.name.clone(),
            rows: class.rows.len(),
            numbers,
        });
    }
    table.flush()?;
    let (soft, hard): (Vec<_>, Vec<_>) = found
        .into_iter()
        .map(|found| {
            (
                (found.labels, found.count),
                (found.clusters.labels, found.count),
            )
        })
        .unzip();
    let labels = classes::join_labels(n, classes, &soft);
    array::write(&context.output("labels")?, &labels)?;
    array::write(
        &context.output("hard_labels")?,
        &classes::join_labels(n, classes, &hard),
    )?;
    array::write(&context.output("probabilities")?, &probabilities)?;
    array::write(&context.output("membership")?, &membership)?;
    array::write(&context.output("outlier_scores")?, &outlier_scores)?;
    let discovered = Discovered {
        labels: &labels,
        probabilities: Some(&probabilities),
        each,
        anchor: "its exemplars",
        new: None,
    };
    views::labels(context, points, classes, &discovered)?;
    Report::new(groups)
        .total("clusters", clusters as f64)
        .estimate("silhouette", "silhouette_error")
        .mean("noise")
        .mean("persistence")
        .write(context)
}
