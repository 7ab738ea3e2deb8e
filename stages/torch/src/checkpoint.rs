//! The state of a training after a whole epoch, so that an interrupted training goes on with the same bits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use flow_stage::Context;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::tensors;
use crate::train::Epoch;

/// Everything that the next epoch depends on.
pub struct Checkpoint {
    /// The epochs so far.
    pub history: Vec<Epoch>,
    /// The network's tensors.
    pub model: BTreeMap<String, Tensor>,
    /// Those of the epoch with the best validation accuracy.
    pub best: BTreeMap<String, Tensor>,
    /// The optimiser's state.
    pub optimiser: BTreeMap<String, Tensor>,
}

/// What a checkpoint belongs to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    parameters: String,
    seed: u64,
    threads: usize,
}

impl Header {
    fn of(context: &Context, parameters: &impl Serialize) -> Result<Self> {
        Ok(Header {
            parameters: serde_json::to_string(parameters)?,
            seed: context.seed(),
            threads: context.threads(),
        })
    }
}

impl Checkpoint {
    /// Writes the checkpoint over the one before.
    ///
    /// # Errors
    /// Where the work folder can't be written.
    pub fn write(&self, context: &Context, parameters: &impl Serialize) -> Result<()> {
        let mut all = BTreeMap::new();
        for (group, tensors) in [
            ("model", &self.model),
            ("best", &self.best),
            ("optimiser", &self.optimiser),
        ] {
            for (name, tensor) in tensors {
                all.insert(format!("{group}/{name}"), tensor.shallow_clone());
            }
        }
        // As a tensor, so that every number keeps its bits.
        let numbers: Vec<f64> = self.history.iter().flat_map(Epoch::numbers).collect();
        let history = Tensor::from_slice(&numbers).view([self.history.len() as i64, -1]);
        all.insert("history".into(), history);
        let header = serde_json::to_string(&Header::of(context, parameters)?)?;
        tensors::write(&path(context.work()), &all, &header)
    }

    /// Reads the checkpoint that an interrupted run of the same training left. One that is damaged or belongs to
    /// something else is not used, and the log says so.
    pub fn find(context: &Context, parameters: &impl Serialize) -> Option<Self> {
        let path = path(context.work());
        if !path.exists() {
            return None;
        }
        match Self::read(&path, context, parameters) {
            Ok(checkpoint) => {
                context.log(format!(
                    "going on after epoch {} of an interrupted run",
                    checkpoint.history.len()
                ));
                Some(checkpoint)
            }
            Err(error) => {
                context.warning(format!(
                    "the checkpoint of an interrupted run is not used, the training starts anew: {error:#}"
                ));
                None
            }
        }
    }

    fn read(path: &Path, context: &Context, parameters: &impl Serialize) -> Result<Self> {
        let (all, header) = tensors::read(path)?;
        let (found, expected): (Header, _) = (
            serde_json::from_str(&header)?,
            Header::of(context, parameters)?,
        );
        ensure!(
            found.threads == expected.threads,
            "it was made with {} thread(s), and now there are {}: the result would be that of neither",
            found.threads,
            expected.threads
        );
        ensure!(found == expected, "it belongs to other parameters");
        let group = |name: &str| -> BTreeMap<String, Tensor> {
            all.iter()
                .filter_map(|(key, tensor)| {
                    let name = key.strip_prefix(name)?.strip_prefix('/')?;
                    Some((name.to_owned(), tensor.shallow_clone()))
                })
                .collect()
        };
        let history = match all.get("history") {
            Some(tensor) if tensor.dim() == 2 && tensor.kind() == Kind::Double => {
                Vec::<Vec<f64>>::try_from(tensor)?
            }
            _ => anyhow::bail!("it holds no history"),
        };
        Ok(Checkpoint {
            history: history
                .iter()
                .map(|numbers| Epoch::from_numbers(numbers))
                .collect::<Result<_>>()?,
            model: group("model"),
            best: group("best"),
            optimiser: group("optimiser"),
        })
    }
}

fn path(work: &Path) -> PathBuf {
    work.join("checkpoint.safetensors")
}
