//! What a person sees. Everything here is made of events, records and plugin descriptions; nothing here decides.
//!
//! - [`lines`]: a line for each stage that ends, where nobody watches.
//! - [`live`]: a line for each stage that runs, on a terminal.
//! - [`output`]: what stages print, between the lines of another view.
//! - [`hearing`]: input files while they are hashed, where that takes long.
//! - `check`: how stages that were run again compare with their stored results.
//! - [`json`]: one object a line.
//! - [`results`]: the tables at the end of a run.
//! - [`status`]: how each stage stands; [`why`]: the causes, part by part.
//! - [`graph`]: the DAG, in text and pictures.
//! - [`runs`]: the list of runs; [`provenance`]: one of them, and how results came to be; [`cell`]: the numbers of a table's cell.
//! - [`table`]: results over the points of a sweep.
//! - [`contrast`]: how two runs, or two points, differ.
//! - [`ro_crate`]: a run as a Workflow Run RO-Crate.
//! - [`schema`]: for editors.
//! - [`pages`]: what stage kinds there are.
//! - [`layout`]: columns that fit the screen.

pub mod cell;
mod check;
pub mod contrast;
pub mod graph;
pub mod hearing;
pub mod json;
pub mod layout;
pub mod lines;
pub mod live;
pub mod output;
pub mod pages;
pub mod provenance;
pub mod results;
pub mod ro_crate;
pub mod runs;
pub mod schema;
pub mod status;
pub mod table;
pub mod values;
pub mod why;

pub use flow_results::words::{MANY, duration, plain, some};

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use anstyle::AnsiColor;
use bytesize::ByteSize;
use flow_results::State;
use flow_run::record::event::{Failure, PointEnd, RunEnd, StageEnd};
use flow_run::record::{Ending, Event, Status, log};

use json::{Json, Told};

/// Shows a run while it goes on.
pub trait View {
    /// Takes one event in.
    fn event(&mut self, event: &Event);

    /// Called when all stages have ended, before the run does: what is drawn in place goes, and others may print.
    fn settle(&mut self) {}

    /// Called after the last event.
    ///
    /// # Errors
    /// Where something could not be shown that others count on.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The view that fits: JSON where it is asked for, live lines on a terminal, plain lines elsewhere.
pub fn choose(json: Option<Told>) -> Box<dyn View> {
    if let Some(told) = json {
        Box::new(Json::new(told))
    } else if io::stderr().is_terminal() {
        Box::new(live::Live::new())
    } else {
        Box::new(lines::Lines::default())
    }
}

/// The view that has what stages print between its lines, which stay where they are. `run` is the run's folder.
pub fn with_output(json: Option<Told>, run: &Path) -> Box<dyn View> {
    let view: Box<dyn View> = match json {
        Some(told) => Box::new(Json::new(told)),
        None => Box::new(lines::Lines::default()),
    };
    Box::new(output::Output::new(view, run.to_path_buf()))
}

/// Whether colours are wanted on stderr: on a terminal, unless `NO_COLOR` is set.
pub fn colour() -> bool {
    coloured(&io::stderr())
}

/// What a word means, for its colour. The word itself says it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Busy,
    Unsure,
    Bad,
}

impl Tone {
    /// That of how an instance stands.
    fn of(state: State) -> Tone {
        match state {
            State::UpToDate | State::Frozen => Tone::Good,
            State::MayRun => Tone::Unsure,
            State::WillRun => Tone::Busy,
        }
    }
}

/// A word on stdout in the colour of its meaning; plain in a pipe and with `NO_COLOR`.
fn tone(word: &str, tone: Tone) -> String {
    if !coloured(&io::stdout()) {
        return word.into();
    }
    painted(word, tone)
}

fn painted(word: &str, tone: Tone) -> String {
    let colour = match tone {
        Tone::Good => AnsiColor::Green,
        Tone::Busy => AnsiColor::Cyan,
        Tone::Unsure => AnsiColor::Yellow,
        Tone::Bad => AnsiColor::Red,
    };
    let style = colour.on_default();
    format!("{style}{word}{style:#}")
}

fn coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints to stdout. A reader that has gone away (`| head`) is no error.
///
/// # Errors
/// Where stdout can't be written for another reason, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Prints a line to stderr. A log that can't be written, on a full disk perhaps, does not stop a run: results matter more.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The line of a stage that ended.
fn stage_line(end: &StageEnd) -> String {
    let time = match end.status {
        Status::Ran | Status::Failed => duration(end.seconds),
        _ => String::new(),
    };
    let word = format!("{:<9}", end.status.word());
    let word = match end.status {
        _ if !colour() => word,
        Status::Failed => painted(&word, Tone::Bad),
        _ => painted(&word, Tone::Good),
    };
    format!("{word} {:<28} {time:>9}", end.label())
        .trim_end()
        .into()
}

/// The line of a sweep's point that ended.
fn point_line(end: &PointEnd) -> String {
    let goal = end.goal.map_or(String::new(), |goal| format!("{goal:.4}"));
    let word = format!(
        "{:<9}",
        match end.status {
            Ending::Ok => "point",
            ending => ending.word(),
        }
    );
    let word = match end.status {
        _ if !colour() => word,
        Ending::Ok => painted(&word, Tone::Good),
        _ => painted(&word, Tone::Bad),
    };
    let count = format!("{} of {} points", end.done, end.points);
    format!("{word} {:<28} {goal:>9}  {count}", end.label)
}

/// What is said of a failed stage.
fn failure_lines(label: &str, failure: &Failure) -> Vec<String> {
    let mut lines = vec![format!(
        "error: stage `{label}` failed: {}",
        failure.message
    )];
    lines.extend(failure.tail.iter().map(|line| format!("  | {line}")));
    lines.push(log_line(&failure.log));
    if let Some(folder) = &failure.folder {
        lines.push(format!(
            "  its folder: {} (`flow debug` begins it anew)",
            folder.display()
        ));
    }
    lines
}

/// Where a log is, and what it lacks.
fn log_line(log: &Path) -> String {
    match log::left_out(log) {
        0 => format!("  whole log: {}", log.display()),
        bytes => format!(
            "  log, without {} in its middle: {}",
            ByteSize(bytes),
            log.display()
        ),
    }
}

/// The line at a run's end.
fn run_line(end: &RunEnd) -> String {
    let mut counts = vec![format!("{} ran", end.ran), format!("{} cached", end.cached)];
    for (count, word) in [
        (end.frozen, "frozen"),
        (end.failed, "failed"),
        (end.skipped, "skipped (they read from one that failed)"),
        (end.cancelled, "not run"),
        (end.undelivered, "not delivered"),
    ] {
        if count > 0 {
            counts.push(format!("{count} {word}"));
        }
    }
    format!(
        "run {}: {}, {}",
        end.run,
        counts.join(", "),
        duration(end.seconds)
    )
}

/// What an interrupted run keeps.
fn interrupted_line(end: &RunEnd) -> String {
    let kept = match end.ran + end.cached + end.frozen {
        0 => "no stage had finished".to_string(),
        1 => "the finished stage is in the store".to_string(),
        count => format!("the {count} finished stages are in the store"),
    };
    const FEW: usize = 3;
    let named: Vec<String> = (end.checkpoints.iter().take(FEW))
        .map(|label| format!("`{label}`"))
        .collect();
    let named = named.join(", ");
    let goes_on = match end.checkpoints.len() {
        0 => String::new(),
        1 => format!(", and {named} goes on from its last checkpoint"),
        2 | FEW => format!(", and {named} go on from their last checkpoints"),
        count => format!(
            ", and {named} and {} more go on from their last checkpoints",
            count - FEW
        ),
    };
    format!("interrupted: {kept}{goes_on}; run the same command again to go on")
}

/// How far a stage is, and its pace.
struct Progress<'a> {
    done: u64,
    /// 0 where it is not known.
    total: u64,
    unit: &'a str,
    message: &'a str,
    /// Units that were done in `seconds`.
    fresh: u64,
    seconds: f64,
    /// Seconds since the last of them.
    since: f64,
}

impl Progress<'_> {
    /// `done` of `total` units, the rate, and the time left where it can be told.
    fn text(&self) -> String {
        let Progress { done, total, .. } = *self;
        let unit = self.unit;
        let mut text = if total > 0 {
            format!("{unit} {done}/{total}")
        } else {
            format!("{unit} {done}")
        };
        if self.fresh > 0 && self.seconds > 0.0 {
            let rate = self.fresh as f64 / self.seconds;
            text += &if rate >= 1.0 {
                format!(", {rate:.1} {unit}s/s")
            } else {
                let article = if unit.starts_with(['a', 'e', 'i', 'o']) {
                    "an"
                } else {
                    "a"
                };
                format!(", {} {article} {unit}", duration(1.0 / rate))
            };
            let left = (total.saturating_sub(done)) as f64 / rate - self.since;
            if left > 0.0 {
                text += &format!(", {} left", duration(left));
            }
        }
        if !self.message.is_empty() {
            text += &format!(", {}", self.message);
        }
        text
    }
}

/// The pace of one running stage.
#[derive(Debug)]
struct Pace {
    began: Instant,
    /// What was done when it was first heard of: a stage that goes on from a checkpoint does not begin at 0.
    first: u64,
    /// What is done, and since when: a long unit says what it is at meanwhile, and that changes no pace.
    last: (u64, Instant),
    unit: String,
}

impl Pace {
    fn new(done: u64, unit: &str) -> Pace {
        let now = Instant::now();
        Pace {
            began: now,
            first: done,
            last: (done, now),
            unit: unit.into(),
        }
    }

    /// The progress line; starts over where the stage counts something else than before.
    fn text(&mut self, done: u64, total: u64, unit: &str, message: &str) -> String {
        if self.unit != unit || done < self.first {
            *self = Pace::new(done, unit);
        }
        if done != self.last.0 {
            self.last = (done, Instant::now());
        }
        let progress = Progress {
            done,
            total,
            unit,
            message,
            fresh: done - self.first,
            seconds: (self.last.1 - self.began).as_secs_f64(),
            since: self.last.1.elapsed().as_secs_f64(),
        };
        progress.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_rate_and_time_left() {
        let progress = |done, total, unit, seconds, since| Progress {
            done,
            total,
            unit,
            message: "loss 0.5",
            fresh: done,
            seconds,
            since,
        };
        assert_eq!(
            progress(4, 10, "epoch", 8.0, 0.0).text(),
            "epoch 4/10, 2.0 s an epoch, 12.0 s left, loss 0.5"
        );
        // The unit that has begun takes as long as those before it.
        assert_eq!(
            progress(4, 10, "epoch", 8.0, 1.5).text(),
            "epoch 4/10, 2.0 s an epoch, 10.5 s left, loss 0.5"
        );
        assert_eq!(
            progress(9, 10, "step", 90.0, 11.0).text(),
            "step 9/10, 10.0 s a step, loss 0.5"
        );
        assert_eq!(
            progress(0, 0, "image", 0.0, 0.0).text(),
            "image 0, loss 0.5"
        );
    }
}
