//! Blake3 digests, and action keys made of them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::str::FromStr;

use rustix::fs::Advice;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// Files of at least this many bytes are hashed by all threads.
pub(crate) const LARGE: u64 = 1 << 20;

/// How much of a large file is read at a time.
const CHUNK: usize = 1 << 20;

/// How far ahead of that the disk is asked to read.
const AHEAD: u64 = 16 << 20;

/// A blake3 digest. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a byte string.
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The digest with these 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of what is left to read of a file.
    ///
    /// A large one is read in chunks by one thread while the others hash. A memory map takes fewer cycles (1 GB in the page
    /// cache: 0.21 CPU seconds in place of 0.27), but a file cut short meanwhile would end the process (SIGBUS). With chunks of
    /// 4 MiB, which no core's cache holds, it is 0.33.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn of_file(file: &File) -> io::Result<Digest> {
        Digest::of_file_heard(file, &mut |_| ())
    }

    /// The same, and tells `heard` of each piece how many bytes it has.
    pub(crate) fn of_file_heard(mut file: &File, heard: &mut dyn FnMut(u64)) -> io::Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        let whole = file;
        let length = file.metadata()?.len();
        if length < LARGE {
            hasher.update_reader(file)?;
            heard(length);
        } else {
            let (mut hashing, mut reading) = (vec![0; CHUNK], vec![0; CHUNK]);
            let mut length = fill(&mut file, &mut hashing)?;
            let mut done = 0;
            while length > 0 {
                done += length as u64;
                let (next, ()) = rayon::join(
                    || {
                        // The disk works on what comes later while this thread copies; a hint, so it may fail.
                        let _ = rustix::fs::fadvise(
                            whole,
                            done + AHEAD,
                            NonZeroU64::new(CHUNK as u64),
                            Advice::WillNeed,
                        );
                        fill(&mut file, &mut reading)
                    },
                    || {
                        hasher.update_rayon(&hashing[..length]);
                    },
                );
                heard(length as u64);
                length = next?;
                std::mem::swap(&mut hashing, &mut reading);
            }
        }
        Ok(Digest(*hasher.finalize().as_bytes()))
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}

impl Digest {
    /// As 64 lower-case hex digits, without an allocation.
    pub(crate) fn to_hex(self) -> impl std::ops::Deref<Target = str> {
        blake3::Hash::from_bytes(self.0).to_hex()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest, Error> {
        parse_hex(text.as_bytes())
            .map(Digest)
            .ok_or_else(|| Error::NotADigest(text.to_owned()))
    }
}

/// Upper case is refused, so that one digest has one spelling and one file name. (Ours because `blake3::Hash::from_hex`
/// takes 350 ns, most of the time to load a memo.)
fn parse_hex(text: &[u8]) -> Option<[u8; 32]> {
    let nibble = |c: u8| match c {
        b'0'..=b'9' => c - b'0',
        b'a'..=b'f' => c - b'a' + 10,
        _ => u8::MAX,
    };
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut bytes = [0; 32];
    let mut wrong = 0;
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (nibble(pair[0]), nibble(pair[1]));
        wrong |= (high | low) & 0xf0;
        *byte = high << 4 | low & 0xf;
    }
    (wrong == 0).then_some(bytes)
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        struct Hex;
        impl serde::de::Visitor<'_> for Hex {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 lower-case hex digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Hex)
    }
}

/// The key of an action: a digest of everything that decides its result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Digest);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Key, Error> {
        text.parse().map(Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the blake3 project's test_vectors.json: input lengths 0 and 1.
    #[test]
    fn is_blake3() {
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of_bytes(b"").to_string(), empty);
        let zero = "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213";
        assert_eq!(Digest::of_bytes(&[0]).to_string(), zero);
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let digest = Digest::of_bytes(b"x");
        let text = digest.to_string();
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        assert_eq!(
            serde_json::to_string(&Key(digest)).unwrap(),
            format!("\"{text}\"")
        );
        assert_eq!(
            serde_json::from_str::<Key>(&format!("\"{text}\"")).unwrap(),
            Key(digest)
        );
        let upper = text.to_uppercase();
        for wrong in [
            "",
            &text[1..],
            &format!("{text}0"),
            &upper,
            &text.replacen(&text[5..6], "g", 1),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    /// Below and above the limits of the chunked reader, at odd sizes.
    #[test]
    fn hashes_files_of_any_size() {
        for size in [
            0,
            1,
            LARGE as usize - 1,
            LARGE as usize,
            CHUNK,
            CHUNK + 1,
            2 * CHUNK + 12_345,
        ] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            let digest = Digest::of_file(&File::open(file.path()).unwrap()).unwrap();
            assert_eq!(digest, Digest::of_bytes(&bytes), "{size} bytes");
        }
    }
}
