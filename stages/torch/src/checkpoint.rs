//! The state of a training as a file, so that one that was interrupted, and a longer one, goes on with the same bits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::Context;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::history::{Epoch, Part};
use crate::processor;
use crate::range::{Curve, Point};
use crate::tensors;

/// The name of the tensor with the digest of all others.
const DIGEST: &str = "digest";

/// Everything that the next step depends on.
pub struct Checkpoint {
    /// The epochs so far.
    pub history: Vec<Epoch>,
    /// What is done of the epoch after them.
    pub part: Part,
    /// The learning rate, and how it was found.
    pub curve: Curve,
    /// The network's tensors.
    pub model: BTreeMap<String, Tensor>,
    /// Those of the epoch with the best validation accuracy.
    pub best: BTreeMap<String, Tensor>,
    /// The optimiser's state.
    pub optimiser: BTreeMap<String, Tensor>,
    /// The weights of the groups, where there are groups.
    pub groups: BTreeMap<String, Tensor>,
}

/// What a checkpoint belongs to. Whatever is not the same in all of it would not end with the same bits.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The stage's parameters but for those that only say when a training ends.
    parameters: String,
    seed: u64,
    threads: i32,
    device: String,
    /// libtorch chooses its kernels by the CPU.
    cpu: String,
    plugin: String,
}

impl Identity {
    /// That of the stage that runs.
    ///
    /// # Errors
    /// Where the parameters are not an object.
    pub fn of(context: &Context, parameters: &impl Serialize, device: Device) -> Result<Self> {
        let mut parameters = serde_json::to_value(parameters)?;
        let all = parameters
            .as_object_mut()
            .context("the parameters are an object")?;
        for name in ["epochs", "patience"] {
            all.remove(name);
        }
        Ok(Identity {
            parameters: parameters.to_string(),
            seed: context.seed(),
            threads: tch::get_num_threads(),
            device: format!("{device:?}"),
            cpu: processor::name(),
            plugin: crate::version(),
        })
    }

    /// # Errors
    /// Where `self`, of a file, is not `now`, in words.
    fn check(&self, now: &Identity) -> Result<()> {
        ensure!(
            self.threads == now.threads,
            "it was made with {} thread(s), and now there are {}: the result would be that of neither",
            self.threads,
            now.threads
        );
        for (name, then, now) in [
            ("device", &self.device, &now.device),
            ("CPU", &self.cpu, &now.cpu),
            ("plugin's version", &self.plugin, &now.plugin),
        ] {
            ensure!(
                then == now,
                "it was made with another {name} ({then}) than this one ({now}): the result would be that of neither"
            );
        }
        ensure!(self == now, "it belongs to other parameters");
        Ok(())
    }
}

impl Checkpoint {
    /// How far it is: epochs, and batches of the next.
    fn done(&self) -> (usize, usize) {
        (self.history.len(), self.part.batches)
    }

    /// Writes it to the work folder, over the one before.
    ///
    /// # Errors
    /// Where the work folder can't be written.
    pub fn write(&self, context: &Context, identity: &Identity) -> Result<()> {
        let mut all = self.common();
        insert(&mut all, "best", &self.best);
        let part = [
            self.part.batches as f64,
            self.part.loss_sum,
            self.part.correct as f64,
        ];
        all.insert("part".into(), Tensor::from_slice(&part));
        // The store looks after outputs, and nobody but us after this: a bit that rots must not end in a network.
        let digest = tensors::digest(&all)?;
        all.insert(DIGEST.into(), digest);
        write(&path(context.work()), &all, identity)
    }

    /// Writes what a longer training needs beside the model, which is the best epoch's.
    ///
    /// # Errors
    /// Where the output can't be written.
    pub fn write_state(&self, context: &Context, identity: &Identity) -> Result<()> {
        write(&context.output("state")?, &self.common(), identity)
    }

    fn common(&self) -> BTreeMap<String, Tensor> {
        let mut all = BTreeMap::new();
        insert(&mut all, "model", &self.model);
        insert(&mut all, "optimiser", &self.optimiser);
        insert(&mut all, "groups", &self.groups);
        // As tensors, so that every number keeps its bits.
        let history: Vec<f64> = self.history.iter().flat_map(Epoch::numbers).collect();
        let history = Tensor::from_slice(&history).view([self.history.len() as i64, 6]);
        all.insert("history".into(), history);
        let points: Vec<f64> = self.curve.points.iter().flat_map(Point::numbers).collect();
        let points = Tensor::from_slice(&points).view([self.curve.points.len() as i64, 3]);
        all.insert("curve".into(), points);
        all.insert("rate".into(), Tensor::from_slice(&[self.curve.rate]));
        all
    }

    /// What an interrupted run of the same training left, or what a shorter one made, whichever is further; `reachable`
    /// says whether the training would have come by such a history. One that is damaged or belongs to something else is
    /// not used, and a warning says so.
    pub fn find(
        context: &Context,
        identity: &Identity,
        reachable: impl Fn(&[Epoch]) -> bool,
    ) -> Option<Self> {
        let interrupted = path(context.work());
        let interrupted = interrupted.exists().then(|| {
            let found = read(&interrupted, identity).and_then(|mut all| {
                let stated = all.remove(DIGEST);
                let digest = tensors::digest(&all)?;
                ensure!(stated.is_some_and(|s| s == digest), "it is damaged");
                Checkpoint::of(&all)
            });
            ("an interrupted run", found)
        });
        let shorter = match (context.earlier("state"), context.earlier("model")) {
            (Some(state), Some(model)) => {
                Some(("a shorter training", shorter(state, model, identity)))
            }
            _ => None,
        };
        let mut furthest: Option<(&str, Checkpoint)> = None;
        for (whose, found) in [interrupted, shorter].into_iter().flatten() {
            let found = found.and_then(|checkpoint| {
                ensure!(
                    reachable(&checkpoint.history),
                    "this training would have ended before"
                );
                Ok(checkpoint)
            });
            match found {
                Ok(checkpoint) => {
                    if furthest
                        .as_ref()
                        .is_none_or(|(_, other)| other.done() < checkpoint.done())
                    {
                        furthest = Some((whose, checkpoint));
                    }
                }
                Err(error) => context.warning(format!(
                    "the state of {whose} is not used, the training starts anew: {error:#}"
                )),
            }
        }
        let (whose, checkpoint) = furthest?;
        let (epochs, batches) = checkpoint.done();
        context.log(match batches {
            0 => format!("going on after epoch {epochs} of {whose}"),
            _ => format!(
                "going on after batch {batches} of epoch {} of {whose}",
                epochs + 1
            ),
        });
        Some(checkpoint)
    }

    fn of(all: &BTreeMap<String, Tensor>) -> Result<Self> {
        let matrix = |name: &str| -> Result<Vec<Vec<f64>>> {
            match all.get(name) {
                Some(tensor) if tensor.dim() == 2 && tensor.kind() == Kind::Double => {
                    Ok(Vec::try_from(tensor)?)
                }
                _ => bail!("it holds no {name}"),
            }
        };
        let numbers = |name: &str| -> Result<Vec<f64>> {
            match all.get(name) {
                Some(tensor) if tensor.dim() == 1 && tensor.kind() == Kind::Double => {
                    Ok(Vec::try_from(tensor)?)
                }
                _ => bail!("it holds no {name}"),
            }
        };
        let &[rate] = numbers("rate")?.as_slice() else {
            bail!("it holds no learning rate");
        };
        let part = match all.contains_key("part") {
            true => Part::from_numbers(&numbers("part")?)?,
            false => Part::default(),
        };
        let history = matrix("history")?;
        let points = matrix("curve")?;
        Ok(Checkpoint {
            history: history
                .iter()
                .map(|numbers| Epoch::from_numbers(numbers))
                .collect::<Result<_>>()?,
            part,
            curve: Curve {
                rate,
                points: points
                    .iter()
                    .map(|numbers| Point::from_numbers(numbers))
                    .collect::<Result<_>>()?,
            },
            model: group(all, "model"),
            best: group(all, "best"),
            optimiser: group(all, "optimiser"),
            groups: group(all, "groups"),
        })
    }
}

/// The end of a shorter training; its model is that of its best epoch.
fn shorter(state: &Path, model: &Path, identity: &Identity) -> Result<Checkpoint> {
    let mut checkpoint = Checkpoint::of(&read(state, identity)?)?;
    (checkpoint.best, _) = tensors::read(model)?;
    Ok(checkpoint)
}

fn insert(all: &mut BTreeMap<String, Tensor>, group: &str, tensors: &BTreeMap<String, Tensor>) {
    for (name, tensor) in tensors {
        all.insert(format!("{group}/{name}"), tensor.shallow_clone());
    }
}

fn group(all: &BTreeMap<String, Tensor>, name: &str) -> BTreeMap<String, Tensor> {
    all.iter()
        .filter_map(|(key, tensor)| {
            let name = key.strip_prefix(name)?.strip_prefix('/')?;
            Some((name.to_owned(), tensor.shallow_clone()))
        })
        .collect()
}

fn write(path: &Path, all: &BTreeMap<String, Tensor>, identity: &Identity) -> Result<()> {
    tensors::write(path, all, &serde_json::to_string(identity)?)
}

fn read(path: &Path, now: &Identity) -> Result<BTreeMap<String, Tensor>> {
    let (all, text) = tensors::read(path)?;
    let then: Identity = serde_json::from_str(&text).context("it is not one of a training")?;
    then.check(now)?;
    Ok(all)
}

fn path(work: &Path) -> PathBuf {
    work.join("checkpoint.safetensors")
}
