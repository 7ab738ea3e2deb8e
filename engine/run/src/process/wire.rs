//! What flow and a stage's supervisor say to each other, and how much the stage used.

use serde::{Deserialize, Serialize};

/// What a command and all that it started used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// Seconds of the processors, those in the kernel included.
    pub cpu_seconds: f64,
    /// The largest resident set of any one process of it, in bytes.
    pub peak_memory: u64,
    /// Bytes that came from storage; what was in the system's memory is not counted.
    pub bytes_read: u64,
    /// Bytes that went to storage.
    pub bytes_written: u64,
}

/// What a supervisor is asked to do, after the length of this in eight bytes.
#[cfg(target_os = "linux")]
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order<L> {
    /// What is started.
    pub launch: L,
    /// Whether all is only prepared, and nothing started.
    pub rehearsal: bool,
}

/// What a supervisor says, a line each.
#[cfg(target_os = "linux")]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Told {
    /// The command runs; or a rehearsal went well.
    Started,
    /// It could not be started.
    Failed {
        /// At which step; none where the program itself could not be executed.
        step: Option<String>,
        /// The system's error number.
        code: Option<i32>,
        /// The error in words.
        message: String,
    },
    /// The command and all that it started are gone.
    Ended {
        /// As `waitpid` gives it.
        status: i32,
        /// What it used.
        used: Used,
    },
}

#[cfg(target_os = "linux")]
impl Told {
    pub fn failed(step: Option<String>, error: &std::io::Error) -> Told {
        Told::Failed {
            step,
            code: error.raw_os_error(),
            message: error.to_string(),
        }
    }
}

/// How many descriptors go with an order at most: flow's end of the talk, the command's three, and those that are held.
#[cfg(target_os = "linux")]
pub(super) const MOST_DESCRIPTORS: usize = 64;

/// Comes with the descriptors of an order whose command gets its own processes.
#[cfg(target_os = "linux")]
pub(super) const OWN_PROCESSES: u8 = b'p';
/// Comes with those of any other.
#[cfg(target_os = "linux")]
pub(super) const NO_PROCESSES: u8 = b'n';

/// Asks the command to end.
#[cfg(target_os = "linux")]
pub(super) const TERM: u8 = b't';
/// Kills it.
#[cfg(target_os = "linux")]
pub(super) const KILL: u8 = b'k';
