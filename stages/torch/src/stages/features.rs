//! `features`: the activations of a layer for each training image.

use anyhow::Result;
use flow_stage::dataset::Split;
use flow_stage::protocol::{Resources, Revision};
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, no_grad};

use crate::data::Data;
use crate::measure::BATCH;
use crate::model::Model;
use crate::runtime::{self, Machine};

/// The parameters of `features`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct Features {
    /// The layer: `avgpool` (the global average pool), `conv1`, and then `layer1`, `layer2`, … of a ResNet or `conv2` and
    /// `conv3` of a `cnn`. Layers before `avgpool` are flattened to channels times height times width.
    #[serde(default = "avgpool")]
    layer: String,
    /// Whose activations are computed: those of the training images, or of `all`, for umap-transform. What the training images
    /// have is the same either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<Whose>,
    #[serde(flatten)]
    machine: Machine,
}

/// Which images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Whose {
    Train,
    All,
}

fn avgpool() -> String {
    "avgpool".into()
}

impl Stage for Features {
    const NAME: &'static str = "features";
    const VERSION: u32 = 3;
    const SUMMARY: &'static str = "Computes a network's activations for each training image";
    const THREADS_PARAMETER: Option<&'static str> = Machine::THREADS;

    fn revisions() -> Vec<Revision> {
        vec![super::bf16(4)]
    }

    fn inputs() -> Vec<Port> {
        vec![super::data_port(), super::model_port()]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::new(
            "features",
            ArtifactType::Array,
            "activations, [n, d] f32; NaN in rows that are not for training, unless rows is `all`",
        )]
    }

    fn resources() -> Resources {
        super::ALL_CORES_AND_A_GPU
    }

    fn run(self, context: &Context) -> Result<()> {
        runtime::start(context, &self.machine, |device| {
            self.compute(context, device)
        })
    }
}

impl Features {
    fn compute(&self, context: &Context, device: Device) -> Result<()> {
        let mut data = Data::read(context.input("data")?, device)?;
        let mut model = Model::read(context.input("model")?, device)?;
        model.net.set_precision(self.machine.precision);
        model.fit(&mut data)?;
        let train = data.of(Split::Train)?;
        // Those for training stand in batches of their own: an image beside others may get other last bits.
        let others: Vec<usize> = match self.rows {
            Some(Whose::All) => {
                let of = |split| data.rows.of(split);
                [of(Split::Val), of(Split::Test)].concat()
            }
            _ => Vec::new(),
        };
        let features = runtime::in_batches(BATCH, data.input(), || {
            self.activations(context, &model, &data, &[&train, &others])
        })?;
        array::write(&context.output("features")?, &features)
    }

    /// The activations `[n, d]` of some rows; NaN in other rows.
    fn activations(
        &self,
        context: &Context,
        model: &Model,
        data: &Data,
        parts: &[&[usize]],
    ) -> Result<Array2<f32>> {
        let mut features = Array2::zeros((0, 0));
        let total: usize = parts.iter().map(|rows| rows.len()).sum();
        let mut done = 0;
        for batch in parts.iter().flat_map(|rows| rows.chunks(BATCH)) {
            let activations = no_grad(|| {
                let images = data.batch(&data.index(batch));
                model.net.features(&images, &self.layer)
            })?;
            let activations = activations.to_device(Device::Cpu).contiguous();
            let width = activations.size()[1] as usize;
            if done == 0 {
                features = Array2::from_elem((data.len(), width), f32::NAN);
            }
            let mut values = vec![0f32; activations.numel()];
            activations.copy_data(&mut values, activations.numel());
            for (&row, values) in batch.iter().zip(values.chunks(width)) {
                features
                    .row_mut(row)
                    .assign(&ndarray::ArrayView1::from(values));
            }
            done += batch.len();
            context.progress(done as u64, total as u64, "image");
        }
        Ok(features)
    }
}
