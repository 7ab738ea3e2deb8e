//! State dicts that PyTorch saved (`torch.save(net.state_dict(), "x.pth")`), read without running what is in them.
//!
//! A file is a pickle, which is a program. [`machine`] runs the part of it that builds containers, numbers and texts; a
//! call of anything but a few known constructors gives a value that nothing can be done with. So a hostile file can be
//! refused, and no more. Read are both forms: the zip archive of PyTorch 1.6 and later, and the older sequence of pickles.
//!
//! Form and names are those of `torch/serialization.py` and `torch/_utils.py` in PyTorch 2.13.

mod machine;

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};

use anyhow::{Context, Result, bail, ensure};
use tch::{Kind, Tensor};
use zip::{CompressionMethod, ZipArchive};

use machine::{Id, Machine, Node};

/// The pickle of the number `0x1950a86a20f9469cfc6c`, with which the older form begins, after its protocol's version.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Under these names training scripts keep a state dict beside other things. The first that is there is taken.
const WRAPPERS: [&str; 7] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
];

/// State dicts are looked for in dicts of dicts up to this depth; a dict may hold itself.
const DEPTH: usize = 4;

/// How much of what a file has is named in an error.
const NAMED: usize = 5;

/// What a file holds.
#[derive(Debug)]
pub struct Saved {
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The names under which the state dict stood, from outside to inside.
    pub wrappers: Vec<String>,
}

/// Whether the content of a file looks like one that PyTorch saved.
pub fn is_checkpoint(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || is_sequence(bytes)
}

/// Whether it has the older form, in any of the pickle's protocols; some begin with the length of a frame.
fn is_sequence(bytes: &[u8]) -> bool {
    match bytes {
        [0x80, _, 0x95, _, _, _, _, _, _, _, _, rest @ ..] | [0x80, _, rest @ ..] => {
            rest.starts_with(MAGIC)
        }
        _ => false,
    }
}

/// Reads the tensors of a state dict by name. A checkpoint that holds one under a usual name (`state_dict`, `model`) will
/// do.
///
/// # Errors
/// Where the file is damaged or holds something else.
pub fn read(bytes: &[u8]) -> Result<Saved> {
    let (machine, root, mut storages) = if is_sequence(bytes) {
        sequence(bytes)?
    } else {
        archive(bytes)?
    };
    let Node::Dict(mut dict) = machine.node(root).clone() else {
        bail!(
            "it holds {}, not a state dict; save that: torch.save(net.state_dict(), \"x.pth\")",
            machine.describe(root)
        );
    };
    let mut wrappers = Vec::new();
    while wrappers.len() < DEPTH
        && let Some((name, inner)) = unwrap(&machine, &dict)
    {
        wrappers.push(name.to_owned());
        dict = inner;
    }
    let mut tensors = BTreeMap::new();
    for &(key, value) in &dict {
        if let (Node::Text(name), Node::Tensor(view)) = (machine.node(key), machine.node(value)) {
            let tensor = view
                .tensor(&mut storages)
                .with_context(|| format!("the tensor `{name}`"))?;
            tensors.insert(name.clone(), tensor);
        }
    }
    ensure!(
        !tensors.is_empty(),
        "it holds no tensors by name{}; a state dict does: torch.save(net.state_dict(), \"x.pth\")",
        contents(&machine, &dict)
    );
    Ok(Saved { tensors, wrappers })
}

/// The state dict that stands in `dict` under a usual name.
fn unwrap(machine: &Machine, dict: &[(Id, Id)]) -> Option<(&'static str, Vec<(Id, Id)>)> {
    WRAPPERS.iter().find_map(|&wanted| {
        dict.iter().find_map(
            |&(key, value)| match (machine.node(key), machine.node(value)) {
                (Node::Text(key), Node::Dict(inner)) if key == wanted => {
                    Some((wanted, inner.clone()))
                }
                _ => None,
            },
        )
    })
}

/// What a dict has under which names, in words: the first few.
fn contents(machine: &Machine, dict: &[(Id, Id)]) -> String {
    let named = dict
        .iter()
        .filter_map(|&(key, value)| match machine.node(key) {
            Node::Text(name) => Some(format!("`{name}` ({})", machine.describe(value))),
            _ => None,
        });
    let named: Vec<String> = named.collect();
    match named.len() {
        0 => String::new(),
        count => format!(
            ", but {}{}",
            named[..count.min(NAMED)].join(", "),
            if count > NAMED { ", …" } else { "" }
        ),
    }
}

/// Elements of one type in a row, which tensors are views of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Storage {
    kind: Kind,
    key: String,
    elements: usize,
}

/// A tensor as it is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    storage: Storage,
    offset: usize,
    size: Vec<i64>,
    stride: Vec<i64>,
}

impl View {
    fn tensor(&self, storages: &mut Storages) -> Result<Tensor> {
        let Storage { kind, elements, .. } = self.storage;
        let damaged = || {
            format!(
                "is damaged: {:?} with strides {:?} from {} does not lie in {elements} elements",
                self.size, self.stride, self.offset
            )
        };
        ensure!(self.size.len() == self.stride.len(), damaged());
        let mut last = self.offset as i64;
        let mut count = 1i64;
        for (&size, &stride) in self.size.iter().zip(&self.stride) {
            ensure!(size >= 0 && stride >= 0, damaged());
            count = count.checked_mul(size).with_context(damaged)?;
            last = (size.max(1) - 1)
                .checked_mul(stride)
                .and_then(|step| last.checked_add(step))
                .with_context(damaged)?;
        }
        // The second keeps a stride of 0 from making a large tensor out of a small file.
        ensure!(
            (count == 0 || last < elements as i64) && count <= elements as i64,
            damaged()
        );
        let bytes = storages.bytes(&self.storage)?;
        let flat = Tensor::f_from_data_size(bytes, &[elements as i64], kind)?;
        let tensor = flat
            .f_as_strided(&self.size, &self.stride, self.offset as i64)?
            .f_contiguous()?;
        // Half precision is exact in f32, in which networks learn.
        Ok(match kind {
            Kind::Half | Kind::BFloat16 => tensor.to_kind(Kind::Float),
            _ => tensor,
        })
    }
}

/// Where the elements of storages are.
enum Storages<'a> {
    Archive {
        archive: ZipArchive<Cursor<&'a [u8]>>,
        prefix: String,
        read: HashMap<String, Vec<u8>>,
        /// How much may still be read. Records of an archive may share bytes, so that a small one holds a lot.
        left: usize,
    },
    Sequence(HashMap<String, &'a [u8]>),
}

impl Storages<'_> {
    fn bytes(&mut self, storage: &Storage) -> Result<&[u8]> {
        let Storage {
            kind,
            key,
            elements,
        } = storage;
        let expected = elements
            .checked_mul(kind.elt_size_in_bytes())
            .with_context(|| {
                format!("its storage {key} has {elements} elements, which can't be")
            })?;
        let found = match self {
            Storages::Archive {
                archive,
                prefix,
                read,
                left,
            } => {
                if !read.contains_key(key) {
                    let bytes = record(archive, &format!("{prefix}data/{key}"), *left)?;
                    *left -= bytes.len();
                    read.insert(key.clone(), bytes);
                }
                read[key].as_slice()
            }
            Storages::Sequence(all) => all
                .get(key)
                .with_context(|| format!("its storage {key} is missing"))?,
        };
        ensure!(
            found.len() == expected,
            "its storage {key} is damaged: expected {expected} bytes, found {}",
            found.len()
        );
        Ok(found)
    }
}

/// A record of an archive, of at most `most` bytes.
fn record(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, most: usize) -> Result<Vec<u8>> {
    let mut file = archive
        .by_name(name)
        .with_context(|| format!("the record {name} is missing or damaged"))?;
    ensure!(
        file.compression() == CompressionMethod::Stored,
        "the record {name} is compressed, which PyTorch never does"
    );
    ensure!(
        file.size() <= most as u64,
        "the record {name} is larger than the file"
    );
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .with_context(|| format!("the record {name} is damaged"))?;
    Ok(bytes)
}

/// The form of PyTorch 1.6 and later: `NAME/data.pkl`, and a record `NAME/data/KEY` for each storage.
fn archive(bytes: &[u8]) -> Result<(Machine, Id, Storages<'_>)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).context("it is not a whole archive")?;
    let find = |archive: &ZipArchive<_>, ending: &str| {
        let mut names = archive.file_names().filter_map(Result::ok);
        names.find_map(|name| Some(name.strip_suffix(ending)?.to_owned()))
    };
    ensure!(
        find(&archive, "/constants.pkl").is_none(),
        "it is a TorchScript program; a state dict is read: torch.save(net.state_dict(), \"x.pth\")"
    );
    let Some(prefix) = find(&archive, "/data.pkl") else {
        let names: Vec<String> = archive
            .file_names()
            .filter_map(Result::ok)
            .map(String::from)
            .collect();
        ensure!(
            names.is_empty() || !names.iter().all(|name| name.ends_with(".npy")),
            "it is an archive of NumPy's arrays (.npz); save them as tensors: torch.save({{name: torch.from_numpy(array) \
             for name, array in numpy.load(\"x.npz\").items()}}, \"x.pth\")"
        );
        bail!(
            "it is a zip archive that torch.save did not write: it has no data.pkl, but {}{}",
            names[..names.len().min(NAMED)].join(", "),
            if names.len() > NAMED { ", …" } else { "" }
        );
    };
    let prefix = prefix + "/";
    let order = format!("{prefix}byteorder");
    if archive.index_for_name(&order).is_some() {
        let order = record(&mut archive, &order, 16)?;
        ensure!(order == b"little", "its numbers are big-endian");
    }
    let pickle = record(&mut archive, &format!("{prefix}data.pkl"), bytes.len())?;
    let mut machine = Machine::default();
    let (root, _) = machine.run(&pickle)?;
    let storages = Storages::Archive {
        archive,
        prefix,
        read: HashMap::new(),
        left: bytes.len(),
    };
    Ok((machine, root, storages))
}

/// The older form: pickles of a magic number, a version, facts about the system, the object and the keys of its storages,
/// and then each storage's elements after their number.
fn sequence(bytes: &[u8]) -> Result<(Machine, Id, Storages<'_>)> {
    let mut rest = bytes;
    let mut next = || -> Result<(Machine, Id)> {
        let mut machine = Machine::default();
        let (root, read) = machine.run(rest)?;
        rest = &rest[read..];
        Ok((machine, root))
    };
    next()?;
    let (machine, version) = next()?;
    ensure!(
        matches!(machine.node(version), Node::Int(1001)),
        "it is of an unknown version"
    );
    let (machine, system) = next()?;
    if let Node::Dict(facts) = machine.node(system) {
        let big = facts.iter().any(|&(key, value)| {
            matches!(machine.node(key), Node::Text(key) if key == "little_endian")
                && matches!(machine.node(value), Node::Bool(false))
        });
        ensure!(!big, "its numbers are big-endian");
    }
    let (object, root) = next()?;
    let (machine, keys) = next()?;
    let Node::List(keys) = machine.node(keys) else {
        bail!("it has no list of storages");
    };
    let sizes: HashMap<&str, usize> = object
        .storages()
        .map(|storage| (storage.key.as_str(), storage.kind.elt_size_in_bytes()))
        .collect();
    let mut all = HashMap::new();
    for &key in keys {
        let Node::Text(key) = machine.node(key) else {
            bail!("its list of storages is damaged");
        };
        let truncated = || format!("it is truncated at the storage {key}");
        let size = sizes
            .get(key.as_str())
            .with_context(|| format!("nothing says what its storage {key} holds"))?;
        let (number, after) = rest.split_first_chunk::<8>().with_context(truncated)?;
        let content = usize::try_from(i64::from_le_bytes(*number))
            .ok()
            .and_then(|number| number.checked_mul(*size))
            .and_then(|length| after.get(..length))
            .with_context(truncated)?;
        rest = &after[content.len()..];
        all.insert(key.clone(), content);
    }
    Ok((object, root, Storages::Sequence(all)))
}

#[cfg(test)]
mod tests;
