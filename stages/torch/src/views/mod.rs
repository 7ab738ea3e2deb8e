//! What the kinds show people, as `view` outputs.
//!
//! - `curves`: a training by epoch. `test`: how good the answers on the test rows are.
//! - `certainty`: how sure a network is of each class.

mod certainty;
mod curves;
mod test;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Result;
use flow_stage::view::Writer;
use serde_json::Value;

use crate::data::Data;
use crate::history::History;
use crate::measure::Answers;

pub use certainty::uncertainty;

/// Writes the view of a training into `folder`. `metrics` and `answers` are those of the test rows.
///
/// # Errors
/// Where it can't be written.
pub fn training(
    folder: &Path,
    history: &History,
    data: &Data,
    answers: &Answers,
    metrics: &Value,
) -> Result<()> {
    let mut view = Writer::new(folder)?;
    test::figures(&mut view, metrics);
    curves::curves(&mut view, history);
    test::answers(&mut view, &data.meta, &data.rows, answers, metrics);
    view.finish()
}

/// Writes the view of an evaluation into `folder`.
///
/// # Errors
/// Where it can't be written.
pub fn evaluation(folder: &Path, data: &Data, answers: &Answers, metrics: &Value) -> Result<()> {
    let mut view = Writer::new(folder)?;
    test::figures(&mut view, metrics);
    test::answers(&mut view, &data.meta, &data.rows, answers, metrics);
    view.finish()
}
