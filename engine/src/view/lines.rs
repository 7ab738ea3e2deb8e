//! Plain lines on stderr, where nobody watches: logs, CI, pipes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use flow_run::record::{Ending, Event, Status};

use super::{
    Pace, View, check, failure_lines, interrupted_line, point_line, run_line, stage_line, tell,
};

/// How often a running stage is heard of.
const INTERVAL: Duration = Duration::from_secs(10);

/// A line for each stage that ends, and now and then one for a stage that runs.
#[derive(Debug, Default)]
pub struct Lines {
    running: HashMap<String, (Pace, Instant)>,
}

impl Lines {
    fn heard(&mut self, label: &str) {
        let now = (Pace::new(0, ""), Instant::now());
        self.running.insert(label.into(), now);
    }
}

impl View for Lines {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Execute { label, .. } => self.heard(label),
            Event::Continue { label, then, .. } => {
                tell(&format!("continues {label}, from {then}"));
            }
            Event::Waiting { label, holder } => {
                self.heard(label);
                tell(&format!("waiting   {label} for {holder}"));
            }
            Event::Progress {
                label,
                done,
                total,
                unit,
                message,
            } => {
                if let Some((pace, last)) = self.running.get_mut(label) {
                    let text = pace.text(*done, *total, unit, message);
                    if last.elapsed() >= INTERVAL {
                        tell(&format!("running   {label}: {text}"));
                        *last = Instant::now();
                    }
                }
            }
            Event::Warning {
                label: Some(label),
                message,
            } => tell(&format!("warning: {label}: {message}")),
            Event::Warning {
                label: None,
                message,
            } => tell(&format!("warning: {message}")),
            Event::Stage(end) => {
                let label = end.label();
                // What was in the store all along is counted at the end, no more: there may be thousands.
                let heard = self.running.remove(&label).is_some();
                let ended = matches!(end.status, Status::Ran | Status::Failed | Status::Cached);
                if (heard && ended) || end.status == Status::Frozen {
                    tell(&stage_line(end));
                }
                for line in end
                    .failure
                    .iter()
                    .flat_map(|failure| failure_lines(&label, failure))
                {
                    tell(&line);
                }
            }
            Event::Point(end) => {
                // Points that were there all along are counted at the end.
                if end.ran > 0 || end.status != Ending::Ok {
                    tell(&point_line(end));
                }
            }
            Event::Run(end) => {
                if end.status == Ending::Cancelled {
                    tell(&interrupted_line(end));
                }
                tell(&run_line(end));
            }
            Event::Check(end) => {
                let label = end.label();
                self.running.remove(&label);
                for line in check::lines(end) {
                    tell(&line);
                }
            }
            Event::Checked(checked) => tell(&check::summary(checked)),
            Event::Start { .. } | Event::Metric { .. } => {}
        }
    }
}
