//! Model files: what `umap-model` and `hdbscan-model` keep for `umap-transform` and `hdbscan-predict`.
//!
//! A `.safetensors` file with arrays for each coarse class, named by the class's place and the array's name
//! (`0.features`), and a JSON object in its metadata, under `flow`: [`Head`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use ndarray::{Array, Dimension};
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The one entry of a file's metadata. The format keeps entries in no order, and files are compared by their bytes.
const ENTRY: &str = "flow";

/// What a model file says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head<P> {
    /// The kind that wrote it.
    pub kind: String,
    /// The parameters of that stage.
    pub parameters: P,
    /// The seed of that stage, where it draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The names of the coarse classes.
    pub classes: Vec<String>,
}

/// A number that arrays of a model hold.
pub(super) trait Number: Copy {
    const DTYPE: Dtype;
    fn bytes(self, into: &mut Vec<u8>);
    fn all(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! number {
    ($type:ty, $dtype:ident, $size:literal) => {
        impl Number for $type {
            const DTYPE: Dtype = Dtype::$dtype;
            fn bytes(self, into: &mut Vec<u8>) {
                into.extend(self.to_le_bytes());
            }
            fn all(bytes: &[u8]) -> Vec<Self> {
                let (numbers, _) = bytes.as_chunks::<$size>();
                numbers
                    .iter()
                    .map(|&bytes| Self::from_le_bytes(bytes))
                    .collect()
            }
        }
    };
}
number!(f32, F32, 4);
number!(f64, F64, 8);
number!(i32, I32, 4);

/// An array as it stands in a file.
pub(super) struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    pub fn of<A: Number, D: Dimension>(array: &Array<A, D>) -> Self {
        let mut bytes = Vec::with_capacity(array.len() * size_of::<A>());
        array.iter().for_each(|&number| number.bytes(&mut bytes));
        Tensor {
            dtype: A::DTYPE,
            shape: array.shape().to_vec(),
            bytes,
        }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes a model; `arrays` are those of each class, by name.
///
/// # Errors
/// Where the file can't be written.
pub(super) fn write<P: Serialize>(
    path: &Path,
    head: &Head<P>,
    arrays: Vec<Vec<(&str, Tensor)>>,
) -> Result<()> {
    let wrong = || format!("{} can't be written", path.display());
    let named = arrays.into_iter().enumerate().flat_map(|(class, arrays)| {
        let named = arrays.into_iter();
        named.map(move |(name, tensor)| (format!("{class}.{name}"), tensor))
    });
    let text = serde_json::to_string(head)?;
    let metadata = HashMap::from([(ENTRY.to_owned(), text)]);
    let bytes = safetensors::serialize(named, Some(metadata)).with_context(wrong)?;
    fs::write(path, bytes).with_context(wrong)
}

/// A model file that was read.
pub(super) struct Model<P> {
    pub head: Head<P>,
    /// The file as people know it, for messages.
    shown: String,
    bytes: Vec<u8>,
}

/// Reads the model that a stage of `kind` has written.
///
/// # Errors
/// Where the file can't be read, is damaged, or is something else.
pub(super) fn read<P: DeserializeOwned>(path: &Path, kind: &str) -> Result<Model<P>> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).with_context(|| format!("{shown} can't be read"))?;
    let wanted = format!("give the output `model` of a stage of the kind `{kind}`");
    let (_, metadata) = SafeTensors::read_metadata(&bytes)
        .with_context(|| format!("{shown} is damaged, or is no .safetensors file: {wanted}"))?;
    let text = metadata.metadata().as_ref().and_then(|m| m.get(ENTRY));
    let text = text.map_or("{}", String::as_str);
    let says: Value = serde_json::from_str(text)
        .with_context(|| format!("{shown}: what it says of itself is damaged"))?;
    match says.get("kind").and_then(Value::as_str) {
        Some(own) if own == kind => {}
        Some(own) => bail!("{shown} is a model of the kind `{own}`: {wanted}"),
        None => bail!("{shown} is another sort of model, such as a network: {wanted}"),
    }
    let head = serde_json::from_value(says).with_context(|| {
        format!("{shown} was written by another version of flow: make it anew with `{kind}`")
    })?;
    Ok(Model { head, shown, bytes })
}

impl<P> Model<P> {
    /// The file's bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The array `name` of a class.
    ///
    /// # Errors
    /// Where the file does not have it, or has it in another form.
    pub fn array<A: Number, D: Dimension>(&self, class: &str, name: &str) -> Result<Array<A, D>> {
        let shown = &self.shown;
        let number = self.head.classes.iter().position(|own| own == class);
        let number = number.with_context(|| format!("{shown} has no class {class}"))?;
        let name = format!("{number}.{name}");
        let damaged = || format!("{shown} is damaged");
        let tensors = SafeTensors::deserialize(&self.bytes).with_context(damaged)?;
        let tensor = tensors
            .tensor(&name)
            .with_context(|| format!("{shown} lacks `{name}`"))?;
        ensure!(
            tensor.dtype() == A::DTYPE && Some(tensor.shape().len()) == D::NDIM,
            "{shown}: `{name}` holds {:?} {:?}, where {:?} in {:?} dimension(s) is wanted",
            tensor.dtype(),
            tensor.shape(),
            A::DTYPE,
            D::NDIM
        );
        let mut shape = D::zeros(tensor.shape().len());
        shape.slice_mut().copy_from_slice(tensor.shape());
        Array::from_shape_vec(shape, A::all(tensor.data())).with_context(damaged)
    }
}
