//! Who holds what of the machine, and who waits for it: a folder with a ticket for each stage that runs or waits.
//!
//! A ticket is a file on which its holder has a kernel lock, so that who dies holds nothing, and who started processes that
//! outlive it, and keep its descriptor, holds on. Tickets are read and written by one process at a time, who holds the
//! *door*: what a stage needs is taken in one step, so that no two wait for each other with half of it. First come, first
//! served: what those before want counts as held, so that nobody who wants much is overtaken for ever; who wants none of that
//! need not wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::domain::Domain;

/// The file whose lock is the right to read and write tickets.
const DOOR: &str = "door";
/// It is held for less than a millisecond. Who holds it so long does it on purpose, or is stopped.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a stage that waits looks again.
const TICK: Duration = Duration::from_millis(50);
/// More than any ticket.
const LARGEST: u64 = 64 << 10;

/// What there is, as this process sees it.
#[derive(Debug, Clone)]
pub struct Total {
    /// Threads.
    pub threads: u32,
    /// Bytes.
    pub memory: u64,
    /// GPUs, by the names that `CUDA_VISIBLE_DEVICES` takes.
    pub gpus: Vec<String>,
    /// What each of them is called by all processes.
    pub identities: Vec<String>,
}

/// What a stage wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Threads.
    pub threads: u32,
    /// Bytes.
    pub memory: u64,
    /// GPUs.
    pub gpus: usize,
}

/// Who wants it, for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The run.
    pub run: String,
    /// The workflow's name.
    pub workflow: String,
    /// The instance.
    pub stage: String,
    /// The process of flow.
    pub pid: u32,
}

/// What stands on a ticket.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ticket {
    who: Who,
    threads: u32,
    memory: u64,
    gpus: usize,
    /// The GPUs that it has; while it waits, those that it could do with.
    identities: Vec<String>,
    waits: bool,
}

/// The ledger, as one process sees it.
#[derive(Debug)]
pub struct Ledger {
    total: Total,
    folder: Option<PathBuf>,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    door: Option<File>,
    /// This process's own tickets, which it need not read.
    own: BTreeMap<String, Ticket>,
}

/// What a stage has of the machine, until this is dropped.
#[derive(Debug)]
pub struct Held {
    ledger: Arc<Ledger>,
    name: String,
    /// The GPUs, by name.
    pub gpus: Vec<String>,
    /// Where runs inside the stage meet.
    pub room: Option<PathBuf>,
    file: Option<Arc<File>>,
}

/// What is in the way of what is wanted.
struct Lack {
    what: Vec<String>,
    /// The tickets of other runs; its own stages are what a run knows.
    who: Vec<Ticket>,
}

impl Ledger {
    /// The ledger of a domain, or one of this process alone where there is none.
    pub fn new(domain: Option<Domain>, mut total: Total) -> Arc<Ledger> {
        if let Some(threads) = domain.as_ref().and_then(|domain| domain.threads) {
            total.threads = total.threads.max(threads);
        }
        Arc::new(Ledger {
            total,
            folder: domain.map(|domain| domain.folder),
            inside: Mutex::default(),
        })
    }

    /// Takes all that is wanted as soon as it is there; more than there is counts as all. `key` names what the stage makes.
    /// `waits` hears for whom it waits, once for each other run; `None` where `stop` says so before.
    ///
    /// # Errors
    /// Where tickets can't be read or written.
    pub fn take(
        self: &Arc<Ledger>,
        wanted: Wanted,
        who: &Who,
        key: &str,
        stop: impl Fn() -> bool,
        mut waits: impl FnMut(&str),
    ) -> io::Result<Option<Held>> {
        let wanted = Wanted {
            threads: wanted.threads.min(self.total.threads),
            memory: wanted.memory.min(self.total.memory),
            gpus: wanted.gpus.min(self.total.gpus.len()),
        };
        let mut mine: Option<(String, Option<File>)> = None;
        let mut told = BTreeSet::new();
        while !stop() {
            let lack = self.step(wanted, who, key, &mut mine)?;
            let Some(lack) = lack else {
                let Some((name, file)) = mine else { break };
                return Ok(Some(self.held(name, file, key)));
            };
            // Its stages come and go: who waits for a run hears of it once.
            if told.insert(lack.run().map(str::to_string))
                && let Some(text) = lack.text()
            {
                waits(&text);
            }
            thread::sleep(TICK);
        }
        if let Some((name, file)) = mine {
            drop(self.held(name, file, key));
        }
        Ok(None)
    }

    /// One look at all tickets: either takes what is wanted, or notes that it is waited for and says what is in the way.
    fn step(
        &self,
        wanted: Wanted,
        who: &Who,
        key: &str,
        mine: &mut Option<(String, Option<File>)>,
    ) -> io::Result<Option<Lack>> {
        let mut inside = self.enter()?;
        let lack = self.look(&mut inside, wanted, who, key, mine);
        if let Some(door) = &inside.door {
            door.unlock()?;
        }
        lack
    }

    fn look(
        &self,
        inside: &mut Inside,
        wanted: Wanted,
        who: &Who,
        key: &str,
        mine: &mut Option<(String, Option<File>)>,
    ) -> io::Result<Option<Lack>> {
        let tickets = self.tickets(inside)?;
        let place = mine.as_ref().map(|(name, _)| name.as_str());
        let lack = self.lack(wanted, who, &tickets, place);
        let identities = match lack {
            None => self.free(&tickets).take(wanted.gpus).cloned().collect(),
            Some(_) => self.total.identities.clone(),
        };
        let ticket = Ticket {
            who: who.clone(),
            threads: wanted.threads,
            memory: wanted.memory,
            gpus: wanted.gpus,
            identities,
            waits: lack.is_some(),
        };
        let is_new = mine.is_none();
        if is_new {
            let last = tickets.last_key_value();
            let last = last.and_then(|(name, _)| name.split('-').next()?.parse::<u64>().ok());
            let number = last.map_or(0, |last| last + 1);
            let name = format!("{number:012}-{}-{key}", who.pid);
            *mine = Some((name.clone(), self.create(&name)?));
        }
        let Some((name, file)) = mine else {
            return Ok(lack);
        };
        let was = inside.own.insert(name.clone(), ticket.clone());
        if let Some(mut file) = file.as_ref()
            && was.is_none_or(|was| was.waits != ticket.waits)
        {
            let text = serde_json::to_vec(&ticket)?;
            // Only who is new has an empty one.
            if !is_new {
                rustix::fs::ftruncate(file, 0)?;
                rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
            }
            file.write_all(&text)?;
        }
        Ok(lack)
    }

    fn held(self: &Arc<Ledger>, name: String, file: Option<File>, key: &str) -> Held {
        let inside = self.inside();
        let ticket = inside.own.get(&name).filter(|ticket| !ticket.waits);
        let has = |identity: &String| ticket.is_some_and(|t| t.identities.contains(identity));
        let named = self.total.gpus.iter().zip(&self.total.identities);
        Held {
            ledger: Arc::clone(self),
            gpus: named
                .filter(|(_, identity)| has(identity))
                .map(|(name, _)| name.clone())
                .collect(),
            room: self.folder.as_ref().map(|folder| room(folder, key)),
            name,
            file: file.map(Arc::new),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the door.
    fn enter(&self) -> io::Result<MutexGuard<'_, Inside>> {
        let mut inside = self.inside();
        let Some(folder) = &self.folder else {
            return Ok(inside);
        };
        let door = match inside.door.take() {
            Some(door) => door,
            None => {
                let path = folder.join(DOOR);
                // Made by whoever comes first, and never written: to read it is enough for its lock.
                match OpenOptions::new().write(true).create_new(true).open(&path) {
                    Ok(file) => file.set_permissions(Permissions::from_mode(0o644))?,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
                open(&path)?
            }
        };
        let started = Instant::now();
        loop {
            match door.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_micros(200));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other(format!(
                        "another process has held {} for {} s",
                        folder.join(DOOR).display(),
                        PATIENCE.as_secs()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        inside.door = Some(door);
        Ok(inside)
    }

    /// The tickets of all who live, in the order in which they came. Those of the dead are removed.
    fn tickets(&self, inside: &Inside) -> io::Result<BTreeMap<String, Ticket>> {
        let Some(folder) = &self.folder else {
            return Ok(inside.own.clone());
        };
        let mut tickets = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let own = inside.own.get(&name).cloned();
            if let Some(ticket) = own.or_else(|| read(folder, &name)) {
                tickets.insert(name, ticket);
            }
        }
        Ok(tickets)
    }

    /// Makes and locks a ticket's file.
    fn create(&self, name: &str) -> io::Result<Option<File>> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let path = folder.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        // Others have to read it, whatever the umask says.
        if file.metadata()?.mode() & 0o444 != 0o444 {
            file.set_permissions(Permissions::from_mode(0o644))?;
        }
        file.lock()?;
        Ok(Some(file))
    }

    /// The GPUs that nobody holds.
    fn free(&self, tickets: &BTreeMap<String, Ticket>) -> impl Iterator<Item = &String> {
        let held = tickets.values().filter(|ticket| !ticket.waits);
        let held: BTreeSet<String> = held.flat_map(|t| t.identities.iter().cloned()).collect();
        let all = self.total.identities.iter();
        all.filter(move |identity| !held.contains(*identity))
    }

    /// What is in the way of what is wanted by the ticket at `place`, or by one behind all; none where it can be taken.
    fn lack(
        &self,
        wanted: Wanted,
        whose: &Who,
        tickets: &BTreeMap<String, Ticket>,
        place: Option<&str>,
    ) -> Option<Lack> {
        let counts = |name: &str, ticket: &Ticket| {
            Some(name) != place && (!ticket.waits || place.is_none_or(|place| name < place))
        };
        let others: Vec<&Ticket> = tickets
            .iter()
            .filter(|(name, ticket)| counts(name, ticket))
            .map(|(_, ticket)| ticket)
            .collect();
        let threads = others
            .iter()
            .fold(0u32, |sum, t| sum.saturating_add(t.threads));
        let memory = others
            .iter()
            .fold(0u64, |sum, t| sum.saturating_add(t.memory));
        let is_rival = |ticket: &Ticket| {
            let known = |identity| self.total.identities.contains(identity);
            ticket.gpus > 0 && ticket.identities.iter().any(known)
        };
        let ahead = others
            .iter()
            .filter(|t| t.waits && is_rival(t))
            .map(|t| t.gpus);
        let gpus = self.free(tickets).count().saturating_sub(ahead.sum());
        let lacks_threads = threads.saturating_add(wanted.threads) > self.total.threads;
        let lacks_memory =
            wanted.memory > 0 && memory.saturating_add(wanted.memory) > self.total.memory;
        let lacks_gpus = wanted.gpus > gpus;
        let mut what = Vec::new();
        if lacks_gpus {
            what.push(format!("{} GPU{}", wanted.gpus, plural(wanted.gpus)));
        }
        if lacks_threads {
            let count = wanted.threads as usize;
            what.push(format!("{count} thread{}", plural(count)));
        }
        if lacks_memory {
            what.push(format!("{} of memory", bytesize::ByteSize(wanted.memory)));
        }
        if what.is_empty() {
            return None;
        }
        let who = others.iter().filter(|ticket| {
            let is_in_the_way = (lacks_gpus && is_rival(ticket))
                || (lacks_threads && ticket.threads > 0)
                || (lacks_memory && ticket.memory > 0);
            is_in_the_way && ticket.who.run != whose.run
        });
        let who = who.map(|ticket| (*ticket).clone()).collect();
        Some(Lack { what, who })
    }
}

impl Ticket {
    fn text(&self) -> String {
        let Who {
            run,
            workflow,
            stage,
            pid,
        } = &self.who;
        let how = if self.waits { "waited for" } else { "held" };
        format!("{how} by run {run} of workflow {workflow}, stage {stage}, pid {pid}")
    }
}

impl Lack {
    fn run(&self) -> Option<&str> {
        self.who.first().map(|ticket| ticket.who.run.as_str())
    }

    /// None where nobody but the own run is in the way.
    fn text(&self) -> Option<String> {
        const SHOWN: usize = 2;
        let who: Vec<String> = self.who.iter().take(SHOWN).map(Ticket::text).collect();
        if who.is_empty() {
            return None;
        }
        let mut text = format!("{}: {}", self.what.join(" and "), who.join("; "));
        if self.who.len() > SHOWN {
            text += &format!("; and {} more", self.who.len() - SHOWN);
        }
        Some(text)
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl Held {
    /// The open ticket: while any process has it open, what it stands for is held. Gone once this is dropped, but for who
    /// keeps a descriptor of it.
    pub fn lock(&self) -> Weak<File> {
        self.file.as_ref().map_or_else(Weak::new, Arc::downgrade)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.inside().own.remove(&self.name);
        drop(self.file.take());
        if let Some(folder) = &self.ledger.folder {
            // Removes it where nobody else has it open.
            read(folder, &self.name);
        }
    }
}

/// Where runs inside a stage meet. By its key, so that the same stage is told the same each time.
fn room(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("share-{key}"))
}

/// A ticket of someone who lives. That of someone dead is removed; what is no ticket counts for nothing.
fn read(folder: &Path, name: &str) -> Option<Ticket> {
    let path = folder.join(name);
    let file = open(&path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    if file.try_lock().is_ok() {
        // Where it is another user's, that one removes it.
        let _ = fs::remove_file(&path);
        if let Some(key) = name.splitn(3, '-').nth(2) {
            let _ = fs::remove_dir_all(room(folder, key));
        }
        return None;
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Opens a file that someone else may have put there: follows no link, and waits for no pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
