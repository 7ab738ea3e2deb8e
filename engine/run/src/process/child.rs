//! Flow's side of a running command: what goes in, what comes out, how it ends.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Signal;

use super::direct;
use super::launch::Launch;
#[cfg(target_os = "linux")]
use super::supervised::Supervised;
use super::wire::Used;

/// How long a process that is asked to end may take before it is killed.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How a process ended, and what it used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct End {
    /// Why it ended.
    pub why: Ending,
    /// What it and all that it started used; none where nobody could measure it.
    pub used: Option<Used>,
}

/// Why [`Process::attend`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The process ended by itself.
    Exited(ExitStatus),
    /// It was ended because its time was over.
    TimedOut,
    /// It was ended because the run was interrupted, or because nobody wants to hear more of it.
    Interrupted,
}

/// Where a process wrote something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its stdout.
    Stdout,
    /// Its stderr; and its stdout, where the two are one.
    Stderr,
}

/// How a process's output is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Stdout and stderr are told apart.
    Apart,
    /// Both are one stream, in the order of their writes.
    AsOne,
}

/// How often a process that says nothing is looked after: whether it has to end, and has ended.
const TICK: Duration = Duration::from_millis(20);
/// The first pause where no pipe tells that the process ends.
const SHORTEST: Duration = Duration::from_micros(200);
/// What is read from a pipe at once.
const CHUNK: usize = 64 << 10;
/// What a pipe can still hold after the process has ended; more comes only from someone who goes on writing.
const LARGEST_PIPE: usize = 1 << 20;

/// A command with the pipes to it. One thread serves all of them, so that a short stage costs no other.
#[derive(Debug)]
pub struct Process {
    running: Running,
    /// Its stdin, and what is still to be written there.
    input: Option<(File, Vec<u8>)>,
    outputs: Vec<(Stream, File)>,
}

/// Its ends of the pipes: stdin, stdout, stderr.
pub(super) type Ends = [OwnedFd; 3];

impl Process {
    /// Starts the command under a supervisor, with `input` on its stdin; without any it gets none.
    ///
    /// # Errors
    /// Where the command can't be started, or not be kept apart as it asks.
    pub fn start(launch: &Launch, input: Option<Vec<u8>>, hearing: Hearing) -> io::Result<Process> {
        #[cfg(target_os = "linux")]
        return Process::with(input, hearing, |ends| {
            Ok(Running::Supervised(Supervised::start(launch, ends)?))
        });
        #[cfg(not(target_os = "linux"))]
        Process::start_directly(launch, input, hearing)
    }

    /// Starts the command as a child of this process. Someone who leaves its process group is not ended with it.
    pub(super) fn start_directly(
        launch: &Launch,
        input: Option<Vec<u8>>,
        hearing: Hearing,
    ) -> io::Result<Process> {
        Process::with(input, hearing, |ends| {
            Ok(Running::Direct(direct::spawn(launch, ends)?))
        })
    }

    fn with(
        input: Option<Vec<u8>>,
        hearing: Hearing,
        start: impl FnOnce(Ends) -> io::Result<Running>,
    ) -> io::Result<Process> {
        let (stdin, input) = match input {
            Some(bytes) => {
                let (theirs, ours) = io::pipe()?;
                (theirs.into(), Some((OwnedFd::from(ours).into(), bytes)))
            }
            None => (OwnedFd::from(File::open("/dev/null")?), None),
        };
        let mut outputs: Vec<(Stream, File)> = Vec::new();
        let mut pipe = |stream| {
            let (ours, theirs) = io::pipe()?;
            outputs.push((stream, OwnedFd::from(ours).into()));
            io::Result::Ok(theirs)
        };
        let (stdout, stderr) = match hearing {
            Hearing::Apart => (pipe(Stream::Stdout)?, pipe(Stream::Stderr)?),
            Hearing::AsOne => {
                let both = pipe(Stream::Stderr)?;
                (both.try_clone()?, both)
            }
        };
        let process = Process {
            running: start([stdin, stdout.into(), stderr.into()])?,
            input,
            outputs,
        };
        let input = process.input.iter().map(|(pipe, _)| pipe);
        for pipe in input.chain(process.outputs.iter().map(|(_, pipe)| pipe)) {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        }
        Ok(process)
    }

    /// Waits for its end, and hands on what it writes as it comes. Ends it when `limit` is over, when `stop` says so, or when
    /// `heard` has had enough. Whatever it started has ended with it.
    ///
    /// # Errors
    /// Where the system can't tell how the command is.
    pub fn attend(
        mut self,
        limit: Option<Duration>,
        stop: impl Fn() -> bool,
        mut heard: impl FnMut(Stream, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<End> {
        let started = Instant::now();
        let mut buffer = vec![0; CHUNK];
        let enough = Cell::new(false);
        let mut hear = |stream, bytes: &[u8]| {
            if heard(stream, bytes).is_break() {
                enough.set(true);
            }
        };
        let mut asked: Option<(Instant, Ending)> = None;
        let mut killed = false;
        let mut pause = SHORTEST;
        let (status, used) = loop {
            if let Some(ended) = self.running.ended()? {
                break ended;
            }
            let ending = match asked {
                None if limit.is_some_and(|limit| started.elapsed() >= limit) => {
                    Some(Ending::TimedOut)
                }
                None if enough.get() || stop() => Some(Ending::Interrupted),
                Some((at, _)) if !killed && at.elapsed() >= GRACE => {
                    killed = true;
                    self.running.end(Signal::KILL);
                    None
                }
                _ => None,
            };
            if let Some(ending) = ending {
                asked = Some((Instant::now(), ending));
                self.running.end(Signal::TERM);
            }
            // With something open that the end closes, the end is noticed at once.
            let blind = self.outputs.is_empty() && self.running.news().is_none();
            self.serve(if blind { pause } else { TICK }, &mut buffer, &mut hear)?;
            pause = (pause * 2).min(TICK);
        };
        self.drain(&mut buffer, &mut hear);
        let why = asked.map_or(Ending::Exited(status), |(_, why)| why);
        Ok(End { why, used })
    }

    /// Waits until a pipe is ready, for `wait` at most, and serves those that are.
    fn serve(
        &mut self,
        wait: Duration,
        buffer: &mut [u8],
        hear: &mut impl FnMut(Stream, &[u8]),
    ) -> io::Result<()> {
        let outputs = self.outputs.iter().map(|(_, pipe)| (pipe, PollFlags::IN));
        let input = self.input.iter().map(|(pipe, _)| (pipe, PollFlags::OUT));
        let news = self.running.news();
        let mut pipes: Vec<PollFd<'_>> = outputs
            .chain(input)
            .map(|(pipe, flags)| PollFd::new(pipe, flags))
            .chain(news.iter().map(|news| PollFd::new(news, PollFlags::IN)))
            .collect();
        if pipes.is_empty() {
            thread::sleep(wait);
            return Ok(());
        }
        let wait = Timespec {
            tv_sec: wait.as_secs().cast_signed(),
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(&mut pipes, Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = pipes
            .iter()
            .map(|pipe| !pipe.revents().is_empty())
            .collect();
        if self.input.is_some() && ready[self.outputs.len()] {
            self.feed();
        }
        let mut ready = ready.into_iter();
        self.outputs.retain_mut(|(stream, pipe)| {
            !ready.next().unwrap_or(false) || receive(*stream, pipe, buffer, hear).is_some()
        });
        Ok(())
    }

    /// Writes of the input what the pipe takes, and closes it after the last byte.
    fn feed(&mut self) {
        if let Some((pipe, rest)) = &mut self.input {
            match pipe.write(rest) {
                Ok(written) => {
                    rest.drain(..written);
                }
                Err(error) if is_temporary(&error) => {}
                // A plugin that ends without reading breaks the pipe; its exit status tells more than the pipe does.
                Err(_) => rest.clear(),
            }
        }
        self.input.take_if(|(_, rest)| rest.is_empty());
    }

    /// Hands on what is left in the pipes. Who left the group of a direct child may hold them open:
    /// nobody waits for that one.
    fn drain(&mut self, buffer: &mut [u8], hear: &mut impl FnMut(Stream, &[u8])) {
        for (stream, pipe) in &mut self.outputs {
            let mut taken = 0;
            while taken < LARGEST_PIPE
                && let Some(length) = receive(*stream, pipe, buffer, hear)
                && length > 0
            {
                taken += length;
            }
        }
    }
}

/// Reads once from a pipe that is ready and hands it on: how much it was; none where the pipe is closed.
fn receive(
    stream: Stream,
    pipe: &mut File,
    buffer: &mut [u8],
    hear: &mut impl FnMut(Stream, &[u8]),
) -> Option<usize> {
    match pipe.read(buffer) {
        Ok(0) => None,
        Ok(length) => {
            hear(stream, &buffer[..length]);
            Some(length)
        }
        Err(error) if is_temporary(&error) => Some(0),
        Err(_) => None,
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// A command that was started.
#[derive(Debug)]
enum Running {
    /// Under a supervisor.
    #[cfg(target_os = "linux")]
    Supervised(Supervised),
    /// As a child of this process.
    Direct(Child),
}

impl Running {
    /// Its status and what it used, once it is gone, and all that it started with it.
    fn ended(&mut self) -> io::Result<Option<(ExitStatus, Option<Used>)>> {
        match self {
            #[cfg(target_os = "linux")]
            Running::Supervised(supervised) => supervised.ended(),
            Running::Direct(child) => Ok(direct::ended(child)?.map(|status| (status, None))),
        }
    }

    /// What becomes readable when it ends.
    fn news(&self) -> Option<BorrowedFd<'_>> {
        match self {
            #[cfg(target_os = "linux")]
            Running::Supervised(supervised) => Some(supervised.news()),
            Running::Direct(_) => None,
        }
    }

    /// Asks it to end, or kills it.
    fn end(&self, signal: Signal) {
        match self {
            #[cfg(target_os = "linux")]
            Running::Supervised(supervised) => supervised.end(signal),
            Running::Direct(child) => direct::signal(child, signal),
        }
    }
}
