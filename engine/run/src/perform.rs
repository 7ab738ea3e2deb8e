//! A request carried out, from lease to commit, on the machine that has the share of it.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use flow_cache::{Acquired, Draft, Holder, Lease, Record, Shared, Store, remove_folder};
use flow_plan::plan::Folder;
use serde_json::{Value, json};

use super::budget::Share;
use super::command;
use super::earlier;
use super::folder::{Known, StageFolder, failed};
use super::outputs;
use super::request::{Made, Request, Source, Task};
use super::site::Site;
use super::watch::{Watched, watch};
use crate::process::{Launch, Used};
use crate::record::event::{Event, Failure};
use crate::record::external::{self, External, Reader};
use crate::record::journal;
use crate::record::log;

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was executed.
    Ran(Box<Record>),
    /// Another run made it meanwhile.
    Cached(Box<Record>),
    /// It failed.
    Failed(Failure),
    /// It was asked to end.
    Cancelled {
        /// Whether it left something that the next run goes on from.
        checkpoint: bool,
    },
}

/// What is told of a request before its end.
#[derive(Debug)]
pub enum Told {
    /// Something happened.
    Event(Event),
    /// Its process is gone, and its result is on the way into the store: its share of the machine is free.
    Freed,
}

/// Carries the request out with what it holds of this machine. `tell` hears all that happens before its end; `stop` is set
/// to end it.
pub fn perform(
    store: &Store,
    request: &Request,
    share: &Share,
    stop: &AtomicBool,
    tell: &(impl Fn(Told) + Sync),
) -> Outcome {
    let results = match &request.results {
        Some(root) => Store::open(root).map_err(anyhow::Error::from),
        None => Ok(store.clone()),
    };
    let outcome = results.and_then(|results| {
        let site = Site {
            request,
            inputs: store,
            results: &results,
            share,
            stop,
            terminal: None,
        };
        let mut result = site.attempt(tell);
        for retry in 1..=request.retries {
            let Err(error) = &result else { break };
            if site.stopped() {
                break;
            }
            let message = format!("{error:#}; retry {retry} of {}", request.retries);
            let label = Some(request.label.clone());
            tell(Told::Event(Event::Warning { label, message }));
            result = site.attempt(tell);
        }
        result
    });
    outcome.unwrap_or_else(|error| {
        // What `--check` runs again is gone with its store.
        let kept = failed::failed(store, &request.key);
        Outcome::Failed(Failure {
            message: format!("{error:#}"),
            tail: log::tail(&request.log),
            log: request.log.clone(),
            folder: kept,
        })
    })
}

/// What a program was started in, and with.
struct Worked {
    folder: StageFolder,
    launch: Launch,
}

impl Site<'_> {
    fn attempt(&self, tell: &(impl Fn(Told) + Sync)) -> Result<Outcome> {
        let request = self.request;
        let say = |event| tell(Told::Event(event));
        let mut told = None;
        let mut waiting = |holder: &Holder| {
            let holder = format!("{holder}, which computes it");
            if told.as_ref() != Some(&holder) {
                say(Event::Waiting {
                    label: request.label.clone(),
                    holder: holder.clone(),
                });
                told = Some(holder);
            }
            if self.stopped() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let acquired = self
            .results
            .acquire(&request.key, request.forced, &mut waiting)?;
        let lease = match acquired {
            Acquired::Hit(record) => return Ok(Outcome::Cached(Box::new(record))),
            Acquired::GaveUp => return Ok(Outcome::Cancelled { checkpoint: false }),
            Acquired::Lease(lease) => lease,
        };
        let (checkpoints, is_program) = match &request.task {
            Task::Kind { checkpoints, .. } => (*checkpoints, false),
            Task::Command(program) => (program.checkpoints.is_some(), true),
        };
        if checkpoints && !request.forced {
            remove_attempts(lease.work());
        } else {
            lease.clear_work()?;
        }
        // A name of its own, so that whatever an earlier attempt may have left running can't write into this one.
        let attempt = lease
            .work()
            .join(format!("attempt-{}-{}", request.run, std::process::id()));
        let mut worked = None;
        let work = lease.work().to_path_buf();
        // A program's folder is kept, to be looked at.
        let keep = |worked: Option<Worked>, error| match worked {
            Some(Worked { folder, launch }) => folder.keep(self, error, &launch, &work),
            None => error,
        };
        match self.run(&lease, &attempt, &mut worked, &say) {
            Ok(Some(draft)) => {
                // Another attempt would need it again.
                if request.retries == 0 {
                    if let Some(worked) = &mut worked {
                        worked.folder.leave_project();
                    }
                    tell(Told::Freed);
                }
                match lease.commit(draft) {
                    Ok(record) => Ok(Outcome::Ran(Box::new(record))),
                    Err(error) => {
                        let error = keep(worked, error.into());
                        let _ = remove_folder(&attempt);
                        Err(error)
                    }
                }
            }
            Ok(None) => {
                let _ = remove_folder(&attempt);
                let kept = if is_program { "checkpoints" } else { "scratch" };
                let scratch = fs::read_dir(lease.work().join(kept));
                let checkpoint = checkpoints && scratch.is_ok_and(|mut left| left.next().is_some());
                lease.abandon(checkpoints);
                Ok(Outcome::Cancelled { checkpoint })
            }
            Err(error) => {
                let error = keep(worked, error);
                let _ = remove_folder(&attempt);
                lease.abandon(checkpoints || is_program);
                Err(error)
            }
        }
    }

    /// Runs the process and checks what it made; `None` where it was asked to end. `worked` gets the folder that a program
    /// was started in.
    fn run(
        &self,
        lease: &Lease,
        attempt: &Path,
        worked: &mut Option<Worked>,
        tell: &(impl Fn(Event) + Sync),
    ) -> Result<Option<Draft>> {
        let (request, share) = (self.request, self.share);
        let earlier = match &request.task {
            Task::Kind { continues, .. } if !request.forced && !continues.is_empty() => {
                earlier::find(self.results, continues, &request.manifest, share.threads)?
            }
            _ => None,
        };
        let continued = earlier.as_ref().map(|(record, _)| record);
        let wait = |holder| {
            tell(Event::Waiting {
                label: request.label.clone(),
                holder,
            });
        };
        let prepared = command::prepare(self, continued, lease.work(), attempt, &wait)?;
        let Some(mut prepared) = prepared else {
            return Ok(None);
        };
        let shared = std::mem::take(&mut prepared.shared);
        let gone_on_from = std::mem::take(&mut prepared.earlier);
        *worked = prepared.folder.take().map(|folder| Worked {
            folder,
            launch: prepared.launch.clone(),
        });
        let folder = worked.as_ref().map(|worked| &worked.folder);
        let outputs = attempt.join("outputs");
        tell(Event::Execute {
            label: request.label.clone(),
            threads: share.threads,
        });
        if let Some((record, then)) = &earlier {
            tell(Event::Continue {
                label: request.label.clone(),
                earlier: record.key,
                then: then.clone(),
            });
        }
        let started = Instant::now();
        let begun = jiff::Timestamp::now();
        let watched = watch(self, prepared, tell);
        let seconds = started.elapsed().as_secs_f64();
        let taken = watched.and_then(|watched| {
            let taken = match (folder, &watched) {
                (Some(folder), Some(_)) => folder.take_outputs(self)?,
                _ => (outputs, Known::new()),
            };
            Ok(watched.map(|watched| (watched, taken)))
        });
        let (Watched { facts, used }, (outputs, known)) = match taken {
            Ok(Some(taken)) => taken,
            Ok(None) => return Ok(None),
            Err(error) => {
                let Some(folder) = folder else {
                    return Err(error);
                };
                check_shared(self.inputs, &shared)?;
                return Err(folder.failure(self, error));
            }
        };
        self.warn_of_memory(used, tell);
        let collected = outputs::collect(request, &outputs, known, tell).and_then(|collected| {
            check_shared(self.inputs, &shared)?;
            self.check_inputs()?;
            let mut made = continued.iter().flat_map(|record| record.outputs.values());
            check_shared(self.results, &gone_on_from)
                .and_then(|()| Ok(made.try_for_each(|stored| self.results.check(stored))?))
                .context("what it went on from changed while it ran; stages may only read it")?;
            Ok(collected)
        });
        let (kept, metrics) = collected?;
        let (plugin, digest) = match &request.task {
            Task::Kind { plugin, digest, .. } => (Some(plugin), Some(digest)),
            Task::Command(_) => (None, None),
        };
        let mut provenance = json!({
            "stage": request.stage,
            "label": request.label,
            "run": request.run,
            "inputs": origins(request),
            "plugin": plugin,
            "plugin_digest": digest,
            "threads": share.threads,
            "device": share.device(),
            "gpus": share.gpus,
            "host": journal::host(),
            "platform": journal::platform(),
            "facts": facts,
            "used": used,
            "flow": env!("CARGO_PKG_VERSION"),
            "continues": continued.map(|record| record.key),
            "started": begun.to_string(),
        });
        if let Some(surroundings) = &request.surroundings {
            provenance["environment"] = surroundings.to_string().into();
        }
        if let Some(folder) = folder
            && let Some(why) = &folder.why_not
        {
            provenance["not_isolated"] = why.as_str().into();
        }
        Ok(Some(Draft {
            manifest: serde_json::to_value(&request.manifest)?,
            outputs: kept,
            provenance,
            metrics,
            seconds,
        }))
    }

    /// Tells where a stage took more memory than it asked for: others may run beside it that count on that.
    fn warn_of_memory(&self, used: Option<Used>, tell: &impl Fn(Event)) {
        let asked = self.request.resources.memory;
        if let Some(used) = used
            && asked > 0
            && used.peak_memory > asked
        {
            let (took, asked) = (ByteSize(used.peak_memory), ByteSize(asked));
            let message = format!(
                "it took {took} of memory, and its resources say {asked}: raise `memory`, so that no more runs beside it than fits"
            );
            let label = Some(self.request.label.clone());
            tell(Event::Warning { label, message });
        }
    }

    /// Inputs that changed while the stage ran make a result that belongs to no key.
    fn check_inputs(&self) -> Result<()> {
        let check = |made: &Made| {
            self.inputs.check(&made.stored).context(
                "one of its inputs in the store changed while it ran; stages may only read them",
            )
        };
        for input in &self.request.inputs {
            match &input.source {
                Source::Result(made) => check(made)?,
                Source::Collected(all) | Source::Named(all) => {
                    all.iter().try_for_each(check)?;
                }
                Source::Path {
                    files,
                    digest,
                    paths,
                    contents,
                    ..
                } => {
                    let folder = &self.request.folder;
                    let mut found = paths.iter().zip(contents);
                    let is_still = |path: &Path, content| {
                        external::is_still(files, path, content, folder, self.inputs)
                    };
                    let same = match &self.request.task {
                        // What was small it read from a copy.
                        Task::Command(program) if program.folder == Folder::Own => {
                            found.all(|(path, content)| {
                                External::is_small(content) || is_still(path, content)
                            })
                        }
                        // What is named may be another file by now.
                        Task::Kind { .. } if !contents.is_empty() => {
                            found.all(|(path, content)| is_still(path, content))
                        }
                        task => {
                            let reader = match task {
                                Task::Kind { .. } => Reader::Kind,
                                Task::Command(_) => Reader::Program,
                            };
                            // The memo of what was hashed makes this cheap.
                            let now = external::find(files, reader, folder, self.inputs);
                            now.is_ok_and(|now| now.digest == *digest)
                        }
                    };
                    ensure!(
                        same,
                        "its input {} changed while it ran, so the result belongs to neither content; run again",
                        files.text()
                    );
                }
            }
        }
        Ok(())
    }
}

/// What a stage wrote to in place of reading it makes no result; and what was damaged by that is gone from the store.
fn check_shared(store: &Store, shared: &[Shared]) -> Result<()> {
    let checked = shared.iter().map(|shared| {
        store.check_shared(shared).with_context(|| {
            let name = shared.path.file_name().unwrap_or_default().to_string_lossy();
            format!(
                "it wrote to its input `{name}`; a stage may only read its inputs, or asks for a copy with `writable = true`"
            )
        })
    });
    // All of them, so that none stays damaged.
    let all: Vec<Result<()>> = checked.collect();
    all.into_iter().collect()
}

/// Removes what attempts that were killed have left beside their checkpoints. Nothing reads it again, so what can't be
/// removed is only in the way of disk space.
fn remove_attempts(work: &Path) {
    for entry in fs::read_dir(work).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name == "failed" || name.to_string_lossy().starts_with("attempt-") {
            let _ = remove_folder(&entry.path());
        }
    }
}

/// Where each input came from: another stage's result, by its key; or the user's files, as the workflow names them.
fn origins(request: &Request) -> Value {
    let result = |made: &Made| {
        json!({
            "stage": made.stage,
            "output": made.output,
            "key": made.key,
            "digest": made.stored.digest,
        })
    };
    let origins = request.inputs.iter().map(|input| {
        let from: Vec<Value> = match &input.source {
            Source::Result(made) => vec![result(made)],
            Source::Collected(all) | Source::Named(all) => all.iter().map(result).collect(),
            Source::Path { files, .. } => {
                let mut named = json!({ "path": files.text() });
                if files.patterns.len() > 1 || !files.exclude.is_empty() {
                    named["files"] = json!(files);
                }
                vec![named]
            }
        };
        (input.role.clone(), Value::from(from))
    });
    Value::Object(origins.collect())
}
