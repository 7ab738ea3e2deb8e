//! How commands end early.

/// A stage failed, or the machine did.
pub const FAILED: u8 = 1;
/// The workflow or the command line is wrong.
pub const WRONG: u8 = 2;
/// Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Why a command ended early.
pub struct Failure {
    /// What the user reads.
    pub text: String,
    /// The exit status.
    pub status: u8,
}

pub fn wrong(text: impl std::fmt::Display) -> Failure {
    Failure {
        text: format!("error: {text}"),
        status: WRONG,
    }
}

impl From<flow_cache::Error> for Failure {
    fn from(error: flow_cache::Error) -> Self {
        Failure {
            text: format!("error: {error}"),
            status: FAILED,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure {
            text: format!("error: {error:#}"),
            status: FAILED,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure {
            text: format!("error: the output can't be written: {error}"),
            status: FAILED,
        }
    }
}
