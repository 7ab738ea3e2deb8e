//! A model: a network, and what it takes to use it on a data set. The `.safetensors` file holds all of it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::data::Data;
use crate::net::{Network, Spec};
use crate::tensors;

/// Which labels.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// The data set's coarse classes.
    #[default]
    Coarse,
    /// Fine classes: those of the input `labels`, or the data set's own.
    Fine,
}

/// What is saved beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// How to build the network.
    pub spec: Spec,
    /// What the first head tells apart. A second head, of multi-head training, tells fine classes apart.
    pub labels: Labels,
    /// Names of the coarse classes.
    pub coarse_names: Vec<String>,
    /// The coarse class that each fine class belongs to, where a head tells fine classes apart.
    pub fine_to_coarse: Vec<usize>,
    /// Whether those fine classes are the data set's true ones, so that its fine labels are comparable.
    pub true_fine: bool,
    /// What is subtracted from each channel of values in 0..1.
    pub mean: Vec<f32>,
    /// What each channel is divided by after that.
    pub std: Vec<f32>,
}

/// A network with what is saved beside it.
pub struct Model {
    /// What it is.
    pub meta: Meta,
    /// The network.
    pub net: Network,
}

impl Model {
    /// A new model, drawn from the seed.
    pub fn new(meta: Meta, seed: u64, device: Device) -> Self {
        let net = Network::new(meta.spec.clone(), seed, device);
        Model { meta, net }
    }

    /// Reads a model.
    ///
    /// # Errors
    /// Where the file is missing, damaged or was not written by flow.
    pub fn read(path: &Path, device: Device) -> Result<Self> {
        let (tensors, text) = tensors::read(path)?;
        let meta: Meta = serde_json::from_str(&text).with_context(|| {
            format!("{} is not a model that this version knows", path.display())
        })?;
        let mut model = Model::new(meta, 0, device);
        model
            .net
            .load(&tensors)
            .with_context(|| format!("{} is damaged", path.display()))?;
        Ok(model)
    }

    /// Writes the model.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(&self.meta)?;
        tensors::write(path, &self.net.tensors(), &text)
    }

    /// Makes sure that the model can look at the images of `data`, and has `data` normalise them as it wants.
    ///
    /// # Errors
    /// Where the images have another shape, or the coarse classes are others.
    pub fn fit(&self, data: &mut Data) -> Result<()> {
        let (wanted, found) = (self.meta.spec.input, data.input());
        ensure!(
            wanted == found,
            "the model was trained on images of {} channel(s), {}x{}, and the data set has {} channel(s), {}x{}",
            wanted[0],
            wanted[2],
            wanted[1],
            found[0],
            found[2],
            found[1]
        );
        ensure!(
            self.meta.coarse_names == data.meta.coarse_names,
            "the model was trained for the coarse classes {}, and the data set has {}",
            self.meta.coarse_names.join(", "),
            data.meta.coarse_names.join(", ")
        );
        data.normalise(&self.meta.mean, &self.meta.std);
        Ok(())
    }
}
