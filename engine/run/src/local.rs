//! The executor that is this machine: a budget of it, and a thread for each stage that runs.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use flow_cache::Store;
use flow_plan::plan::Resources;

use super::budget::{Budget, Share};
use super::executor::{Executor, Job, Message, Work, drive};
use super::perform::{Outcome, Told, perform};
use crate::machine::domain::Domain;
use crate::machine::ledger::{Ledger, Who};
use crate::record::event::{Event, Failure};
use crate::record::log;

/// How many stages may be under way at once, those among them that only wait until their result is safe on the disk. So the
/// disk's syncs, which take milliseconds each, overlap.
const UNDER_WAY: usize = 64;

/// Does the work of a run of `workflow` on this machine, within the budget, and within what other runs leave.
pub(super) fn drive_here(
    work: &mut dyn Work,
    store: &Store,
    workflow: &str,
    budget: Budget,
    stop: &AtomicBool,
) {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let mut local = Local {
            scope,
            store,
            workflow,
            stop,
            budget,
            ledger: None,
            under_way: 0,
            shares: HashMap::new(),
            sender,
            receiver,
        };
        drive(work, &mut local, stop);
    });
}

struct Local<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    store: &'env Store,
    workflow: &'env str,
    /// Watched by the threads themselves, so that Ctrl-C takes no turn of the loop to reach them.
    stop: &'env AtomicBool,
    budget: Budget,
    /// What all runs share, once a stage of this one starts.
    ledger: Option<Arc<Ledger>>,
    /// The jobs whose threads have not ended.
    under_way: usize,
    /// What the jobs hold whose processes are not gone.
    shares: HashMap<usize, Share>,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
}

impl Executor for Local<'_, '_> {
    fn fits(&self, batch: &[Job], asked: &Resources) -> bool {
        let before = batch.iter().map(|job| &job.request.resources);
        self.under_way + batch.len() < UNDER_WAY && self.budget.fits(before, asked)
    }

    fn submit(&mut self, batch: Vec<Job>) {
        for job in batch {
            self.start(job);
        }
    }

    fn next(&mut self, timeout: Duration) -> Option<Message> {
        let message = self.receiver.recv_timeout(timeout).ok()?;
        if let Message::Freed(number) | Message::Ended(number, ..) = &message
            && let Some(share) = self.shares.remove(number)
        {
            self.budget.give_back(share);
        }
        if let Message::Ended(..) = message {
            self.under_way -= 1;
        }
        Some(message)
    }

    fn cancel(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Local<'_, '_> {
    fn ledger(&mut self) -> Arc<Ledger> {
        let (budget, sender) = (&self.budget, &self.sender);
        let make = || {
            let domain = Domain::here();
            let domain = domain.map_err(|error| {
                // The loop holds the other end.
                let _ = sender.send(Message::Event(apart(&error)));
            });
            Ledger::new(domain.ok(), budget.total())
        };
        Arc::clone(self.ledger.get_or_insert_with(make))
    }

    fn start(&mut self, job: Job) {
        let Job { number, request } = job;
        let Some(share) = self.budget.take(&request.resources) else {
            unreachable!("only what fits is submitted")
        };
        self.under_way += 1;
        self.shares.insert(number, share.clone());
        let ledger = self.ledger();
        let who = Who {
            run: request.run.clone(),
            workflow: self.workflow.into(),
            stage: request.label.clone(),
            pid: std::process::id(),
        };
        let (store, stop, sender) = (self.store, self.stop, self.sender.clone());
        self.scope.spawn(move || {
            // The loop outlives its jobs; where it is gone there is nobody to tell.
            let send = |message| {
                let _ = sender.send(message);
            };
            let held = Mutex::new(None);
            let free = || drop(held.lock().unwrap_or_else(PoisonError::into_inner).take());
            let tell = |told| {
                send(match told {
                    Told::Event(event) => Message::Event(event),
                    Told::Freed => {
                        free();
                        Message::Freed(number)
                    }
                });
            };
            let started = Instant::now();
            // Whatever happens here, the loop hears of an end: else it would wait for ever.
            let performed = AssertUnwindSafe(|| {
                let mut share = share;
                let waits = |holder: &str| {
                    send(Message::Event(Event::Waiting {
                        label: request.label.clone(),
                        holder: holder.into(),
                    }));
                };
                let key: String = request.key.to_string().chars().take(16).collect();
                let stopped = || stop.load(Ordering::Relaxed);
                match ledger.take(share.wanted(), &who, &key, stopped, waits) {
                    Ok(Some(got)) => {
                        share.hold(&got);
                        *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(got);
                    }
                    Ok(None) => return Outcome::Cancelled { checkpoint: false },
                    // Better all at once than nothing at all.
                    Err(error) => send(Message::Event(apart(&error))),
                }
                perform(store, &request, &share, stop, &tell)
            });
            let outcome = panic::catch_unwind(performed).unwrap_or_else(|_| {
                Outcome::Failed(Failure {
                    message: "flow itself failed while it ran this stage; please report it, with what it printed".into(),
                    tail: log::tail(&request.log),
                    log: request.log.clone(),
                    folder: None,
                })
            });
            free();
            send(Message::Ended(
                number,
                outcome,
                started.elapsed().as_secs_f64(),
            ));
        });
    }
}

/// What is said where this run does not know of others.
fn apart(error: &std::io::Error) -> Event {
    Event::Warning {
        label: None,
        message: format!(
            "the machine is not shared with other runs, so that two stages may get the same processors and GPUs: {error}"
        ),
    }
}
