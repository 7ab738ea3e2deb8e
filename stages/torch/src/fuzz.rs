//! Any bytes in the place of checkpoints: the body of a fuzz target (`fuzz/`), which the tests run for a moment too.

use crate::pickle;

/// A file that PyTorch saved, in either form. Nothing panics, and nothing in it is executed.
pub fn checkpoint(bytes: &[u8]) {
    let _ = pickle::is_checkpoint(bytes);
    if let Ok(saved) = pickle::read(bytes) {
        assert!(!saved.tensors.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            checkpoint(&bytes);
        }

        #[test]
        fn bytes_that_were_good(edits: [(Index, u8); 3], count in 1..4usize, cut: Option<Index>) {
            for name in ["zip.pth", "older.pth"] {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/checkpoint");
                let mut bytes = std::fs::read(folder.join(name)).unwrap();
                for (at, value) in &edits[..count] {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
                bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
                checkpoint(&bytes);
            }
        }
    }
}
