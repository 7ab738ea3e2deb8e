//! A live line for each running stage, on a terminal; a lasting one for each that ended.

use std::collections::HashMap;
use std::time::Duration;

use flow_run::record::{Ending, Event, Status};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Pace, View, check, failure_lines, interrupted_line, point_line, run_line, stage_line};

/// Live lines on stderr.
#[derive(Debug)]
pub struct Live {
    bars: MultiProgress,
    overall: Option<ProgressBar>,
    running: HashMap<String, (ProgressBar, Pace)>,
}

impl Live {
    /// Lines that are redrawn in place.
    pub fn new() -> Live {
        Live {
            bars: MultiProgress::new(),
            overall: None,
            running: HashMap::new(),
        }
    }

    fn line(&self, text: &str) {
        // A terminal that can't be written has nobody in front of it.
        let _ = self.bars.println(text);
    }

    fn start(&mut self, label: &str, text: String) {
        let style = ProgressStyle::with_template("{spinner} {prefix:28} {elapsed:>5}  {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner()
            .with_style(style)
            .with_prefix(label.to_string());
        let bar = match &self.overall {
            Some(overall) => self.bars.insert_before(overall, bar),
            None => self.bars.add(bar),
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message(text);
        self.running.insert(label.into(), (bar, Pace::new(0, "")));
    }
}

impl Default for Live {
    fn default() -> Self {
        Live::new()
    }
}

impl View for Live {
    fn settle(&mut self) {
        if let Some(overall) = self.overall.take() {
            overall.finish_and_clear();
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Start { stages, .. } => {
                let style =
                    ProgressStyle::with_template("{bar:30} {pos}/{len} stages{msg}, {elapsed}")
                        .unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::new(*stages as u64).with_style(style);
                bar.enable_steady_tick(Duration::from_secs(1));
                self.overall = Some(self.bars.add(bar));
            }
            Event::Execute { label, threads } => {
                let text = format!("{threads} thread{}", if *threads == 1 { "" } else { "s" });
                match self.running.get(label) {
                    Some((bar, _)) => bar.set_message(text),
                    None => self.start(label, text),
                }
            }
            Event::Continue { label, then, .. } => {
                self.line(&format!("continues {label}, from {then}"));
            }
            Event::Waiting { label, holder } => {
                self.start(label, format!("waits for {holder}"));
            }
            Event::Progress {
                label,
                done,
                total,
                unit,
                message,
            } => {
                if let Some((bar, pace)) = self.running.get_mut(label) {
                    bar.set_message(pace.text(*done, *total, unit, message));
                }
            }
            Event::Metric { .. } => {}
            Event::Warning {
                label: Some(label),
                message,
            } => self.line(&format!("warning: {label}: {message}")),
            Event::Warning {
                label: None,
                message,
            } => self.line(&format!("warning: {message}")),
            Event::Stage(end) => {
                let label = end.label();
                let running = self.running.remove(&label);
                if let Some((bar, _)) = &running {
                    bar.finish_and_clear();
                }
                let ended = matches!(end.status, Status::Ran | Status::Failed | Status::Cached);
                if (running.is_some() && ended) || end.status == Status::Frozen {
                    self.line(&stage_line(end));
                }
                for line in end
                    .failure
                    .iter()
                    .flat_map(|failure| failure_lines(&label, failure))
                {
                    self.line(&line);
                }
                if let Some(overall) = &self.overall {
                    overall.inc(1);
                }
            }
            Event::Point(end) => {
                if end.ran > 0 || end.status != Ending::Ok {
                    self.line(&point_line(end));
                }
                if let Some(overall) = &self.overall {
                    overall.set_message(format!(", {} of {} points", end.done, end.points));
                }
            }
            Event::Run(end) => {
                self.settle();
                if end.status == Ending::Cancelled {
                    self.line(&interrupted_line(end));
                }
                self.line(&run_line(end));
            }
            Event::Check(end) => {
                let label = end.label();
                if let Some((bar, _)) = self.running.remove(&label) {
                    bar.finish_and_clear();
                }
                for line in check::lines(end) {
                    self.line(&line);
                }
                if let Some(overall) = &self.overall {
                    overall.inc(1);
                }
            }
            Event::Checked(checked) => {
                if let Some(overall) = self.overall.take() {
                    overall.finish_and_clear();
                }
                self.line(&check::summary(checked));
            }
        }
    }
}
