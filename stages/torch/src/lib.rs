//! The stage kinds that train and use networks, on libtorch.
//!
//! - `stages`: one file a kind.
//! - `net`: the networks. `model`: a network as a file. `data`: the data set and its batches.
//! - `train`: the training loop. `recipe`: its parameters; `task`: what is learned; `groups`: by whose loss;
//!   `history`: the figures of each epoch;
//!   `augment`: random changes of images; `range`: the learning rate's range test; `optimise`: optimisers and schedule;
//!   `checkpoint`: its state on disk.
//! - `nearest`: labels for images that were left out. `views`: what the kinds show people.
//! - `measure`: what is measured on the test rows; `scores`: by which formulas. `tensorboard`: event files.
//! - `tensors`: `.safetensors` files; `pickle`: PyTorch's checkpoints; `weights`: either, from elsewhere; `form`: what
//!   another file is.
//! - `runtime`: threads, device, exceptions. `processor`: what of it libtorch computes with.

mod augment;
mod checkpoint;
mod data;
mod form;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod groups;
mod history;
mod measure;
mod model;
mod nearest;
mod net;
mod optimise;
mod pickle;
mod processor;
mod range;
mod recipe;
mod runtime;
mod scores;
mod stages;
mod task;
mod tensorboard;
mod tensors;
mod train;
mod views;
mod weights;

use flow_stage::Plugin;

/// The binding builds with this libtorch alone.
const LIBTORCH: &str = "2.13.0";

/// The plugin's version; records name its libtorch, since other versions may round otherwise.
fn version() -> String {
    format!("{} with libtorch {LIBTORCH}", env!("CARGO_PKG_VERSION"))
}

/// The plugin `flow-stages-torch`.
pub fn plugin() -> Plugin {
    Plugin::new(env!("CARGO_PKG_NAME"), &version())
        .stage::<stages::Train>()
        .stage::<stages::Features>()
        .stage::<stages::Uncertainty>()
        .stage::<stages::Finetune>()
        .stage::<stages::Multihead>()
        .stage::<stages::Groupdro>()
        .stage::<stages::Evaluate>()
}
