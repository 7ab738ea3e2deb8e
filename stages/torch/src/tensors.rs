//! Named tensors in `.safetensors` files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use safetensors::tensor::{Dtype, SafeTensors, View};
use tch::{Kind, Tensor};

use crate::form::{self, Form};

/// Our one entry of a file's metadata. The format keeps them in no order, and files are compared by their bytes, so a
/// second one must not be added.
const ENTRY: &str = "flow";

/// Writes named tensors and a text to `path`, in one step: the file is there whole, or as it was before.
///
/// # Errors
/// Where the file can't be written.
pub fn write(path: &Path, tensors: &BTreeMap<String, Tensor>, text: &str) -> Result<()> {
    let wrong = || format!("{} can't be written", path.display());
    let views = tensors
        .iter()
        .map(|(name, tensor)| Ok((name.as_str(), Bytes::of(tensor)?)))
        .collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([(ENTRY.to_owned(), text.to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).with_context(wrong)?;
    let unfinished = path.with_extension("unfinished");
    let mut file = BufWriter::new(File::create(&unfinished).with_context(wrong)?);
    file.write_all(&bytes).with_context(wrong)?;
    file.flush().with_context(wrong)?;
    file.get_ref().sync_all().with_context(wrong)?;
    fs::rename(&unfinished, path).with_context(wrong)
}

/// Reads named tensors and the text that was written with them.
///
/// # Errors
/// Where the file can't be read, is damaged, or was not written by [`write()`].
pub fn read(path: &Path) -> Result<(BTreeMap<String, Tensor>, String)> {
    let bytes = fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).with_context(|| wrong(path, &bytes))?;
    let Some(text) = metadata.metadata().as_ref().and_then(|m| m.get(ENTRY)) else {
        bail!(
            "{} holds tensors, but does not say what network they belong to: it was not written by flow",
            path.display()
        );
    };
    Ok((parse(path, &bytes)?, text.clone()))
}

/// A digest of tensors, as one of four integers: of their names, types, shapes and content.
///
/// # Errors
/// Where a tensor is of a type that can't be saved.
pub fn digest(tensors: &BTreeMap<String, Tensor>) -> Result<Tensor> {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in tensors {
        let Bytes {
            dtype,
            shape,
            content,
        } = Bytes::of(tensor)?;
        // What is framed by its length, or says it: a name, and a shape before its content.
        hasher.update(format!("{} {name} {dtype:?} {shape:?}\n", name.len()).as_bytes());
        hasher.update(&content);
    }
    let digest = hasher.finalize();
    let (words, _) = digest.as_bytes().as_chunks::<8>();
    let words: Vec<i64> = words.iter().map(|word| i64::from_le_bytes(*word)).collect();
    Ok(Tensor::from_slice(&words))
}

/// The named tensors of a `.safetensors` file's content; those of half precision as f32, in which they are exact.
///
/// # Errors
/// Where it is damaged or something else; `path` is for the message.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let wrong = || wrong(path, bytes);
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(bytes)
        .with_context(wrong)?
        .tensors()
    {
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            Dtype::I32 => Kind::Int,
            Dtype::I16 => Kind::Int16,
            Dtype::I8 => Kind::Int8,
            Dtype::U8 => Kind::Uint8,
            Dtype::BOOL => Kind::Bool,
            other => bail!(
                "{}: the tensor `{name}` holds {other:?}, which is not read; save it as F32",
                path.display()
            ),
        };
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind).with_context(wrong)?;
        let tensor = match kind {
            Kind::Half | Kind::BFloat16 => tensor.to_kind(Kind::Float),
            _ => tensor,
        };
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

fn wrong(path: &Path, bytes: &[u8]) -> String {
    let path = path.display();
    if form::is_safetensors(bytes) {
        format!("{path} is a .safetensors file that is damaged")
    } else {
        let Form { is, .. } = form::of(bytes);
        format!("{path} is not a .safetensors file: it is {is}")
    }
}

/// A tensor's content in the form that `safetensors` takes.
struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    content: Vec<u8>,
}

impl Bytes {
    fn of(tensor: &Tensor) -> Result<Self> {
        let (dtype, size) = match tensor.kind() {
            Kind::Float => (Dtype::F32, 4),
            Kind::Double => (Dtype::F64, 8),
            Kind::Int64 => (Dtype::I64, 8),
            other => bail!("a tensor of {other:?} can't be saved"),
        };
        let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
        let mut content = vec![0; tensor.numel() * size];
        tensor.f_copy_data_u8(&mut content, tensor.numel())?;
        Ok(Bytes {
            dtype,
            shape: tensor.size().iter().map(|&size| size as usize).collect(),
            content,
        })
    }
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.content)
    }
    fn data_len(&self) -> usize {
        self.content.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_the_disk_and_the_same_ones_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (
            folder.path().join("a.safetensors"),
            folder.path().join("b.safetensors"),
        );
        let tensors = BTreeMap::from([
            (
                "float".to_owned(),
                Tensor::from_slice(&[1.5f32, -2.0, 0.1, 7.0]).view([2, 2]),
            ),
            ("double".to_owned(), Tensor::from_slice(&[0.1f64, f64::MAX])),
            ("integer".to_owned(), Tensor::from_slice(&[i64::MIN])),
        ]);
        write(&a, &tensors, "text").unwrap();
        write(&b, &tensors, "text").unwrap();
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        assert_eq!(read(&a).unwrap(), (tensors, "text".to_owned()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        fs::write(&path, "epoch,loss").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(
            error.contains("x.safetensors is not a .safetensors file"),
            "{error}"
        );
        let foreign = safetensors::serialize(Vec::<(&str, Bytes)>::new(), None).unwrap();
        fs::write(&path, foreign).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("was not written by flow"), "{error}");
    }
}
