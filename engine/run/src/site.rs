//! Where a request is carried out.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

use flow_cache::Store;

use super::budget::Share;
use super::request::Request;

/// A request, and all that carries it out.
pub(super) struct Site<'a> {
    pub request: &'a Request,
    /// Where inputs come from.
    pub inputs: &'a Store,
    /// Where results are, and go.
    pub results: &'a Store,
    pub share: &'a Share,
    /// Set to end it.
    pub stop: &'a AtomicBool,
    /// For a stage at the terminal: the command that takes the place of its own, empty for its own. None in a run.
    pub terminal: Option<&'a [OsString]>,
}

impl Site<'_> {
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
