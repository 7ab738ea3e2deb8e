//! What a check tells: how stages that were run again compare with their stored results.

use std::collections::BTreeMap;

use flow_cache::{Digest, Key};
use flow_plan::plan;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::difference::Difference;

/// How a stage compares with its stored result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckEnd {
    /// The stage's name.
    pub stage: String,
    /// The instance's matrix point.
    pub instance: BTreeMap<String, Value>,
    /// The worst verdict of its runs.
    pub status: Verdict,
    /// Its key.
    pub key: Key,
    /// Where and with what the stored result was made.
    pub stored: Value,
    /// Each time that it was run again.
    pub runs: Vec<Again>,
}

impl CheckEnd {
    /// The instance.
    pub fn label(&self) -> String {
        plan::label(&self.stage, &self.instance)
    }
}

/// The verdict of a comparison; the later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every output is the same bytes.
    Identical,
    /// The check ended before it.
    Cancelled,
    /// An output is other bytes.
    Differs,
    /// It failed this time.
    Failed,
}

/// One time that a stage was run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Again {
    /// Its verdict.
    pub status: Verdict,
    /// The threads that it had.
    pub threads: u32,
    /// How long it took.
    pub seconds: f64,
    /// The outputs that differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, OutputDiffers>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// An output that is other bytes than the stored one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputDiffers {
    /// The stored one's digest.
    pub stored: Digest,
    /// The new one's.
    pub made: Digest,
    /// The files that differ.
    pub files: Vec<Difference>,
}

/// Why a stage failed when it was run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened, in a sentence.
    pub message: String,
    /// The last lines of its log, which is not kept.
    pub tail: Vec<String>,
}

impl Again {
    /// One without anything to say of its outputs.
    pub fn of(status: Verdict, threads: u32, seconds: f64) -> Again {
        Again {
            status,
            threads,
            seconds,
            outputs: BTreeMap::new(),
            failure: None,
        }
    }
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The worst verdict of its stages.
    pub status: Verdict,
    /// Stages all of whose outputs were the same bytes each time.
    pub identical: usize,
    /// Stages with an output of other bytes.
    pub differs: usize,
    /// Stages that failed.
    pub failed: usize,
    /// Stages that were not run as often as asked.
    pub cancelled: usize,
    /// How long it took.
    pub seconds: f64,
}
