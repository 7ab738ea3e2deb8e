//! Stage kinds that read data sets of images or feature vectors and write them as rows with labels and splits.
//!
//! - [`digits`], [`idx`], [`cifar`], [`medmnist`], [`arrays`], [`image_folder`], [`parquet_images`]: the stage kinds, one
//!   module a format. [`feature_vectors`]: vectors in place of images.
//! - [`projector`]: a data set and an embedding of it in TensorBoard.
//! - [`assemble`]: what they share after reading: limit, test and validation rows, normalisation, writing.
//! - [`draw`]: the seeded stratified draw behind test split, limit and validation rows.
//! - [`coarse`]: coarse classes as groups of fine classes.
//! - [`source`], [`download`], [`digest`]: a local path or a URL, and what it must hash to. [`content`]: what images must be,
//!   however they are packed.
//! - [`views`]: what they show people.
//! - [`unpack`]: gzip, tar and zip, bounded by what the format may hold. [`npy`], [`npz`]: NumPy's arrays.
//!   [`pickle`]: Python's pickles. [`table`]: Parquet. [`picture`]: image files. [`mod@column`]: one value a row, of any of them.

pub mod arrays;
pub mod assemble;
pub mod cifar;
pub mod coarse;
pub mod column;
pub mod content;
pub mod digest;
pub mod digits;
pub mod download;
pub mod draw;
pub mod feature_vectors;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod idx;
pub mod image_folder;
pub mod medmnist;
pub mod npy;
pub mod npz;
pub mod parquet_images;
pub mod pickle;
pub mod picture;
pub mod projector;
pub mod source;
pub mod table;
#[cfg(test)]
mod testing;
pub mod unpack;
pub mod views;

use flow_stage::{ArtifactType, Plugin, Port};

/// The plugin with all its kinds.
pub fn plugin() -> Plugin {
    Plugin::new("flow-stages-data", env!("CARGO_PKG_VERSION"))
        .stage::<digits::Digits>()
        .stage::<idx::Idx>()
        .stage::<cifar::Cifar10>()
        .stage::<cifar::Cifar100>()
        .stage::<medmnist::Medmnist>()
        .stage::<image_folder::ImageFolder>()
        .stage::<arrays::Npy>()
        .stage::<parquet_images::ParquetImages>()
        .stage::<feature_vectors::FeatureVectors>()
        .stage::<projector::Projector>()
}

fn data_output() -> Vec<Port> {
    vec![
        Port::new(
            "data",
            ArtifactType::Dataset,
            "images u8 [n, channels, height, width], coarse and fine labels, and the split of each row",
        ),
        Port::new(
            "view",
            ArtifactType::View,
            "sizes by split and class, images of each class, thumbnails",
        ),
    ]
}
