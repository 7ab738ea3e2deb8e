//! What a file must hash to: `sha256:…` or `blake3:…`, or `md5:…` where a publisher names no other.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use md5::Md5;
use sha2::Sha256;

use crate::unpack;

/// A digest that a workflow names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Blake3,
    /// Tells damage and mix-ups; who wants to can make two files with one MD5.
    Md5,
}

impl Digest {
    /// Reads `sha256:` or `blake3:` and 64 hexadecimal digits, or `md5:` and 32.
    ///
    /// # Errors
    /// Where `text` is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let (algorithm, hex) = match text.split_once(':') {
            Some(("sha256", hex)) => (Algorithm::Sha256, hex),
            Some(("blake3", hex)) => (Algorithm::Blake3, hex),
            Some(("md5", hex)) => (Algorithm::Md5, hex),
            _ => bail!(
                "the digest \"{text}\" is not understood; write \"sha256:…\" (as `sha256sum FILE` prints it), \
                 \"blake3:…\" or \"md5:…\""
            ),
        };
        let digits = if algorithm == Algorithm::Md5 { 32 } else { 64 };
        if hex.len() != digits || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            bail!("the digest \"{text}\" has to have {digits} hexadecimal digits after the colon");
        }
        Ok(Digest {
            algorithm,
            hex: hex.to_ascii_lowercase(),
        })
    }

    /// Checks that the file at `path`, or what it unpacks to where it is a `.gz`, has this digest.
    ///
    /// The content counts too because distributions pack the same content anew: then one digest serves every copy.
    /// At most `most` bytes are unpacked. `name` is what errors call the file.
    ///
    /// # Errors
    /// Where neither has, or the file can't be read.
    pub fn check(&self, path: &Path, name: &str, most: u64) -> Result<()> {
        let found = self
            .of(unpack::open_raw(path)?)
            .with_context(|| format!("{name} can't be read"))?;
        if found == self.hex || self.is_of_content(path, most) {
            return Ok(());
        }
        bail!(
            "{name} has the digest {found}, and the workflow expects {self}: it is damaged or another file, and was not \
             used. Get it again, or correct the digest; for other data of your own leave it out"
        );
    }

    fn is_of_content(&self, path: &Path, most: u64) -> bool {
        // Where it can't be unpacked, it isn't the content that the digest names.
        unpack::open(path)
            .ok()
            .and_then(|content| self.of(content.take(most)).ok())
            .is_some_and(|found| found == self.hex)
    }

    fn of(&self, mut bytes: impl Read) -> std::io::Result<String> {
        Ok(match self.algorithm {
            Algorithm::Sha256 => hash::<Sha256>(bytes)?,
            Algorithm::Md5 => hash::<Md5>(bytes)?,
            Algorithm::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                hasher.update_reader(&mut bytes)?;
                hasher.finalize().to_hex().to_string()
            }
        })
    }
}

fn hash<H: sha2::Digest>(mut bytes: impl Read) -> std::io::Result<String> {
    let mut hasher = H::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match bytes.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let algorithm = match self.algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Blake3 => "blake3",
            Algorithm::Md5 => "md5",
        };
        write!(f, "{algorithm}:{}", self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    // Of the bytes "abc": FIPS 180-2, appendix B.1; BLAKE3 as `b3sum` prints it; RFC 1321, appendix A.5.
    const SHA256: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const BLAKE3: &str = "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";

    const MD5: &str = "md5:900150983cd24fb0d6963f7d28e17f72";

    #[test]
    fn a_file_or_its_unpacked_content_matches() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("abc");
        std::fs::write(&plain, "abc").unwrap();
        let packed = folder.path().join("abc.gz");
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(b"abc").unwrap();
        std::fs::write(&packed, gz.finish().unwrap()).unwrap();
        for text in [
            SHA256,
            BLAKE3,
            MD5,
            &SHA256.to_uppercase().replace("SHA", "sha"),
        ] {
            let digest = Digest::parse(text).unwrap();
            digest.check(&plain, "abc", 100).unwrap();
            digest.check(&packed, "abc.gz", 100).unwrap();
            let error = digest.check(&packed, "abc.gz", 2).unwrap_err().to_string();
            assert!(error.starts_with("abc.gz has the digest "), "{error}");
            assert!(error.contains(&digest.to_string()), "{error}");
        }
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in [
            "",
            "md5:00",
            &SHA256.replace("sha256", "md5"),
            "sha1:a9993e364706816aba3e25717850c26c9cd0d89d",
            &SHA256[7..],
            &SHA256[..70],
            "blake3:",
            "sha256:é",
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
