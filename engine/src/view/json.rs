//! `--json`: an object a line on stdout, for each stage that ends and for the run's end.

use super::{View, print};
use crate::run::Event;

/// Prints the events that are promised; warnings go to stderr.
#[derive(Debug)]
pub struct Json;

impl View for Json {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Stage(_) | Event::Run(_) => {
                if let Ok(line) = serde_json::to_string(event) {
                    // A reader that is gone does not stop the run.
                    let _ = print(&line);
                }
            }
            Event::Warning { label, message } => {
                eprintln!(
                    "warning: {}{message}",
                    label.as_ref().map_or(String::new(), |l| format!("{l}: "))
                );
            }
            _ => {}
        }
    }
}
