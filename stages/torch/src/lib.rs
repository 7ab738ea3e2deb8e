//! The stage kinds that train and use networks, on libtorch.
//!
//! - `stages`: one file a kind.
//! - `net`: the networks. `model`: a network as a file. `data`: the data set and its batches.
//! - `train`: the training loop; `optimise`: its optimisers and schedule; `checkpoint`: its state on disk.
//! - `measure`: what is measured on the test rows.
//! - `tensors`: `.safetensors` files.
//! - `runtime`: threads and device.

mod checkpoint;
mod data;
mod measure;
mod model;
mod net;
mod optimise;
mod runtime;
mod stages;
mod tensors;
mod train;

use flow_stage::Plugin;

/// The plugin `flow-stages-torch`.
pub fn plugin() -> Plugin {
    // The binding builds with this libtorch alone; records name it, since other versions may round otherwise.
    let version = concat!(env!("CARGO_PKG_VERSION"), " with libtorch 2.13.0");
    Plugin::new(env!("CARGO_PKG_NAME"), version)
        .stage::<stages::Train>()
        .stage::<stages::Features>()
        .stage::<stages::Uncertainty>()
        .stage::<stages::Finetune>()
        .stage::<stages::Multihead>()
        .stage::<stages::Evaluate>()
}
