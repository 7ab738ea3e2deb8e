//! Flow's side of a command under a supervisor, and of the spawner.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    send, sendmsg, socketpair,
};
use rustix::process::Signal;

use super::child::Ends;
use super::isolation;
use super::launch::Launch;
use super::spawner;
use super::wire::{KILL, MOST_DESCRIPTORS, NO_PROCESSES, OWN_PROCESSES, Order, TERM, Told, Used};

/// The argument with which flow's own program is the spawner.
const SUPERVISE: &str = "supervise";

/// Whether this program calls [`serve_if_asked`].
static IS_FLOW: AtomicBool = AtomicBool::new(false);

/// To be called first by `flow`. Where it was started as the spawner, it serves as that, and gives how that went.
///
/// # Errors
/// Where a person started it so, or the system fails.
pub fn serve_if_asked() -> Option<io::Result<()>> {
    IS_FLOW.store(true, Ordering::Relaxed);
    let first = std::env::args_os().nth(1)?;
    (first == SUPERVISE).then(spawner::supervise)
}

/// A command under a supervisor.
#[derive(Debug)]
pub(super) struct Supervised {
    control: UnixStream,
    /// The beginning of what the supervisor says.
    heard: Vec<u8>,
}

/// Why a rehearsal failed: at which step, and how.
pub(super) type Refusal = (Option<String>, io::Error);

impl Supervised {
    /// Starts the command with these ends of its pipes.
    pub fn start(launch: &Launch, ends: Ends) -> io::Result<Supervised> {
        let processes = match &launch.confinement {
            Some(_) => isolation::reach().map_err(io::Error::other)?,
            None => false,
        };
        let order = Order {
            launch,
            rehearsal: false,
        };
        order_one(&order, processes, &ends).map_err(|(step, error)| match step {
            Some(step) => io::Error::new(error.kind(), format!("{step}: {error}")),
            None => error,
        })
    }

    /// Has a supervisor prepare all that the command asks for, and start nothing.
    pub fn rehearse(launch: &Launch, processes: bool) -> Result<(), Refusal> {
        let null = || std::fs::File::open("/dev/null").map(OwnedFd::from);
        let ends = || Ok([null()?, null()?, null()?]);
        let order = Order {
            launch,
            rehearsal: true,
        };
        order_one(&order, processes, &ends().map_err(|error| (None, error))?).map(drop)
    }

    /// Its status and what it used, once it is gone; a supervisor that is gone without a word was killed.
    pub fn ended(&mut self) -> io::Result<Option<(ExitStatus, Option<Used>)>> {
        let mut buffer = [0; 512];
        loop {
            if let Some(line) = line(&mut self.heard) {
                if let Told::Ended { status, used } = serde_json::from_slice(&line)? {
                    return Ok(Some((ExitStatus::from_raw(status), Some(used))));
                }
                continue;
            }
            match self.control.read(&mut buffer) {
                Ok(0) => return Ok(Some((ExitStatus::from_raw(Signal::KILL.as_raw()), None))),
                Ok(length) => self.heard.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It is gone with something unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Some((ExitStatus::from_raw(Signal::KILL.as_raw()), None)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What becomes readable when it ends.
    pub fn news(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Asks it to end, or kills it.
    pub fn end(&self, signal: Signal) {
        let word = if signal == Signal::KILL { KILL } else { TERM };
        // Where the supervisor is gone there is nothing to end.
        let _ = send(&self.control, &[word], SendFlags::NOSIGNAL);
    }
}

/// Takes the first line off.
fn line(heard: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = heard.iter().position(|byte| *byte == b'\n')?;
    Some(heard.drain(..=end).collect())
}

/// Hands the order to a new supervisor, and waits until the command runs.
fn order_one(order: &Order<&Launch>, processes: bool, ends: &Ends) -> Result<Supervised, Refusal> {
    let plain = |error: io::Error| (None, error);
    let bytes = postcard::to_stdvec(order).map_err(|error| plain(io::Error::other(error)))?;
    let mut last = io::Error::from(Errno::PIPE);
    // A spawner that was killed is missed at the next start.
    for _ in 0..2 {
        let (ours, theirs) = UnixStream::pair().map_err(plain)?;
        let held = order.launch.held.iter().map(|fd| fd.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = std::iter::once(theirs.as_fd())
            .chain(ends.iter().map(AsFd::as_fd))
            .chain(held)
            .collect();
        hand_over(processes, &descriptors).map_err(plain)?;
        drop(theirs);
        match converse(ours, &bytes) {
            Ok(Some((supervised, Told::Started))) => return Ok(supervised),
            Ok(Some((
                _,
                Told::Failed {
                    step,
                    code,
                    message,
                },
            ))) => {
                let error =
                    code.map_or_else(|| io::Error::other(message), io::Error::from_raw_os_error);
                return Err((step, error));
            }
            Ok(Some((_, Told::Ended { .. })) | None) => {
                last = io::Error::other("its supervisor was killed before it started");
            }
            Err(error) => last = error,
        }
    }
    Err(plain(last))
}

/// Sends the order and hears the answer; none where the supervisor is gone.
fn converse(control: UnixStream, order: &[u8]) -> io::Result<Option<(Supervised, Told)>> {
    let length = (order.len() as u64).to_le_bytes();
    for part in [&length[..], order] {
        let mut rest = part;
        while !rest.is_empty() {
            match send(&control, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::INTR) => {}
                // What it said before it left is still to be heard.
                Err(Errno::PIPE | Errno::CONNRESET) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    let mut supervised = Supervised {
        control,
        heard: Vec::new(),
    };
    let mut buffer = [0; 512];
    loop {
        if let Some(line) = line(&mut supervised.heard) {
            supervised.control.set_nonblocking(true)?;
            return Ok(Some((supervised, serde_json::from_slice(&line)?)));
        }
        match supervised.control.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => supervised.heard.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// The spawner of this process.
struct Spawner {
    socket: OwnedFd,
    child: Child,
}

/// Gives the spawner the descriptors of one order; it is started with the first.
fn hand_over(processes: bool, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let word = [if processes {
        OWN_PROCESSES
    } else {
        NO_PROCESSES
    }];
    static SPAWNER: Mutex<Option<Spawner>> = Mutex::new(None);
    let mut spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..2 {
        let found = match &mut *spawner {
            Some(found) => found,
            none => none.insert(Spawner::start()?),
        };
        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other(
                "too many descriptors to hold for one stage",
            ));
        }
        match sendmsg(
            &found.socket,
            &[IoSlice::new(&word)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            // It was killed. What it had started goes on under its supervisors.
            Err(Errno::PIPE | Errno::CONNRESET) => {
                if let Some(mut gone) = spawner.take() {
                    drop(gone.socket);
                    let _ = gone.child.wait();
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("the spawner of stages was killed twice"))
}

impl Spawner {
    fn start() -> io::Result<Spawner> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let program = program()?;
        let child = Command::new(&program)
            .arg0("flow")
            .arg(SUPERVISE)
            .env_clear()
            // Ctrl-C is for flow, which then ends its stages.
            .process_group(0)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                let text = format!(
                    "{}, which starts stages, can't be started: {error}",
                    program.display()
                );
                io::Error::new(error.kind(), text)
            })?;
        Ok(Spawner {
            socket: ours,
            child,
        })
    }
}

/// Flow's program: this one, if it is; else that of the same build.
fn program() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("FLOW_SUPERVISOR") {
        return Ok(path.into());
    }
    if IS_FLOW.load(Ordering::Relaxed) {
        // Also where its file was replaced since.
        return Ok("/proc/self/exe".into());
    }
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let mut beside = folders.map(|folder| folder.join("flow"));
    beside.find(|path| path.is_file()).ok_or_else(|| {
        let text = format!(
            "stages are started by the program `flow`, which is not beside {}; FLOW_SUPERVISOR can name it",
            own.display()
        );
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}
