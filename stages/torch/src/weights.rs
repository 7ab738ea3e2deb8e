//! Checkpoints of others: read in either form, taken out of what is wrapped around them, and held against what a network
//! needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tch::{Kind, Tensor};

use crate::form::{self, Form};
use crate::pickle::{self, Saved};
use crate::tensors;

/// What frameworks put before the names of a network's tensors: `DataParallel`, `torch.compile`, Lightning.
const PREFIXES: [&str; 3] = ["module", "_orig_mod", "model"];

/// How many names an error gives of each sort.
const NAMED: usize = 3;

/// Reads a checkpoint from elsewhere: `.safetensors`, or what PyTorch saved (`.pth`, `.pt`). The file's content decides,
/// not its name.
///
/// # Errors
/// Where the file can't be read or is neither: then what it is.
pub fn read(path: &Path) -> Result<Saved> {
    ensure!(
        !path.is_dir(),
        "{} is a folder; name the checkpoint file that is in it",
        path.display()
    );
    let bytes = fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    if pickle::is_checkpoint(&bytes) {
        return pickle::read(&bytes)
            .with_context(|| format!("{} can't be read as a checkpoint", path.display()));
    }
    if form::is_safetensors(&bytes) {
        return Ok(Saved {
            tensors: tensors::parse(path, &bytes)?,
            wrappers: Vec::new(),
        });
    }
    let Form { is, remedy } = form::of(&bytes);
    bail!(
        "{} is {is}; `weights` reads .safetensors files and state dicts that torch.save wrote (.pth, .pt): {remedy}",
        path.display()
    )
}

/// Takes off the prefix that all names of a network have in a checkpoint; gives it too. `wanted` are the network's names.
///
/// # Errors
/// Where the checkpoint holds such a network more than once, and nothing tells which is meant.
pub fn without_prefix(
    tensors: BTreeMap<String, Tensor>,
    wanted: &BTreeSet<String>,
) -> Result<(BTreeMap<String, Tensor>, String)> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for name in tensors.keys() {
        let inner = name.match_indices('.').map(|(at, _)| at + 1);
        for at in std::iter::once(0).chain(inner) {
            if wanted.contains(&name[at..]) {
                *counts.entry(&name[..at]).or_default() += 1;
            }
        }
    }
    let known = |prefix: &str| {
        let mut parts = prefix.split_terminator('.');
        parts.all(|part| PREFIXES.contains(&part))
    };
    let whole = |prefix: &&str| counts[prefix] == wanted.len();
    let usual = counts.keys().copied().filter(|prefix| known(prefix));
    // Of equals the first, which is the shortest: `counts` is in order.
    let usual = usual.rev().max_by_key(|prefix| counts[prefix]);
    let others: Vec<&str> = counts.keys().copied().filter(whole).collect();
    let prefix = match (usual, others.as_slice()) {
        (Some(usual), _) if whole(&usual) => usual,
        (_, [only]) => only,
        (_, [first, second, ..]) => bail!(
            "it holds such a network more than once, under `{first}`, `{second}`{}; save the one that is meant: \
             torch.save(net.state_dict(), \"x.pth\")",
            if others.len() > 2 { ", …" } else { "" }
        ),
        (usual, []) => usual.unwrap_or_default(),
    };
    let prefix = prefix.to_owned();
    let tensors = tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor)))
        .collect();
    Ok((tensors, prefix))
}

/// Makes sure that `found` has the tensors of `network` that are `wanted`.
///
/// # Errors
/// Where it has not: what is missing, of another shape, and left over.
pub fn compare(
    found: &BTreeMap<String, Tensor>,
    network: &BTreeMap<String, Tensor>,
    wanted: impl Fn(&str) -> bool,
) -> Result<()> {
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    let needed = network.iter().filter(|(name, _)| wanted(name));
    for (name, tensor) in needed.clone() {
        match found.get(name) {
            None => missing.push(format!("`{name}`")),
            Some(source) if source.size() != tensor.size() || source.kind() != Kind::Float => {
                other.push(format!(
                    "`{name}` is {:?} {:?}, the network needs Float {:?}",
                    source.kind(),
                    source.size(),
                    tensor.size()
                ));
            }
            Some(_) => {}
        }
    }
    if missing.is_empty() && other.is_empty() {
        return Ok(());
    }
    // Counters of batches are of no use to anyone here.
    let left: Vec<String> = found
        .keys()
        .filter(|name| !network.contains_key(*name) && !name.ends_with("num_batches_tracked"))
        .map(|name| format!("`{name}`"))
        .collect();
    let mut parts = Vec::new();
    let total = needed.count();
    for (list, is) in [
        (
            missing,
            format!("of the {total} tensors that the network needs are missing"),
        ),
        (other, "have another shape or type".into()),
        (left, format!("of the file's {} are left over", found.len())),
    ] {
        if !list.is_empty() {
            parts.push(format!("{} {is} ({})", list.len(), first(&list)));
        }
    }
    bail!("{}", parts.join("; "))
}

/// The first few of a list, in words.
fn first(list: &[String]) -> String {
    let more = list.len().saturating_sub(NAMED);
    let named = list[..list.len().min(NAMED)].join(", ");
    match more {
        0 => named,
        _ => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    //! On files that `tests/reference/checkpoint.py` wrote with PyTorch 2.13.0.

    use std::path::PathBuf;

    use tch::Device;

    use super::*;
    use crate::net::{Arch, Choice, Head, Network};

    fn file(name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
        folder.join(name)
    }

    fn cnn(width: i64) -> Network {
        let choice = Choice {
            arch: Arch::Cnn,
            width: Some(width),
            depth: None,
            weights: None,
        };
        let spec = choice.spec([1, 8, 8], vec![Head::linear("fc", 3)]).unwrap();
        Network::new(spec, 1, Device::Cpu)
    }

    #[track_caller]
    fn says(path: &Path, text: &str) {
        let error = format!("{:#}", cnn(2).begin_with(path).unwrap_err());
        assert!(error.contains(text), "{error}\n(expected: {text})");
    }

    #[test]
    fn what_is_wrapped_around_a_network_is_taken_off_and_said() {
        for (name, told) in [
            ("cnn.pth", "cnn.pth"),
            (
                "data_parallel.pth",
                "data_parallel.pth, from its `state_dict`, whose names have `module.` before them",
            ),
            (
                "protocol4.pth",
                "protocol4.pth, from its `model_state_dict`",
            ),
            (
                "lightning.ckpt",
                "lightning.ckpt, from its `state_dict`, whose names have `model.` before them",
            ),
            (
                "compiled.pth",
                "compiled.pth, from its `model`, whose names have `module._orig_mod.` before them",
            ),
            (
                "backbone.pth",
                "backbone.pth, whose names have `backbone.` before them",
            ),
        ] {
            let mut net = cnn(2);
            let before = net.copy();
            let said = net.begin_with(&file("wrapped").join(name)).unwrap();
            assert!(said.starts_with("begins with 14 tensors of "), "{said}");
            assert!(said.ends_with(told), "{said}");
            for (name, found) in net.tensors() {
                let expected = match name.as_str() {
                    "conv1.weight" | "fc.weight" | "fc.bias" => before[&name].shallow_clone(),
                    _ if name.ends_with("running_mean") => found.zeros_like(),
                    _ if name.ends_with("running_var") => found.ones_like(),
                    _ => {
                        let options = (Kind::Float, Device::Cpu);
                        Tensor::arange(found.numel() as i64, options).view_as(&found)
                    }
                };
                assert_eq!(found, expected, "{told}: {name}");
            }
        }
    }

    #[test]
    fn a_network_that_is_there_twice_is_not_guessed() {
        says(
            &file("wrapped/twice.pth"),
            "it holds such a network more than once, under `student.`, `teacher.`; save the one that is meant",
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        says(
            &file("weights.pth"),
            "weights.pth is not a checkpoint of the network that `arch` names: 10 of the 14 tensors that the network needs \
             are missing (`bn2.bias`, `bn2.running_mean`, `bn2.running_var` and 7 more); ",
        );
        says(&file("weights.pth"), "are left over (`layer1.0.bn1.bias`, ");
        let error = cnn(4).begin_with(&file("wrapped/lightning.ckpt"));
        let error = format!("{:#}", error.unwrap_err());
        assert!(
            error.ends_with(
                ": 14 have another shape or type (`bn1.bias` is Float [2], the network needs Float [4], `bn1.running_mean` is \
                 Float [2], the network needs Float [4], `bn1.running_var` is Float [2], the network needs Float [4] and 11 \
                 more)"
            ),
            "{error}"
        );
    }

    #[test]
    fn another_file_is_called_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pth");
        says(folder.path(), "is a folder; name the checkpoint file");
        says(&path, "x.pth can't be read: No such file");
        says(
            &file("checkpoint/plain.pkl"),
            "plain.pkl is a plain pickle of Python's; `weights` reads .safetensors files and state dicts that torch.save \
             wrote (.pth, .pt): load it",
        );
        fs::write(&path, []).unwrap();
        says(&path, "x.pth is empty (0 bytes); `weights` reads");
        fs::write(&path, b"\x93NUMPY\x01\0").unwrap();
        says(
            &path,
            "x.pth is an array of NumPy's (.npy); `weights` reads",
        );
        fs::write(
            &path,
            &fs::read(file("weights.safetensors")).unwrap()[..500],
        )
        .unwrap();
        says(&path, "x.pth is a .safetensors file that is damaged");
    }

    #[test]
    fn half_precision_in_safetensors_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        // 1.5 in bfloat16 and in IEEE's half precision.
        let header = br#"{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}"#;
        let length = (header.len() as u64).to_le_bytes();
        fs::write(
            &path,
            [&length[..], header, &[0xc0, 0x3f, 0, 0x3e]].concat(),
        )
        .unwrap();
        let tensors = read(&path).unwrap().tensors;
        for name in ["a", "b"] {
            assert_eq!(tensors[name], Tensor::from_slice(&[1.5f32]), "{name}");
        }
    }
}
