//! Any bytes in the place of data sets: bodies of fuzz targets (`fuzz/`), which the tests run for a moment too.

use std::io::Read;
use std::path::Path;

use crate::npy::Header;
use crate::npz::Arrays;
use crate::pickle::Pickle;
use crate::unpack::{Packing, Size};
use crate::{idx, unpack};

/// An IDX file, packed or not. Nothing panics, and there is an element for each place of the shape.
pub fn idx(bytes: &[u8]) {
    as_file(bytes, |path| {
        if let Ok((shape, content)) = idx::read_file(path, 3) {
            let elements: u64 = shape.iter().map(|&n| u64::from(n)).product();
            assert_eq!(elements, content.len() as u64);
        }
    });
}

/// A `.tar`, `.tar.gz` or `.zip` archive. Nothing panics, and members have the sizes that were asked for.
pub fn archive(bytes: &[u8]) {
    let packing = Packing {
        folder: "sub",
        files: vec![("a.bin", Size::Exactly(6)), ("names.txt", Size::AtMost(64))],
    };
    as_file(bytes, |path| {
        if let Ok((_, found)) = unpack::members(path, &[packing]) {
            assert_eq!(found["a.bin"].len(), 6);
            assert!(found["names.txt"].len() <= 64);
        }
    });
}

/// A `.npz` file: its members' headers. Nothing panics.
pub fn npz(bytes: &[u8]) {
    as_file(bytes, |path| {
        let Ok(mut arrays) = Arrays::open(path) else {
            return;
        };
        for member in arrays.members().to_vec() {
            if let Ok(content) = arrays.member(&member)
                && let Ok(header) = Header::read(content.take(1 << 20), &member)
            {
                let _ = header.content(1, &member);
            }
        }
    });
}

/// A Python pickle, as CIFAR is published. Nothing panics.
pub fn pickle(bytes: &[u8]) {
    if let Ok(batch) = Pickle::read(bytes) {
        let _ = (
            batch.array("data"),
            batch.integers("fine_labels"),
            batch.texts("filenames"),
        );
    }
}

fn as_file(bytes: &[u8], look: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join("x");
    std::fs::write(&path, bytes).expect("a temporary file can be written");
    look(&path);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    fn images() -> Vec<u8> {
        let mut file = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];
        file.extend(0..12);
        file
    }

    fn tar() -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in [("sub/a.bin", &b"123456"[..]), ("sub/names.txt", b"x\n")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn zip() -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for (name, content) in [("sub/a.bin", &b"123456"[..]), ("sub/names.txt", b"x\n")] {
            archive.start_file(name, options).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn fixture(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        fs::read(folder.join(name)).unwrap()
    }

    type Body = fn(&[u8]);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            for body in [idx as Body, archive, npz, pickle] {
                body(&bytes);
                body(&gz(&bytes));
            }
        }

        /// A few bytes of a good file are other ones; in a packed file they are so below the right checksum.
        #[test]
        fn bytes_that_were_good(edits: [(Index, u8); 3], count in 1..4usize, cut: Option<Index>) {
            let cifar = fixture("cifar-pickled-2/test");
            let files: [(Vec<u8>, Body, bool); 7] = [
                (images(), idx, false),
                (images(), idx, true),
                (tar(), archive, false),
                (tar(), archive, true),
                (zip(), archive, false),
                (fixture("vectors.npz"), npz, false),
                (cifar, pickle, false),
            ];
            for (mut bytes, body, packed) in files {
                for (at, value) in &edits[..count] {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
                bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
                body(&if packed { gz(&bytes) } else { bytes });
            }
        }
    }
}
