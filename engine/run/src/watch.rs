//! One stage's process from its start to its end: what it says, and how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::{Context, Result, bail};
use flow_stage::protocol;

use super::command::Prepared;
use super::request::Task;
use super::site::Site;
use crate::plugin;
use crate::process::lines::Lines;
use crate::process::mask::Mask;
use crate::process::{Ending, Hearing, Process, Stream, Used};
use crate::record::event::Event;
use crate::record::journal::processor;
use crate::record::log::Log;

/// What is known of a process that has ended well.
pub(super) struct Watched {
    /// What it says that it computes with.
    pub facts: BTreeMap<String, String>,
    /// What it used, where that was measured.
    pub used: Option<Used>,
}

/// Starts the process, reads what it says, waits for its end; `None` where the run was interrupted.
pub(super) fn watch(
    site: &Site<'_>,
    prepared: Prepared,
    tell: &(impl Fn(Event) + Sync),
) -> Result<Option<Watched>> {
    let Prepared {
        mut launch,
        program,
        input,
        secrets,
        ..
    } = prepared;
    // Each stream by itself: a value that is cut by the other is none.
    let mask = || Mask::new(secrets.iter().map(String::as_str));
    let (mut stdout, mut stderr) = (mask(), mask());
    let request = site.request;
    if let Some(folder) = request.log.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("{} can't be made", folder.display()))?;
    }
    let log = Log::create(&request.log)
        .with_context(|| format!("the log {} can't be written", request.log.display()))?;
    let mut listener = Listener {
        label: &request.label,
        log,
        tell,
        facts: BTreeMap::new(),
        loaded: BTreeSet::new(),
        error: None,
        garbage: None,
    };
    let hearing = match input {
        Some(_) => Hearing::Apart,
        None => Hearing::AsOne,
    };
    // What it has of the machine is its until nothing of it is left, whatever becomes of flow.
    launch.held.extend(site.share.lock.upgrade());
    let process = Process::start(&launch, input, hearing)
        .with_context(|| format!("`{program}` can't be started"))?;
    let mut lines = Lines::default();
    let end = process
        .attend(
            request.timeout,
            || site.stopped(),
            |stream, bytes| {
                match stream {
                    Stream::Stderr => stderr.pass(bytes, |bytes| listener.log.write(bytes)),
                    Stream::Stdout => stdout.pass(bytes, |bytes| {
                        lines.add(bytes, |line| listener.hear(line));
                    }),
                }
                match listener.garbage {
                    Some(_) => ControlFlow::Break(()),
                    None => ControlFlow::Continue(()),
                }
            },
        )
        .with_context(|| format!("`{program}` can't be waited for"))?;
    stderr.end(|bytes| listener.log.write(bytes));
    stdout.end(|bytes| lines.add(bytes, |line| listener.hear(line)));
    lines.end(|line| listener.hear(line));
    if let Some(line) = listener.garbage {
        bail!(
            "it printed a line on stdout that is not an event of the protocol: `{line}` (a plugin logs on stderr)"
        );
    }
    match end.why {
        Ending::Interrupted => Ok(None),
        Ending::TimedOut => bail!(
            "it was ended after its timeout of {} s; raise `timeout`, or find out in the log what it waits for",
            request.timeout.unwrap_or_default().as_secs()
        ),
        Ending::Exited(status) if status.success() => {
            if let Task::Kind { code, .. } = &request.task
                && !code.is_empty()
            {
                plugin::check(code, &listener.loaded)?;
            }
            Ok(Some(Watched {
                facts: listener.facts,
                used: end.used,
            }))
        }
        Ending::Exited(status) => match listener.error {
            Some(message) => bail!("{message}"),
            None => bail!("{}", how_it_ended(status, request.plugin())),
        },
    }
}

fn how_it_ended(status: ExitStatus, plugin: Option<&str>) -> String {
    match (status.code(), status.signal()) {
        // So a shell tells of a program that it ran.
        (Some(code @ 129..), _) if plugin.is_none() && crash(code - 128).is_some() => format!(
            "it ended with exit status {code}: a program in it crashed with {}, on {}",
            crash(code - 128).unwrap_or_default(),
            processor()
        ),
        // By a shell with pipefail; SIGPIPE is no fault.
        (Some(141), _) if plugin.is_none() => "it ended with exit status 141: a program was cut off by the one behind it, which had \
             read enough (such as `head`). Where that is right, allow it: `… || test $? = 141` behind the line, or a `shell` without \
             pipefail"
            .into(),
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(9)) => {
            "it was killed (signal 9): by someone, or by the system when memory ran out".into()
        }
        (None, signal) => match (crash(signal.unwrap_or(0)), plugin) {
            (None, _) => format!("it was ended by signal {}", signal.unwrap_or(0)),
            (Some(crash), None) => format!("it crashed with {crash}, on {}", processor()),
            (Some(crash), Some(plugin)) => format!(
                "it crashed with {crash}. That is a fault in {plugin}, or in this machine; the processor is {}. A report to the plugin's \
                 makers is welcome, with this message and the last lines of the log",
                processor()
            ),
        },
    }
}

/// What a signal says that a process gets for a fault of its own.
fn crash(signal: i32) -> Option<&'static str> {
    use rustix::process::Signal;
    Some(match Signal::from_named_raw(signal)? {
        Signal::SEGV => "a segmentation fault (SIGSEGV: it used memory that it does not have)",
        Signal::ABORT => "an abort (SIGABRT: it found an error in itself and gave up)",
        Signal::ILL => {
            "an illegal instruction (SIGILL: this processor does not have one that it was built with)"
        }
        Signal::BUS => {
            "a bus error (SIGBUS: a file that it had mapped was cut short, or shared memory ran out)"
        }
        Signal::FPE => "an arithmetic fault (SIGFPE: a whole number was divided by zero)",
        _ => return None,
    })
}

/// Takes a plugin's lines in.
struct Listener<'a, T: Fn(Event)> {
    label: &'a str,
    log: Log,
    tell: &'a T,
    /// What it says that it computes with.
    facts: BTreeMap<String, String>,
    /// The files of code that it says that it ran.
    loaded: BTreeSet<PathBuf>,
    /// Its last words.
    error: Option<String>,
    /// The first line that was no event.
    garbage: Option<String>,
}

impl<T: Fn(Event)> Listener<'_, T> {
    fn hear(&mut self, line: &str) {
        let label = || self.label.to_string();
        match serde_json::from_str::<protocol::Event>(line) {
            Ok(protocol::Event::Progress {
                done,
                total,
                unit,
                message,
            }) => {
                (self.tell)(Event::Progress {
                    label: label(),
                    done,
                    total,
                    unit,
                    message,
                });
            }
            Ok(protocol::Event::Metric { name, value, step }) => {
                let shown = value.map_or("not a number".into(), |v| v.to_string());
                match step {
                    Some(step) => self.write(&format!("{name} at {step}: {shown}")),
                    None => self.write(&format!("{name}: {shown}")),
                }
                (self.tell)(Event::Metric {
                    label: label(),
                    name,
                    value,
                    step,
                });
            }
            Ok(protocol::Event::Log {
                message,
                facts,
                loaded,
            }) => {
                self.write(&message);
                self.facts.extend(facts);
                self.loaded.extend(loaded);
            }
            Ok(protocol::Event::Warning { message }) => {
                self.write(&format!("warning: {message}"));
                (self.tell)(Event::Warning {
                    label: Some(label()),
                    message,
                });
            }
            Ok(protocol::Event::Error { message }) => {
                self.write(&format!("error: {message}"));
                self.error = Some(message);
            }
            Err(_) => {
                self.write(line);
                self.garbage
                    .get_or_insert_with(|| line.chars().take(200).collect());
            }
        }
    }

    fn write(&mut self, line: &str) {
        self.log.write(line.as_bytes());
        self.log.write(b"\n");
    }
}
