//! Fine labels that have centres: what `kmeans`, `gmm` and `george` write of them.

use anyhow::Result;
use flow_stage::{ArtifactType, Context, Port, array};
use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::classes::{self, Class};
use super::report::Group;
use crate::views::{self, Discovered, Label};

/// The fine labels of one class.
pub(super) struct Part {
    /// The label of each of the class's rows, from 0.
    pub labels: Array1<i32>,
    pub clusters: usize,
    /// The rows nearest to the centre of each label.
    pub nearest: Vec<Vec<usize>>,
    /// The class's metrics.
    pub numbers: Vec<(&'static str, Option<f64>)>,
}

/// The inputs of such a kind.
pub(super) fn inputs() -> Vec<Port> {
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

/// The output `view` of such a kind.
pub(super) fn view() -> Port {
    Port::new(
        "view",
        ArtifactType::View,
        "the points by label, images of each, purity and confusion with the true labels where known",
    )
}

/// The output `labels` of such a kind.
pub(super) fn labels() -> Port {
    Port::new(
        "labels",
        ArtifactType::Labels,
        "i32 [n], the cluster, numbered on through the classes; -1 in rows that are left out",
    )
}

/// The class's rows that lie nearest to each centre `[k, d]`, among those of its label.
pub(super) fn nearest(
    points: ArrayView2<f64>,
    labels: &Array1<i32>,
    centers: &Array2<f64>,
    class: &Class,
) -> Vec<Vec<usize>> {
    let centers = centers.outer_iter().enumerate();
    let nearest = centers.map(|(cluster, center)| {
        let members = (0..labels.len()).filter(|&i| labels[i] == cluster as i32);
        let members: Vec<usize> = members.collect();
        let center = center.insert_axis(Axis(0));
        let nearest = views::nearest(points, &members, center);
        nearest.into_iter().map(|i| class.rows[i]).collect()
    });
    nearest.collect()
}

/// Writes the outputs `labels` and `view`. `strength` `[n]` is how strongly each row belongs to its label, where the method
/// says.
///
/// # Errors
/// Where they can't be written.
pub(super) fn write(
    context: &Context,
    points: &Array2<f64>,
    classes: &[Class],
    found: Vec<Part>,
    strength: Option<&Array1<f64>>,
) -> Result<Vec<Group>> {
    let mut parts = Vec::new();
    let mut each = Vec::new();
    let mut groups = Vec::new();
    for (place, (class, part)) in classes.iter().zip(found).enumerate() {
        parts.push((part.labels, part.clusters));
        each.extend(part.nearest.into_iter().map(|nearest| Label {
            class: place,
            nearest,
            persistence: None,
        }));
        groups.push(Group {
            name: class.name.clone(),
            rows: class.rows.len(),
            numbers: part.numbers,
        });
    }
    let labels = classes::join_labels(points.nrows(), classes, &parts);
    array::write(&context.output("labels")?, &labels)?;
    let discovered = Discovered {
        labels: &labels,
        probabilities: strength,
        each,
        anchor: "its centre",
        new: None,
    };
    views::labels(context, points, classes, &discovered)?;
    Ok(groups)
}
