//! A stage at the terminal, in a folder as it begins with. Nothing of it is committed.

use std::ffi::OsString;
use std::fs;
use std::io::{Seek, Write};
use std::process::ExitStatus;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use flow_cache::Store;

use crate::budget::{Budget, Machine};
use crate::command;
use crate::folder;
use crate::process;
use crate::request::{Request, Task};
use crate::site::Site;

/// Tells a plugin that it runs at a terminal: its stdin is the request, and the terminal is `/dev/tty`.
pub const DEBUG: &str = "FLOW_DEBUG";

/// Lays out the stage's folder anew and runs its command there with flow's own standard streams, or `instead` of it.
/// Checkpoints are a copy of those that are kept. `wait` hears what it waits for.
///
/// # Errors
/// Where the folder can't be laid out, or nothing can be started in it.
pub fn debug(
    store: &Store,
    request: &Request,
    instead: &[OsString],
    wait: &dyn Fn(String),
) -> Result<ExitStatus> {
    let machine = Machine::here();
    let jobs = machine.cores;
    let share = Budget::new(machine, jobs).take(&request.resources);
    let share = share.context("this machine has less than the stage asks for")?;
    let stop = AtomicBool::new(false);
    let site = Site {
        request,
        inputs: store,
        results: store,
        share: &share,
        stop: &stop,
        terminal: Some(instead),
    };
    // In the store, so that inputs are linked and not copied.
    let around = store.root().join("tmp");
    fs::create_dir_all(&around).with_context(|| format!("{} can't be made", around.display()))?;
    let work = tempfile::Builder::new()
        .prefix("debug-")
        .tempdir_in(&around)
        .with_context(|| format!("{} can't be written", around.display()))?;
    let kept = store.work_folder(&request.key);
    for name in ["checkpoints", "scratch"] {
        let from = kept.join(name);
        if from.is_dir() {
            folder::copy_all(&from, &work.path().join(name))?;
        }
    }
    let attempt = work.path().join("attempt");
    let prepared = command::prepare(&site, None, work.path(), &attempt, wait)?;
    let Some(prepared) = prepared else {
        bail!("it was interrupted");
    };
    let mut launch = prepared.launch.clone();
    let mut input = None;
    if let Task::Kind { .. } = request.task {
        launch.take_terminal(instead);
        launch.environment.push((DEBUG.into(), "1".into()));
        if let (true, Some(text)) = (instead.is_empty(), &prepared.input) {
            let mut file = tempfile::tempfile_in(work.path())?;
            file.write_all(text)?;
            file.rewind()?;
            input = Some(file.into());
        }
    }
    process::at_terminal(&launch, input)
        .with_context(|| format!("`{}` can't be started", launch.program.display()))
}
