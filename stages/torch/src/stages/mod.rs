//! The stage kinds.
//!
//! | file | kind |
//! |---|---|
//! | [`train`] | `train`: a network from scratch on coarse or fine labels |
//! | [`features`] | `features`: activations of a layer |
//! | [`uncertainty`] | `uncertainty`: how sure a network is of each training image |
//! | [`finetune`] | `finetune`: a trained network on coarse labels with a new head |
//! | [`multihead`] | `multihead`: one network with a coarse and a fine head |
//! | [`groupdro`] | `groupdro`: a network on coarse labels for the fine group that does worst |
//! | [`evaluate`] | `evaluate`: metrics and predictions on the test rows |
//! | [`training`] | what the trainings share |

mod evaluate;
mod features;
mod finetune;
mod groupdro;
mod multihead;
#[cfg(test)]
mod tests;
mod train;
mod training;
mod uncertainty;

pub use evaluate::Evaluate;
pub use features::Features;
pub use finetune::Finetune;
pub use groupdro::Groupdro;
pub use multihead::Multihead;
pub use train::Train;
pub use uncertainty::Uncertainty;

use flow_stage::protocol::{Resources, Revision};
use flow_stage::{ArtifactType, Port};
use serde_json::json;

/// The headline of the kinds that score a strategy.
const SCORES: &[&str] = &["test_accuracy", "worst_subclass_accuracy"];

/// All cores, and a GPU where there is one: a network is trained or used by all of them, one stage at a time.
const ALL_CORES_AND_A_GPU: Resources = Resources {
    cpus: 0,
    gpus: 1,
    memory: 0,
};

/// The version of networks narrower than 16 channels since the gradients of their shortcuts are right, whatever the processor
/// (`net::layers`).
fn narrow(version: u32) -> Revision {
    let width = json!({"type": "integer", "exclusiveMaximum": 16});
    let when = json!({
        "required": ["width"],
        "properties": {"arch": {"const": "resnet"}, "width": width},
    });
    Revision { version, when }
}

/// The version of what is computed in bfloat16 since images of one or two columns are convolved right on processors with AMX
/// (`net::layers`).
fn bf16(version: u32) -> Revision {
    let when = json!({"properties": {"precision": {"const": "bf16"}}});
    Revision { version, when }
}

fn data_port() -> Port {
    Port::new("data", ArtifactType::Dataset, "the data set, all splits")
}

fn model_port() -> Port {
    Port::new("model", ArtifactType::Model, "a trained network")
}

fn labels_port() -> Port {
    Port::optional(
        "labels",
        ArtifactType::Labels,
        "fine label of each row, [n], -1 where left out; the data set's own fine labels unless given",
    )
}
