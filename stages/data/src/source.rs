//! Where a data set comes from: a local path, or a URL with a digest.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use flow_stage::Context;

use crate::digest::Digest;
use crate::download;

/// The most bytes that are downloaded for one file, or unpacked to check a digest.
pub const MOST: u64 = 64 << 30;

/// Whether `source` is a URL. The engine passes such a value as it was written, and every other one as a path.
pub fn is_url(source: &str) -> bool {
    source.contains("://")
}

/// The local file or folder that `source` stands for, downloaded where it is a URL; its digest is checked where one
/// is given.
///
/// # Errors
/// Where nothing is there, a URL comes without a digest, or the digest is another one.
pub fn local(context: &Context, source: &str, digest: Option<&str>) -> Result<PathBuf> {
    let digest = digest.map(Digest::parse).transpose()?;
    if is_url(source) {
        let Some(digest) = digest else {
            bail!(
                "{source} is a URL and has no digest; add `digest = \"sha256:…\"` of the file, so that everyone who \
                 runs this gets the same bytes"
            );
        };
        ensure!(
            source.starts_with("https://") || source.starts_with("http://"),
            "{source} can't be downloaded; a source is a path or an https:// or http:// URL"
        );
        return download::get(context, source, &digest, MOST);
    }
    let path = PathBuf::from(source);
    ensure!(path.exists(), "{source} is not there; correct `source`");
    if let Some(digest) = digest {
        ensure!(
            !path.is_dir(),
            "{source} is a folder, and `digest` is that of one file; leave it out"
        );
        digest.check(&path, source, MOST)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, sha256};

    #[test]
    fn paths_and_urls_are_checked_before_they_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path(), serde_json::json!({}), 42);
        let file = folder.path().join("x.bin");
        std::fs::write(&file, "abc").unwrap();
        let file = file.to_str().unwrap();
        let right = sha256(b"abc");
        assert!(local(&context, file, None).is_ok());
        assert!(local(&context, file, Some(&right)).is_ok());
        let says = |source: &str, digest: Option<&str>, text: &str| {
            let error = format!("{:#}", local(&context, source, digest).unwrap_err());
            assert!(error.contains(text), "{error}");
        };
        says(file, Some(&sha256(b"x")), "has the digest");
        says(file, Some("md5:1"), "has to have 32 hexadecimal digits");
        says(file, Some("crc:1"), "is not understood");
        says("/not/there", None, "/not/there is not there");
        says("https://h/x", None, "has no digest");
        says("ftp://h/x", Some(&right), "https:// or http:// URL");
        says(folder.path().to_str().unwrap(), Some(&right), "is a folder");
    }
}
