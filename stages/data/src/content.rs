//! What images have to be, however they are packed and in whatever order their rows stand.

use anyhow::{Result, bail, ensure};
use flow_stage::dataset::Split;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What a workflow expects of the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Expected {
    /// `blake3:…`, the digest of all rows in whatever order, as the stage's log has it.
    Digest(String),
    /// The sums of all red, green and blue values, where a publisher's means are all that is known.
    Sums(Sums),
}

/// Sums of the red, green and blue values. Every class then has to have the same number of images too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Of the train images.
    train: [u64; 3],
    /// Of the test images.
    test: [u64; 3],
}

/// Images as a format's reader found them.
pub struct Images<'a> {
    /// `[n, 3, height, width]`.
    pub pixels: &'a [u8],
    /// One list `[n]` for each kind of label; the last is the finest.
    pub labels: &'a [Vec<i32>],
    /// The part of each row.
    pub split: &'a [Split],
    /// The names of the classes that the files have, a list for each kind of label.
    pub names: &'a [Vec<String>],
}

impl Images<'_> {
    /// The digest of names, labels, splits and pixels, which the order of the rows does not change: that of the class names and
    /// of the sorted digests of the rows.
    pub fn digest(&self) -> String {
        let mut rows: Vec<[u8; 32]> = (self.pixels)
            .par_chunks_exact(self.size())
            .enumerate()
            .map(|(row, pixels)| {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&[self.split[row] as u8]);
                for labels in self.labels {
                    hasher.update(&labels[row].to_le_bytes());
                }
                *hasher.update(pixels).finalize().as_bytes()
            })
            .collect();
        rows.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for names in self.names {
            hasher.update(&(names.len() as u64).to_le_bytes());
            for name in names {
                hasher.update(&(name.len() as u64).to_le_bytes());
                hasher.update(name.as_bytes());
            }
        }
        hasher.update(rows.as_flattened());
        format!("blake3:{}", hasher.finalize().to_hex())
    }

    /// The bytes of an image.
    fn size(&self) -> usize {
        (self.pixels.len() / self.split.len().max(1)).max(1)
    }

    fn sums(&self, part: Split) -> [u64; 3] {
        let mut sums = [0; 3];
        let rows = self.pixels.chunks_exact(self.size()).zip(self.split);
        for (pixels, _) in rows.filter(|(_, split)| **split == part) {
            let channels = pixels.chunks_exact(pixels.len() / 3);
            for (sum, channel) in sums.iter_mut().zip(channels) {
                *sum += channel.iter().map(|&value| u64::from(value)).sum::<u64>();
            }
        }
        sums
    }

    /// How many rows of a part each class has.
    fn counts(&self, part: Split) -> Vec<usize> {
        let labels = self.labels.last().map_or(&[][..], Vec::as_slice);
        let classes = labels.iter().max().map_or(0, |&most| most as usize + 1);
        let mut counts = vec![0; classes];
        for (&label, _) in labels.iter().zip(self.split).filter(|(_, s)| **s == part) {
            counts[label as usize] += 1;
        }
        counts
    }
}

impl Expected {
    /// Checks images; `digest` is theirs.
    ///
    /// # Errors
    /// Where they are others. The error says in what, but neither where they come from nor what helps.
    pub fn check(&self, images: &Images, digest: &str) -> Result<()> {
        match self {
            Expected::Digest(expected) => {
                let expected = Digest::parse(expected)?.to_string();
                ensure!(
                    expected.starts_with("blake3:"),
                    "`content` is {expected}, and the digest of images in whatever order is a blake3:…"
                );
                ensure!(
                    digest == expected,
                    "the digest of the images, whatever their order, is {digest} in place of {expected}"
                );
            }
            Expected::Sums(expected) => {
                let parts = [
                    ("train", Split::Train, expected.train),
                    ("test", Split::Test, expected.test),
                ];
                for (name, part, expected) in parts {
                    let found = images.sums(part);
                    ensure!(
                        found == expected,
                        "red, green and blue of the {name} images add up to {found:?} in place of {expected:?}"
                    );
                    let counts = images.counts(part);
                    if let Some(class) = counts.iter().position(|count| *count != counts[0]) {
                        bail!(
                            "class {class} has {} {name} images, and class 0 has {}",
                            counts[class],
                            counts[0]
                        );
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Six images of 2x2 in two classes, in an order.
    struct Rows {
        pixels: Vec<u8>,
        labels: Vec<Vec<i32>>,
        split: Vec<Split>,
        names: Vec<Vec<String>>,
    }

    impl Rows {
        fn new(order: &[usize]) -> Self {
            let split = |&row: &usize| if row < 4 { Split::Train } else { Split::Test };
            Rows {
                pixels: (order.iter())
                    .flat_map(|&row| (0..12).map(move |at| (row * 12 + at) as u8))
                    .collect(),
                labels: vec![order.iter().map(|row| *row as i32 % 2).collect()],
                split: order.iter().map(split).collect(),
                names: vec![vec!["a".into(), "b".into()]],
            }
        }

        fn images(&self) -> Images<'_> {
            Images {
                pixels: &self.pixels,
                labels: &self.labels,
                split: &self.split,
                names: &self.names,
            }
        }

        fn says(&self, expected: &Expected) -> String {
            let images = self.images();
            match expected.check(&images, &images.digest()) {
                Ok(()) => String::new(),
                Err(error) => format!("{error:#}"),
            }
        }
    }

    /// Of [`Rows`]: channel c of row r is 12 r + 4 c and the three numbers after it.
    fn sums() -> Expected {
        Expected::Sums(Sums {
            train: [312, 376, 440],
            test: [444, 476, 508],
        })
    }

    #[test]
    fn the_digest_is_that_of_its_definition() {
        let rows = Rows::new(&[0, 1, 2, 3, 4, 5]);
        let mut of_rows: Vec<[u8; 32]> = (0..6u8)
            .map(|row| {
                let mut bytes = vec![if row < 4 { 0 } else { 2 }, row % 2, 0, 0, 0];
                bytes.extend(row * 12..row * 12 + 12);
                *blake3::hash(&bytes).as_bytes()
            })
            .collect();
        of_rows.sort();
        let names = b"\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0a\x01\0\0\0\0\0\0\0b";
        let all = blake3::hash(&[names, of_rows.as_flattened()].concat());
        assert_eq!(rows.images().digest(), format!("blake3:{}", all.to_hex()));
    }

    proptest! {
        #[test]
        fn no_order_of_the_rows_changes_what_holds(order in Just((0..6).collect::<Vec<_>>()).prop_shuffle()) {
            let (first, other) = (Rows::new(&[0, 1, 2, 3, 4, 5]), Rows::new(&order));
            prop_assert_eq!(first.images().digest(), other.images().digest());
            prop_assert_eq!(other.says(&sums()), "");
            prop_assert_eq!(other.says(&Expected::Digest(first.images().digest())), "");
        }

        #[test]
        fn another_value_anywhere_is_found(at in 0..72usize, value: u8, row in 0..6usize) {
            let whole = Rows::new(&[0, 1, 2, 3, 4, 5]);
            let digest = Expected::Digest(whole.images().digest());
            let mut other = Rows::new(&[0, 1, 2, 3, 4, 5]);
            prop_assume!(other.pixels[at] != value);
            other.pixels[at] = value;
            prop_assert!(other.says(&digest).contains("the digest of the images, whatever their order, is blake3:"));
            prop_assert!(other.says(&sums()).contains("add up to ["));
            let mut other = Rows::new(&[0, 1, 2, 3, 4, 5]);
            other.labels[0][row] ^= 1;
            prop_assert!(other.says(&digest).contains("in place of blake3:"));
            prop_assert!(other.says(&sums()).contains(" images, and class 0 has "));
        }
    }

    #[test]
    fn another_split_and_another_name_are_found() {
        let whole = Rows::new(&[0, 1, 2, 3, 4, 5]);
        let digest = Expected::Digest(whole.images().digest());
        let mut other = Rows::new(&[0, 1, 2, 3, 4, 5]);
        other.split.swap(3, 4);
        assert!(other.says(&digest).contains("in place of blake3:"));
        assert!(
            other
                .says(&sums())
                .contains("of the train images add up to ")
        );
        let mut other = Rows::new(&[0, 1, 2, 3, 4, 5]);
        other.names[0][1] = "c".into();
        assert!(other.says(&digest).contains("in place of blake3:"));
    }

    #[test]
    fn what_can_be_no_digest_of_rows_is_said() {
        let rows = Rows::new(&[0, 1, 2, 3, 4, 5]);
        let says = |text: &str| rows.says(&Expected::Digest(text.into()));
        assert!(says("blake3:1").contains("has to have 64 hexadecimal digits"));
        let md5 = "md5:900150983cd24fb0d6963f7d28e17f72";
        assert!(says(md5).contains("the digest of images in whatever order is a blake3:…"));
    }
}
