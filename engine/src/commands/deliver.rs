//! What a run does about `[deliver]`.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

use flow_cache::{Output, Record};
use flow_run::deliver::{Delivered, Put, list};
use petgraph::graph::NodeIndex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::json;

use crate::arguments::RunArguments;
use crate::failure::{FAILED, Failure, wrong};
use crate::session::Session;
use crate::view::{self, plain};

/// How many lines say what was replaced, before the rest is counted.
const LINES: usize = 20;

/// How often it is looked whether Ctrl-C ends the wait for an answer.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// How the places stand that a workflow delivers to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// All hold what they should, and nothing else is there.
    Right,
    /// Something is there that is under `[deliver]` no longer.
    Littered,
    /// Something could not be delivered.
    Wrong,
    /// Someone was asked, and ended the run.
    Interrupted,
}

/// Refuses `--deliver` where it can't be done.
pub fn check(arguments: &RunArguments, session: &Session) -> Result<(), Failure> {
    let plan = &session.plan;
    if !arguments.deliver {
        return Ok(());
    }
    if plan.deliveries.is_empty() {
        return Err(wrong("--deliver: the workflow has nothing under [deliver]"));
    }
    match plan.delivered_twice() {
        Some((one, other)) => Err(wrong(format!(
            "--deliver: {} is delivered to `{}`, and {} to `{}`; name in the path what differs between the points, such as a \
             param",
            artifact(session, one.node, &one.output),
            one.path,
            artifact(session, other.node, &other.output),
            other.path
        ))),
        None => Ok(()),
    }
}

/// The names under which a run with these arguments delivers.
pub fn names<'s>(arguments: &RunArguments, session: &'s Session) -> Vec<&'s str> {
    if session.plan.sweep.is_some() && !arguments.deliver {
        return Vec::new();
    }
    let deliveries = session.plan.deliveries.iter();
    deliveries.map(|delivery| delivery.path.as_str()).collect()
}

/// Puts what the run found or made under the names that the workflow gives it; says how these places stand then, and how many
/// results are not there.
pub fn deliver(
    arguments: &RunArguments,
    session: &Session,
    records: &HashMap<NodeIndex, Record>,
    stop: &AtomicBool,
) -> Result<(Places, usize), Failure> {
    let names = names(arguments, session);
    let workflow = &session.workflow;
    if session.plan.sweep.is_some() && !arguments.deliver
        || names.is_empty() && !list(&workflow.path).exists()
    {
        return Ok((Places::Right, 0));
    }
    let mut delivered = Delivered::open(&workflow.path, workflow.root()).map_err(failed)?;
    let (mut due, mut artifacts): (Vec<(String, Output)>, _) = (Vec::new(), Vec::new());
    for delivery in &session.plan.deliveries {
        let record = records.get(&delivery.node);
        if let Some(output) = record.and_then(|record| record.outputs.get(&delivery.output)) {
            due.push((delivery.path.clone(), output.clone()));
            artifacts.push(artifact(session, delivery.node, &delivery.output));
        }
    }
    let names: BTreeSet<&str> = names.into_iter().collect();
    let mut gone = delivered.gone(&names);
    // At one point of a sweep those of the others are not gone.
    if !arguments.workflow.overrides().point.is_empty() {
        gone.clear();
    }
    // What flow wrote where a folder has to be now, or the other way round, makes room.
    let in_the_way = Delivered::in_the_way(&gone, &names);
    remove(arguments, session, &mut delivered, &in_the_way)?;
    gone.retain(|name| !in_the_way.contains(name));
    let puts = delivered.put(&session.store, &due).map_err(failed)?;
    let all = due.iter().zip(&artifacts).zip(&puts);
    let (mut replaced, mut new, mut lacking) = (0, 0, 0);
    for (((name, _), artifact), put) in all {
        let name = plain(name);
        let status = match put {
            Put::Same => continue,
            Put::New => {
                new += 1;
                "new"
            }
            Put::Replaced => {
                replaced += 1;
                if replaced <= LINES && !arguments.json {
                    view::tell(&format!("replaced {name} by {artifact}"));
                }
                "replaced"
            }
            Put::Strange(at) => {
                lacking += 1;
                let at = plain(&at.to_string_lossy());
                view::tell(&format!(
                    "error: {artifact} was not delivered to {name}: what is at {at} flow did not write, or it was changed \
                     since; move it away and run again"
                ));
                "left"
            }
            Put::Failed(cause) => {
                lacking += 1;
                view::tell(&format!(
                    "error: {artifact} can't be delivered to {name}: {cause}"
                ));
                "failed"
            }
        };
        if arguments.json {
            let line = json!({ "event": "delivery", "path": name, "artifact": artifact.trim_matches('`'), "status": status });
            view::print(&line.to_string())?;
        }
    }
    if !arguments.json {
        if replaced > LINES {
            view::tell(&format!("replaced {} more", replaced - LINES));
        }
        if new + replaced > 0 {
            view::tell(&format!("delivered {} result(s)", new + replaced));
        }
    }
    let places = if lacking > 0 {
        Places::Wrong
    } else {
        Places::Right
    };
    if gone.is_empty() {
        return Ok((places, lacking));
    }
    let told = match arguments.prune {
        true => Some(true),
        false => is_told_to_remove(&gone, stop)?,
    };
    if told == Some(true) {
        remove(arguments, session, &mut delivered, &gone)?;
        return Ok((places, lacking));
    }
    view::tell(&format!(
        "note: no longer under [deliver]: {}; --prune removes it",
        plain(&gone.join(", "))
    ));
    let places = match (told, places) {
        (None, _) => Places::Interrupted,
        (_, Places::Right) => Places::Littered,
        (_, other) => other,
    };
    Ok((places, lacking))
}

/// Removes what is under `[deliver]` no longer, as far as flow wrote it.
fn remove(
    arguments: &RunArguments,
    session: &Session,
    delivered: &mut Delivered,
    gone: &[String],
) -> Result<(), Failure> {
    let left = delivered.remove(&session.store, gone).map_err(failed)?;
    for name in gone {
        let is_left = left.contains(name);
        let name = plain(name);
        if is_left {
            view::tell(&format!(
                "warning: {name} was not removed: it was there before flow delivered it, or was changed since"
            ));
        } else if !arguments.json {
            view::tell(&format!("removed {name}"));
        }
        if arguments.json {
            let status = if is_left { "left" } else { "removed" };
            let line = json!({ "event": "delivery", "path": name, "status": status });
            view::print(&line.to_string())?;
        }
    }
    Ok(())
}

fn failed(error: flow_run::deliver::Error) -> Failure {
    Failure {
        text: format!("error: {error}"),
        status: FAILED,
    }
}

/// Asks at a terminal; elsewhere nobody could answer. None where Ctrl-C is the answer.
fn is_told_to_remove(gone: &[String], stop: &AtomicBool) -> Result<Option<bool>, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(Some(false));
    }
    view::tell(&format!(
        "no longer under [deliver]: {}; remove? [y/N]",
        plain(&gone.join(", "))
    ));
    // A signal does not end a read, so nothing is read before there is an answer.
    let stdin = io::stdin();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut asked, Some(&TICK)) {
            Ok(0) | Err(Errno::INTR) => {}
            _ => break,
        }
    }
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

fn artifact(session: &Session, node: NodeIndex, output: &str) -> String {
    format!("`{}.{output}`", session.plan.graph[node].label)
}
