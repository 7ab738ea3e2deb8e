//! `--json`: an object a line on stdout, for each stage that ends and for the run's end, or the check's; with `--events`
//! for all that a run tells.

use std::io;

use flow_run::record::Event;

use super::{View, print, tell};

/// What is printed of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// How stages, points and the run ended; warnings go to stderr.
    Ends,
    /// All events, as the journal has them.
    All,
}

/// Prints events.
#[derive(Debug)]
pub struct Json {
    told: Told,
    /// Why the first line that is missing could not be printed.
    lost: Option<io::Error>,
}

impl Json {
    /// One that prints these.
    pub fn new(told: Told) -> Json {
        Json { told, lost: None }
    }

    fn print(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            // It does not stop the run, and is said at its end.
            if let Err(error) = print(&line) {
                self.lost.get_or_insert(error);
            }
        }
    }
}

impl View for Json {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Stage(_)
            | Event::Point(_)
            | Event::Run(_)
            | Event::Check(_)
            | Event::Checked(_) => self.print(event),
            _ if self.told == Told::All => self.print(event),
            Event::Warning { label, message } => {
                let label = label.as_ref().map_or(String::new(), |l| format!("{l}: "));
                tell(&format!("warning: {label}{message}"));
            }
            _ => {}
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.lost.take().map_or(Ok(()), Err)
    }
}
