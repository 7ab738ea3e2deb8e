//! Any bytes in the place of the store's files: bodies of fuzz targets (`fuzz/`), which the tests run for a moment too.

use crate::Digest;
use crate::envelope::{unwrap_json, wrap_json};
use crate::record::Record;
use crate::tree::Tree;

/// A record. Nothing panics, and what is accepted is found again in what is written of it.
pub fn record(bytes: &[u8]) {
    accepted(bytes);
    // Random bytes never have their digest in front.
    let digest = Digest::of_bytes(bytes);
    let head = format!("{{\"blake3\":\"{digest}\",\"content\":");
    accepted(&[head.as_bytes(), bytes, b"}\n"].concat());
}

fn accepted(file: &[u8]) {
    if let Ok(record) = unwrap_json::<Record>(file) {
        let written = wrap_json(&record).expect("a record is JSON");
        let again: Record = unwrap_json(&written).expect("what was written is read");
        assert_eq!((again.key, again.outputs), (record.key, record.outputs));
    }
}

/// The blob of a folder. Nothing panics, and what is accepted is found again in what is written of it.
pub fn tree(bytes: &[u8]) {
    if let Ok(tree) = Tree::from_bytes(bytes) {
        assert_eq!(Tree::from_bytes(&tree.to_bytes()), Ok(tree));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::{Map, json};

    use super::*;
    use crate::tree::Entry;
    use crate::{Key, Output};

    fn good() -> Vec<u8> {
        let digest = Digest::of_bytes(b"x");
        let output = Output {
            digest,
            size: 1,
            folder: false,
            artifact: "file".into(),
            executable: true,
        };
        let record = Record {
            key: Key(digest),
            manifest: json!({"a": [1, 2.5, null, "é"]}),
            outputs: BTreeMap::from([("out".into(), output)]),
            provenance: json!({}),
            metrics: Map::new(),
            seconds: 0.25,
            finished: "2026-01-01T00:00:00Z".into(),
        };
        serde_json::to_vec(&record).unwrap()
    }

    fn folder() -> Vec<u8> {
        let digest = Digest::of_bytes(b"x");
        let file = |name: &str| {
            let executable = name == "a";
            let size = 1;
            (
                name.to_string(),
                Entry::File {
                    digest,
                    size,
                    executable,
                },
            )
        };
        let empty = ("c".to_string(), Entry::EmptyFolder);
        Tree::new([file("a"), file("b/d"), empty]).to_bytes()
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            record(&bytes);
            tree(&bytes);
        }

        #[test]
        fn bytes_that_were_good(edits: Vec<(Index, u8)>, cut: Option<Index>) {
            for (mut bytes, body) in [(good(), record as fn(&[u8])), (folder(), tree)] {
                for (at, value) in edits.iter().take(4) {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
                bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
                body(&bytes);
            }
        }
    }

    #[test]
    fn what_is_good_is_accepted() {
        let whole = wrap_json(&serde_json::from_slice::<Record>(&good()).unwrap()).unwrap();
        assert!(unwrap_json::<Record>(&whole).is_ok());
        assert!(Tree::from_bytes(&folder()).is_ok());
    }
}
