//! Reads the reference arrays that lie beside this file.

use std::path::Path;

use flow_stage::array::read;
use ndarray::{Array, Dimension};
use ndarray_npy::ReadableElement;

/// The array `name`.
pub fn load<A: ReadableElement, D: Dimension>(name: &str) -> Array<A, D> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    read(&folder.join(format!("{name}.npy"))).expect("a reference array")
}
