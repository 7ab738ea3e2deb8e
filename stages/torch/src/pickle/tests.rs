//! On files that `tests/reference/checkpoint.py` wrote with PyTorch 2.13.0.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::{Saved, is_checkpoint, read};

/// What an older file begins with in Python's default for it.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/checkpoint");
    std::fs::read(folder.join(name)).unwrap()
}

fn count_up(shape: &[i64]) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    Tensor::arange(shape.iter().product::<i64>(), options).view(shape)
}

#[test]
fn both_forms_and_a_trainings_checkpoint_hold_the_state_dict() {
    for name in ["zip.pth", "older.pth", "training.pth", "bf16.pth"] {
        assert!(is_checkpoint(&file(name)), "{name}");
        let tensors = read(&file(name)).unwrap().tensors;
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "bn1.bias",
                "bn1.num_batches_tracked",
                "bn1.running_mean",
                "bn1.running_var",
                "bn1.weight",
                "conv1.weight",
                "fc.bias",
                "fc.weight",
            ],
            "{name}"
        );
        assert_eq!(tensors["conv1.weight"], count_up(&[3, 2, 3, 3]), "{name}");
        let every_other = count_up(&[4, 3]).slice(0, 0, None, 2);
        assert_eq!(tensors["fc.weight"], every_other, "{name}");
        assert_eq!(tensors["fc.bias"], count_up(&[2]), "{name}");
        let ones = Tensor::ones([3], (Kind::Float, Device::Cpu));
        assert_eq!(tensors["bn1.running_var"], ones, "{name}");
    }
    let counter = &read(&file("zip.pth")).unwrap().tensors["bn1.num_batches_tracked"];
    assert_eq!((counter.kind(), counter.size().len()), (Kind::Int64, 0));
}

#[test]
fn nothing_is_executed() {
    // The call gives a value that is of no use; the tensor beside it is read.
    let tensors = read(&file("evil.pth")).unwrap().tensors;
    assert_eq!(tensors.len(), 1);
    assert_eq!(tensors["fc.bias"], count_up(&[2]));
}

#[track_caller]
fn says(bytes: &[u8], text: &str) {
    let error = format!("{:#}", read(bytes).unwrap_err());
    assert!(error.contains(text), "{error}\n(expected: {text})");
}

#[test]
fn what_can_not_be_read_is_said() {
    says(
        &file("network.pth"),
        "it holds a `torch.nn.modules.container.Sequential`, not a state dict; save that: torch.save(net.state_dict()",
    );
    let whole = file("zip.pth");
    says(&whole[..whole.len() / 2], "it is not a whole archive");
    let older = file("older.pth");
    says(&older[..older.len() - 1], "it is truncated at the storage");
    says(&older[..100], "truncated");
    says(&older[..MAGIC.len()], "truncated");
    says(b"PK\x03\x04", "it is not a whole archive");
    let pickle = |code: &[u8]| [MAGIC, b"\x80\x02M\xe9\x03.", b"\x80\x02}.", code].concat();
    says(&pickle(b"\x80\x02\x98."), "the instruction 0x98");
    says(&pickle(b"\x80\x02t."), "a mark is missing");
    says(&pickle(b"\x80\x02h\x07."), "a value is missing");
    says(&pickle(b"\x80\x02X\xff\xff\xff\x7f."), "truncated");
    says(
        &pickle(b"\x80\x02}.\x80\x02]."),
        "it holds no tensors by name",
    );
    says(
        &pickle(b"\x80\x02K\x01.\x80\x02]."),
        "it holds a number, not a state dict",
    );
    says(
        &pickle(b"\x80\x02}(X\x01\0\0\0aK\x01X\x05\0\0\0modelcm\nNet\n)\x81u.\x80\x02]."),
        "it holds no tensors by name, but `a` (a number), `model` (a `m.Net`); a state dict does",
    );
    // A part of another storage, as PyTorch 0.3 wrote it.
    says(
        &pickle(
            b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x08(X\x01\0\0\x001K\x00K\x04ttQ.",
        ),
        "a storage is a part of another one, as PyTorch before 0.4 wrote it",
    );
}

/// Zip archives that others write.
#[test]
fn an_archive_of_something_else_is_named() {
    let archive = |names: &[&str]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for name in names {
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(*name, options).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    says(
        &archive(&["a.npy", "b.npy"]),
        "it is an archive of NumPy's arrays (.npz); save them as tensors: torch.save({name: ",
    );
    says(
        &archive(&["config.json", "model.weights.h5"]),
        "torch.save did not write: it has no data.pkl, but config.json, model.weights.h5",
    );
}

/// A dict that is its own `model`.
#[test]
fn a_dict_within_itself_ends() {
    let pickle = [
        MAGIC,
        b"\x80\x02M\xe9\x03.\x80\x02}.",
        b"\x80\x02}q\0X\x05\0\0\0modelh\0s.\x80\x02].",
    ];
    says(
        &pickle.concat(),
        "it holds no tensors by name, but `model` (a dict)",
    );
}

#[test]
fn the_later_protocols_instructions_are_known() {
    // Sets, bytes, long numbers, lists and dicts of marks, copies, calls by name: all of them, and then a state dict.
    let rest =
        b"\x8f(K\x01\x90(K\x01\x91C\x01xB\x01\0\0\0x\x8e\x01\0\0\0\0\0\0\0x\x96\x01\0\0\0\0\0\0\0x\
        \x8b\x01\0\0\0\x05\x8d\x01\0\0\0\0\0\0\0x(K\x01l2(K\x01K\x02d(K\x011cm\nX\n)}\x92";
    let code = [
        MAGIC,
        b"\x80\x02M\xe9\x03.\x80\x02}.",
        b"\x80\x05",
        rest,
        b"}.\x80\x02].",
    ];
    says(&code.concat(), "it holds no tensors by name;");
}

/// A pickle that doubles a tuple a million times, and one that nests a million lists: neither costs much.
#[test]
fn deep_and_doubling_pickles_are_harmless() {
    let around =
        |code: Vec<u8>| [MAGIC, b"\x80\x02M\xe9\x03.\x80\x02}.", &code, b"\x80\x02]."].concat();
    let mut doubling = b")q\x01".to_vec();
    for _ in 0..1_000_000 {
        doubling.extend(b"h\x01\x86q\x01");
    }
    doubling.push(b'.');
    says(&around(doubling), "it holds a list");
    let mut deep = b"]".repeat(1_000_000);
    deep.extend(b"a".repeat(999_999));
    deep.push(b'.');
    says(&around(deep), "it holds a list");
}

#[test]
fn no_byte_makes_it_panic() {
    for name in ["zip.pth", "older.pth", "../wrapped/protocol4.pth"] {
        let whole = file(name);
        for at in 0..whole.len() {
            for value in [0, 0xff, whole[at].wrapping_add(1)] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Ok(Saved { tensors, .. }) = read(&bytes) {
                    let elements: usize = tensors.values().map(Tensor::numel).sum();
                    assert!(elements <= whole.len());
                }
            }
        }
    }
}

/// The archive is written anew around the damage, with right checksums, so that the pickle's own parser sees it.
#[test]
fn no_byte_of_an_archives_pickle_makes_it_panic() {
    let whole = file("zip.pth");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&whole)).unwrap();
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut member, &mut content).unwrap();
        let name = member.name().unwrap().to_string();
        members.push((name, content));
    }
    let around = |members: &[(String, Vec<u8>)]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        for (name, content) in members {
            writer.start_file(name.as_str(), options).unwrap();
            std::io::Write::write_all(&mut writer, content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    let good = read(&around(&members)).unwrap();
    assert_eq!(good.tensors.len(), read(&whole).unwrap().tensors.len());
    let named = |(name, _): &(String, Vec<u8>)| name.ends_with("data.pkl");
    let pickle = members.iter().position(named).unwrap();
    let mut refused = 0;
    for at in 0..members[pickle].1.len() {
        for value in [0, 0xff, members[pickle].1[at].wrapping_add(1)] {
            let mut members = members.clone();
            members[pickle].1[at] = value;
            match read(&around(&members)) {
                Ok(Saved { tensors, .. }) => {
                    let elements: usize = tensors.values().map(Tensor::numel).sum();
                    assert!(elements <= whole.len());
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
