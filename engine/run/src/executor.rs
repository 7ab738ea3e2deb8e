//! The seam between the work and the place where it is done, and the loop over it.
//!
//! The loop runs on one thread. It asks what starts next, submits it to the executor as one batch, and hands on what the
//! executor tells. What waits costs the loop nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flow_plan::plan::Resources;

use super::perform::Outcome;
use super::request::Request;
use crate::record::event::Event;

/// A request under the number that whoever made it knows it by.
pub(super) struct Job {
    /// No two that are under way have the same.
    pub number: usize,
    pub request: Request,
}

/// What an executor tells.
pub(super) enum Message {
    /// Something happened to a job.
    Event(Event),
    /// The job's process is gone, and its result is on the way into the store: what it held of the machine is free.
    Freed(usize),
    /// The job ended; how, and after how many seconds.
    Ended(usize, Outcome, f64),
}

/// Carries requests out somewhere.
pub(super) trait Executor {
    /// Whether there is room now for what asks for `asked`, once `batch` is submitted.
    fn fits(&self, batch: &[Job], asked: &Resources) -> bool;

    /// Begins all of a batch, which fits.
    fn submit(&mut self, batch: Vec<Job>);

    /// What happened next; `None` where that is nothing for so long.
    fn next(&mut self, timeout: Duration) -> Option<Message>;

    /// Asks all that was submitted to end. Each job still tells how it ended.
    fn cancel(&mut self);
}

/// Knows which jobs are due, and hears what became of them.
pub(super) trait Work {
    /// What starts now, of what fits.
    fn advance(&mut self, executor: &dyn Executor) -> Vec<Job>;

    /// Takes note of what happened.
    fn hear(&mut self, message: Message);
}

/// How often the loop looks whether it has to end.
const TICK: Duration = Duration::from_millis(50);

/// Does the work, until nothing is under way and nothing more starts. `stop` is set to end all.
pub(super) fn drive(work: &mut dyn Work, executor: &mut dyn Executor, stop: &AtomicBool) {
    let mut under_way = 0;
    let mut cancelled = false;
    loop {
        if stop.load(Ordering::Relaxed) && !cancelled {
            executor.cancel();
            cancelled = true;
        }
        let batch = work.advance(executor);
        under_way += batch.len();
        if !batch.is_empty() {
            executor.submit(batch);
        }
        if under_way == 0 {
            return;
        }
        if let Some(message) = executor.next(TICK) {
            if let Message::Ended(..) = message {
                under_way -= 1;
            }
            work.hear(message);
        }
    }
}
