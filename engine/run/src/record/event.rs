//! Everything that a run tells. What people see, what `--json` prints and what the journal keeps is made of these; and whoever
//! reads a journal reads these again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flow_cache::{Digest, Key};
use flow_plan::plan;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::{CheckEnd, Checked};

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was executed.
    Ran,
    /// Its result was in the store.
    Cached,
    /// It is frozen: its last result stands.
    Frozen,
    /// It was executed and failed.
    Failed,
    /// Something that it reads from failed.
    Skipped,
    /// The run ended before it.
    Cancelled,
}

impl Status {
    /// The word that views show.
    pub fn word(self) -> &'static str {
        match self {
            Status::Ran => "ran",
            Status::Cached => "cached",
            Status::Frozen => "frozen",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
            Status::Cancelled => "cancelled",
        }
    }

    /// Whether a result was there at the end.
    pub fn is_done(self) -> bool {
        matches!(self, Status::Ran | Status::Cached | Status::Frozen)
    }
}

/// How a run, or a point of a sweep, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// All that was wanted is there.
    Ok,
    /// A stage failed, or the store did.
    Failed,
    /// It was interrupted.
    Cancelled,
}

impl Ending {
    /// The word that views show.
    pub fn word(self) -> &'static str {
        match self {
            Ending::Ok => "ok",
            Ending::Failed => "failed",
            Ending::Cancelled => "cancelled",
        }
    }
}

/// Why a stage failed, and where to read on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened, in a sentence.
    pub message: String,
    /// The stage's whole log.
    pub log: PathBuf,
    /// The log's last lines.
    #[serde(default)]
    pub tail: Vec<String>,
    /// The folder that its program worked in, where that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The run begins.
    Start {
        /// The run.
        run: String,
        /// The workflow's name.
        workflow: String,
        /// How many instances it looks at.
        stages: usize,
    },
    /// A stage's process is started.
    Execute {
        /// The instance.
        label: String,
        /// The threads that it gets.
        threads: u32,
    },
    /// A stage goes on from what an earlier action made.
    Continue {
        /// The instance.
        label: String,
        /// The earlier action.
        earlier: Key,
        /// What was smaller there: `epochs.max = 10`.
        then: String,
    },
    /// A stage waits: for its share of the machine, or for another run that computes the same key.
    Waiting {
        /// The instance.
        label: String,
        /// For what, and for whom.
        holder: String,
    },
    /// How far a stage is.
    Progress {
        /// The instance.
        label: String,
        /// Units done.
        done: u64,
        /// Units in all; 0 where unknown.
        total: u64,
        /// What is counted.
        unit: String,
        /// What it is doing.
        message: String,
    },
    /// A number that a stage measured.
    Metric {
        /// The instance.
        label: String,
        /// The number's name.
        name: String,
        /// The number; none for NaN and infinity.
        value: Option<f64>,
        /// The step it belongs to.
        step: Option<u64>,
    },
    /// Something that people should know; of a stage where there is a label.
    Warning {
        /// The instance.
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        /// The text.
        message: String,
    },
    /// A stage ended. Boxed: it is far larger than the others, which come far more often.
    Stage(Box<StageEnd>),
    /// All of a sweep's point has ended.
    Point(Box<PointEnd>),
    /// The run ended.
    Run(RunEnd),
    /// A stage was run again beside its stored result.
    Check(Box<CheckEnd>),
    /// All stages were.
    Checked(Checked),
}

/// What the line of a [`StageEnd`] begins with, so that a reader may pass over all others unread.
pub(super) const STAGE_LINE: &str = r#"{"event":"stage","#;
/// What the line of a [`PointEnd`] begins with.
pub(super) const POINT_LINE: &str = r#"{"event":"point","#;

impl Event {
    /// The event that a line of a journal tells; none where the line is torn, or from another version that tells what this
    /// one does not know.
    pub fn read(line: &[u8]) -> Option<Event> {
        serde_json::from_slice(line).ok()
    }
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageEnd {
    /// The stage's name.
    pub stage: String,
    /// The instance's matrix point.
    pub instance: BTreeMap<String, Value>,
    /// How it ended.
    pub status: Status,
    /// Its key, where the run came as far as that.
    pub key: Option<Key>,
    /// How long it took in this run.
    pub seconds: f64,
    /// Digests of what it made.
    pub outputs: BTreeMap<String, Digest>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl StageEnd {
    /// The instance.
    pub fn label(&self) -> String {
        plan::label(&self.stage, &self.instance)
    }

    /// The key of its result, where there was one at the end.
    pub fn result(&self) -> Option<Key> {
        self.key.filter(|_| self.status.is_done())
    }
}

/// How a point of a sweep ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointEnd {
    /// Axis and value.
    pub point: BTreeMap<String, Value>,
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub status: Ending,
    /// Stages of it that this run executed; shared ones count with each point.
    pub ran: usize,
    /// The goal's metric.
    pub goal: Option<f64>,
    /// Points that have ended.
    pub done: usize,
    /// Points in all.
    pub points: usize,
    /// The point in words; none of a version that did not tell it.
    #[serde(default)]
    pub label: String,
}

/// How the run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// The run.
    pub run: String,
    /// How it ended.
    pub status: Ending,
    /// Stages that were executed.
    pub ran: usize,
    /// Stages whose result was in the store.
    pub cached: usize,
    /// Stages whose last result stands, whatever their inputs are.
    #[serde(default, skip_serializing_if = "is_none")]
    pub frozen: usize,
    /// Stages that failed.
    pub failed: usize,
    /// Stages that were not executed since another failed.
    pub skipped: usize,
    /// Stages that the end of the run came before.
    pub cancelled: usize,
    /// Results that are not where `[deliver]` says.
    #[serde(default, skip_serializing_if = "is_none")]
    pub undelivered: usize,
    /// The figures that people want to see first, `STAGE.FIGURE`; none of a sweep, and none where they are too many for a list of
    /// runs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub figures: Map<String, Value>,
    /// Of those that the end came before, by instance, what left a checkpoint that the next run goes on from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<String>,
    /// How long the run took, from the beginning of its command.
    pub seconds: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(count: &usize) -> bool {
    *count == 0
}
