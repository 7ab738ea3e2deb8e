//! `shuffle-labels`: fine labels that say nothing of the images, as a control for those that were found.

use anyhow::Result;
use flow_stage::view::Writer;
use flow_stage::view::chart::significant;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::{Array1, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::classes;
use super::report::{Group, Report};
use crate::random::Stream;
use crate::scores;

/// Deals fine labels out at random, inside each coarse class.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShuffleLabels {
    /// `permuted`: the labels of each class change places, and keep their sizes. `even`: each class has as many labels as
    /// before, all of one size.
    #[serde(default)]
    how: How,
}

/// Which labels are dealt out.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum How {
    #[default]
    Permuted,
    Even,
}

/// Its stream of random numbers, beside those of other kinds.
const STREAM: u64 = 0x5affe;

impl Stage for ShuffleLabels {
    const NAME: &'static str = "shuffle-labels";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str =
        "Deals fine labels out at random in each coarse class, as a control for found ones";
    const SEEDED: bool = true;
    const HEADLINE: &'static [&'static str] = &["clusters", "same", "ari"];

    fn inputs() -> Vec<Port> {
        let [data, mask] = classes::ports();
        vec![
            Port::new(
                "labels",
                ArtifactType::Labels,
                "[n], fine labels; -1 leaves a row out",
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
                "i32 [n], one of the same labels for each row that had one; -1 in the others",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "clusters, same (the share of rows with the label that they had), ari (0 where the new labels say nothing of the old ones); the same by coarse class",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "how many images each label had and has, and how many it kept",
            ),
        ]
    }

    fn run(self, context: &Context) -> Result<()> {
        let labels = array::read_labels(context.input("labels")?)?;
        let n = labels.len();
        let classes = classes::of(context, "labels", n, |row| labels[row] >= 0)?;
        let mut dealt = Array1::from_elem(n, -1);
        let mut groups = Vec::new();
        let mut lines = Vec::new();
        for class in &classes {
            let mut own: Vec<i32> = class.rows.iter().map(|&row| labels[row]).collect();
            own.sort_unstable();
            let mut names = own.clone();
            names.dedup();
            if names.len() == 1 {
                context.warning(format!(
                    "class {}: all of its {} row(s) have one label, and keep it",
                    class.name,
                    own.len()
                ));
            }
            // A row's place in the deal depends on the seed and its index alone.
            let mut rows = class.rows.clone();
            rows.sort_by_key(|&row| {
                let key = Stream::new(context.seed() ^ STREAM, row as u64).next();
                (key, row)
            });
            for (place, &row) in rows.iter().enumerate() {
                dealt[row] = match self.how {
                    How::Permuted => own[place],
                    How::Even => names[place % names.len()],
                };
            }
            let old = labels.select(Axis(0), &class.rows);
            let new = dealt.select(Axis(0), &class.rows);
            let kept = |label: Option<i32>| {
                let pairs = old.iter().zip(&new);
                pairs
                    .filter(|(a, b)| a == b && label.is_none_or(|label| label == **a))
                    .count()
            };
            let same = kept(None) as f64 / class.rows.len() as f64;
            groups.push(Group {
                name: class.name.clone(),
                rows: class.rows.len(),
                numbers: vec![
                    ("clusters", Some(names.len() as f64)),
                    ("same", Some(same)),
                    ("ari", Some(scores::adjusted_rand(old.view(), new.view())?)),
                ],
            });
            for &label in &names {
                let size = |labels: &Array1<i32>| labels.iter().filter(|&&l| l == label).count();
                let share = kept(Some(label)) as f64 / size(&new).max(1) as f64;
                lines.push(vec![
                    json!(label),
                    json!(class.name),
                    json!(size(&old)),
                    json!(size(&new)),
                    significant(share),
                ]);
            }
        }
        array::write(&context.output("labels")?, &dealt)?;
        let mut view = Writer::new(&context.output("view")?)?;
        let columns = [
            "label",
            "class",
            "images before",
            "images",
            "share that had it before",
        ];
        view.table("Labels dealt out at random", &columns, lines);
        view.finish()?;
        Report::new(groups)
            .sum("clusters")
            .mean("same")
            .mean("ari")
            .write(context)
    }
}
