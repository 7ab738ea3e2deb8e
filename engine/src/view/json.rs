//! `--json`: an object a line on stdout, for each stage that ends and for the run's end, or the check's.

use std::io;

use flow_run::record::Event;

use super::{View, print, tell};

/// Prints the events that are promised; warnings go to stderr.
#[derive(Debug, Default)]
pub struct Json {
    /// Why the first line that is missing could not be printed.
    lost: Option<io::Error>,
}

impl View for Json {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Stage(_)
            | Event::Point(_)
            | Event::Run(_)
            | Event::Check(_)
            | Event::Checked(_) => {
                if let Ok(line) = serde_json::to_string(event) {
                    // It does not stop the run, and is said at its end.
                    if let Err(error) = print(&line) {
                        self.lost.get_or_insert(error);
                    }
                }
            }
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
