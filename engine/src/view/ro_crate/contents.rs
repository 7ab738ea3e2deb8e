//! What a crate describes.

use flow_cache::Digest;
use flow_run::record::event::StageEnd;
use flow_run::record::past::PastRun;
use flow_run::record::provenance::Action;

/// A file or folder that was written into the crate.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its path in the crate, with `/`.
    pub path: String,
    /// What people call it.
    pub name: String,
    /// The blake3 digest that flow knows it by; of a folder, that of its listing.
    pub digest: Digest,
    /// Its files: one without a name for a file, those inside for a folder.
    pub files: Vec<PartFile>,
    /// Whether it is a folder.
    pub folder: bool,
}

/// One file of a [`Part`].
#[derive(Debug, Clone)]
pub struct PartFile {
    /// Its path inside the part; empty where the part is the file.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// The SHA-256 digest, in hex.
    pub sha256: String,
}

/// A stage of the run.
#[derive(Debug)]
pub struct Step<'a> {
    /// How it ended in the run.
    pub line: &'a StageEnd,
    /// What made its result; none where it failed.
    pub action: Option<&'a Action>,
    /// Input role and what it read: places in [`Crate::parts`].
    pub inputs: Vec<(String, usize)>,
    /// Output role and what it made: places in [`Crate::parts`].
    pub outputs: Vec<(String, usize)>,
}

/// Everything that the crate describes.
#[derive(Debug)]
pub struct Crate<'a> {
    /// The run.
    pub run: &'a PastRun,
    /// The workflow file.
    pub workflow: Part,
    /// Files that the workflow includes.
    pub included: Vec<Part>,
    /// What stages made and read.
    pub parts: Vec<Part>,
    /// The stages that were executed, or whose results were there.
    pub steps: Vec<Step<'a>>,
    /// When the crate is made (RFC 3339).
    pub now: jiff::Timestamp,
}
