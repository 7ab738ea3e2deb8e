//! `select`: the rows of lowest uncertainty in each coarse class.

use anyhow::{Result, ensure};
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::Array1;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classes;
use crate::views::{self, Cut};

/// Keeps the most certain training rows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Select {
    /// The part of each coarse class that is kept: floor(keep * n) rows of n, those of lowest uncertainty.
    #[serde(default = "most")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    keep: f64,
}

fn most() -> f64 {
    0.9
}

impl Stage for Select {
    const NAME: &'static str = "select";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str =
        "Keeps, in each coarse class, the training rows of lowest uncertainty";

    fn inputs() -> Vec<Port> {
        vec![
            Port::new("data", ArtifactType::Dataset, "the data set"),
            Port::new(
                "uncertainty",
                ArtifactType::Array,
                "[n], uncertainty of each row; NaN leaves a row out",
            ),
        ]
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "mask",
                ArtifactType::Mask,
                "[n], true for the rows that are kept",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "a histogram of each class, with the cut, and how many rows stay",
            ),
        ]
    }

    fn run(self, context: &Context) -> Result<()> {
        ensure!(
            self.keep > 0.0 && self.keep <= 1.0,
            "keep is {:?}; it has to be above 0 and at most 1",
            self.keep
        );
        let uncertainty = array::read_vector(context.input("uncertainty")?)?;
        let n = uncertainty.len();
        let mut mask = Array1::from_elem(n, false);
        let mut cuts = Vec::new();
        for class in classes::of(context, "uncertainty", n, |row| {
            uncertainty[row].is_finite()
        })? {
            // A hair above, so that 0.29 of 100 are 29.
            let count = (self.keep * class.rows.len() as f64 + 1e-9).floor() as usize;
            ensure!(
                count > 0,
                "class {}: keep = {:?} of {} row(s) keeps none; raise keep",
                class.name,
                self.keep,
                class.rows.len()
            );
            let mut rows = class.rows;
            rows.sort_by(|&a, &b| uncertainty[a].total_cmp(&uncertainty[b]).then(a.cmp(&b)));
            for &row in &rows[..count] {
                mask[row] = true;
            }
            cuts.push(Cut {
                name: class.name,
                values: rows.iter().map(|&row| uncertainty[row]).collect(),
                kept: count,
            });
        }
        array::write(&context.output("mask")?, &mask)?;
        views::cut(&context.output("view")?, &cuts)
    }
}
