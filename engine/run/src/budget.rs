//! What the machine has, and what of it stages hold: threads, GPUs, memory.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Weak;

use flow_plan::plan::Resources;

use crate::machine::domain::Given;
use crate::machine::gpus;
use crate::machine::ledger::{Held, Total, Wanted};

/// What this machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Threads.
    pub cores: u32,
    /// GPUs, by the names that `CUDA_VISIBLE_DEVICES` takes.
    pub gpus: Vec<String>,
    /// Memory in bytes; the largest number where it is unknown.
    pub memory: u64,
}

/// What one stage holds while it runs.
#[derive(Debug, Clone)]
pub struct Share {
    /// Threads.
    pub threads: u32,
    /// GPUs, by name.
    pub gpus: Vec<String>,
    /// The open file that other runs know this share by: it is theirs once no process has it open. Gone when the stage's
    /// process is.
    pub lock: Weak<File>,
    memory: u64,
    project: bool,
    /// Where runs inside the stage meet.
    room: Option<PathBuf>,
}

/// What may be given out at once, and what is.
#[derive(Debug)]
pub struct Budget {
    machine: Machine,
    jobs: u32,
    threads: u32,
    memory: u64,
    free_gpus: Vec<String>,
    /// Whether a stage works in the project's folder.
    project: bool,
    holders: usize,
}

impl Machine {
    /// Looks at this machine; inside a stage, at what the stage has of it.
    pub fn here() -> Machine {
        let given = Given::here();
        let cores = std::thread::available_parallelism();
        let cores = cores.map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
        Machine {
            cores: given.as_ref().map_or(cores, |given| given.threads.max(1)),
            gpus: gpus::here(),
            memory: match given {
                Some(given) if given.memory > 0 => given.memory,
                _ => memory(),
            },
        }
    }

    /// Says what of `asked` it does not have at all; threads and memory are made do with.
    pub fn lacks(&self, asked: &Resources) -> Option<String> {
        let has = self.gpus.len();
        (asked.gpus_needed && asked.gpus as usize > has).then(|| {
            format!(
                "asks for {} GPU(s), and this machine has {has}; leave `gpus` out of its `resources` to run it without",
                asked.gpus
            )
        })
    }

    /// What of the machine `asked` comes to, the GPUs' names aside.
    fn share(&self, asked: &Resources) -> (u32, usize, u64) {
        let threads = match (asked.threads, asked.cpus) {
            (Some(pinned), _) => pinned,
            (None, 0) => self.cores,
            (None, cpus) => cpus.min(self.cores),
        };
        let gpus = (asked.gpus as usize).min(self.gpus.len());
        (threads, gpus, asked.memory.min(self.memory))
    }
}

#[cfg(target_os = "linux")]
fn memory() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram.saturating_mul(system.mem_unit.into())
}

#[cfg(not(target_os = "linux"))]
fn memory() -> u64 {
    u64::MAX
}

impl Share {
    /// What it asks of all that runs on this machine share.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            threads: self.threads,
            memory: self.memory,
            gpus: self.gpus.len(),
        }
    }

    /// Takes note of what it got there. Which GPUs it has is not for one run to say.
    pub(super) fn hold(&mut self, held: &Held) {
        self.gpus.clone_from(&held.gpus);
        self.lock = held.lock();
        self.room.clone_from(&held.room);
    }

    /// What tells a flow inside the stage of it: the value of the variable [`domain::SHARE`](crate::machine::domain::SHARE).
    pub fn given(&self) -> Option<String> {
        let given = Given {
            folder: self.room.clone()?,
            threads: self.threads,
            memory: self.memory,
        };
        serde_json::to_string(&given).ok()
    }

    /// The device that the protocol names.
    pub fn device(&self) -> &'static str {
        if self.gpus.is_empty() {
            "cpu"
        } else {
            "cuda:0"
        }
    }
}

impl Budget {
    /// All of the machine, but no more than `jobs` threads.
    pub fn new(machine: Machine, jobs: u32) -> Budget {
        Budget {
            free_gpus: machine.gpus.clone(),
            machine,
            jobs,
            threads: 0,
            memory: 0,
            project: false,
            holders: 0,
        }
    }

    /// What there is for this run and all others: at least as many threads as this one may give out.
    pub(super) fn total(&self) -> Total {
        Total {
            threads: self.machine.cores.max(self.jobs),
            memory: self.machine.memory,
            identities: gpus::identities(&self.machine.gpus),
            gpus: self.machine.gpus.clone(),
        }
    }

    /// Whether there is enough of everything for a stage, once those `before` it have got theirs. One that wants more than
    /// the budget runs alone rather than with less: on the CPU libtorch gives other bits for another number of threads.
    pub fn fits<'r>(
        &self,
        before: impl IntoIterator<Item = &'r Resources>,
        asked: &Resources,
    ) -> bool {
        let (mut threads, mut gpus, mut memory) = self.machine.share(asked);
        let mut holders = self.holders;
        let mut project = self.project;
        for other in before {
            project |= other.project;
            let share = self.machine.share(other);
            threads = threads.saturating_add(share.0);
            gpus += share.1;
            memory = memory.saturating_add(share.2);
            holders += 1;
        }
        let enough = self.threads.saturating_add(threads) <= self.jobs
            && gpus <= self.free_gpus.len()
            && self.memory.saturating_add(memory) <= self.machine.memory
            && !(asked.project && project);
        enough || holders == 0
    }

    /// What a stage gets; `None` where it does not fit.
    pub fn take(&mut self, asked: &Resources) -> Option<Share> {
        if !self.fits([], asked) {
            return None;
        }
        let (threads, gpus, memory) = self.machine.share(asked);
        self.holders += 1;
        self.threads += threads;
        self.memory = self.memory.saturating_add(memory);
        self.project |= asked.project;
        Some(Share {
            threads,
            project: asked.project,
            gpus: self.free_gpus.drain(..gpus).collect(),
            lock: Weak::new(),
            memory,
            room: None,
        })
    }

    /// Takes back what a stage held.
    pub fn give_back(&mut self, share: Share) {
        self.holders -= 1;
        self.threads -= share.threads;
        self.project &= !share.project;
        self.memory = self.memory.saturating_sub(share.memory);
        self.free_gpus.extend(share.gpus);
        self.free_gpus.sort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cpus: u32, gpus: u32, memory: u64) -> Resources {
        Resources {
            threads: None,
            cpus,
            gpus,
            gpus_needed: true,
            memory,
            project: false,
        }
    }

    fn budget(jobs: u32) -> Budget {
        let machine = Machine {
            cores: 4,
            gpus: vec!["0".into(), "1".into()],
            memory: 100,
        };
        Budget::new(machine, jobs)
    }

    #[test]
    fn each_thread_gpu_and_byte_is_given_out_once() {
        let mut budget = budget(4);
        let first = budget.take(&asked(1, 1, 60)).unwrap();
        assert_eq!(
            (first.device(), &first.gpus[..]),
            ("cuda:0", &["0".to_string()][..])
        );
        assert!(budget.take(&asked(1, 2, 0)).is_none(), "one GPU is left");
        assert!(budget.take(&asked(1, 0, 50)).is_none(), "40 bytes are left");
        assert!(budget.take(&asked(0, 0, 0)).is_none(), "3 threads are left");
        let second = budget.take(&asked(3, 1, 40)).unwrap();
        assert_eq!(second.gpus, ["1"]);
        budget.give_back(first);
        budget.give_back(second);
        assert_eq!(budget.take(&asked(4, 2, 100)).unwrap().gpus, ["0", "1"]);
    }

    #[test]
    fn what_wants_more_than_there_is_runs_alone() {
        let mut budget = budget(1);
        let all = budget.take(&asked(0, 0, 1000)).unwrap();
        assert_eq!(all.threads, 4);
        assert!(budget.take(&asked(1, 0, 0)).is_none());
        budget.give_back(all);
        let one = budget.take(&asked(1, 0, 0)).unwrap();
        assert_eq!((one.threads, one.device()), (1, "cpu"));
        assert!(budget.take(&asked(1, 0, 0)).is_none(), "jobs is 1");
    }

    #[test]
    fn what_is_about_to_start_counts_as_started() {
        let budget = budget(4);
        let half = asked(2, 1, 50);
        assert!(budget.fits([&half], &half));
        assert!(!budget.fits([&half, &half], &asked(1, 0, 0)));
        assert!(!budget.fits([&half], &asked(1, 2, 0)));
        assert!(!budget.fits([&half], &asked(1, 0, 60)));
        assert!(budget.fits([], &asked(0, 0, 1000)));
        assert!(!budget.fits([&asked(1, 0, 0)], &asked(0, 0, 1000)));
    }

    #[test]
    fn one_works_in_the_project_at_a_time() {
        let mut budget = budget(4);
        let here = Resources {
            project: true,
            ..asked(1, 0, 0)
        };
        assert!(!budget.fits([&here], &here));
        let first = budget.take(&here).unwrap();
        assert!(budget.take(&here).is_none());
        let other = budget.take(&asked(1, 0, 0)).unwrap();
        budget.give_back(other);
        assert!(budget.take(&here).is_none(), "the first still works there");
        budget.give_back(first);
        assert!(budget.take(&here).is_some());
    }

    #[test]
    fn gpus_that_a_workflow_asks_for_have_to_be_there_and_those_of_a_kind_need_not() {
        let machine = Machine {
            cores: 1,
            gpus: Vec::new(),
            memory: 1,
        };
        assert!(machine.lacks(&asked(1, 1, 0)).unwrap().contains("has 0"));
        let wish = Resources {
            gpus_needed: false,
            ..asked(1, 1, 0)
        };
        assert_eq!(machine.lacks(&wish), None);
        let share = Budget::new(machine, 1).take(&wish).unwrap();
        assert_eq!(share.device(), "cpu");
    }
}
