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
/// is given: as `digest`, or at the end of a URL (`https://…/x.tar.gz#sha256=…`), so that both are replaced at once.
///
/// # Errors
/// Where nothing is there, a URL comes without a digest, or the digest is another one.
pub fn local(context: &Context, source: &str, digest: Option<&str>) -> Result<PathBuf> {
    let digest = digest.map(Digest::parse).transpose()?;
    if is_url(source) {
        let (url, of_url) = split_url(source)?;
        let digest = match (digest, of_url) {
            (None, Some(digest)) | (Some(digest), None) => digest,
            (Some(_), Some(_)) => bail!(
                "{url} has a digest at its end, and `digest` is another place for it; leave one out"
            ),
            (None, None) => bail!(
                "{url} is a URL and has no digest; write it at the end, {url}#sha256=…, so that everyone who runs this \
                 gets the same bytes"
            ),
        };
        ensure!(
            url.starts_with("https://") || url.starts_with("http://"),
            "{url} can't be downloaded; a source is a path or an https:// or http:// URL"
        );
        return download::get(context, url, &digest, MOST);
    }
    let path = PathBuf::from(source);
    ensure!(path.exists(), "{source} is not there; correct `source`");
    if let Some(digest) = digest {
        ensure!(
            !path.is_dir(),
            "{source} is a folder, and `digest` is that of one file; leave `digest` out. A workflow that names a URL too \
             has the digest at the URL's end, https://…#sha256=…: then another `source` replaces both"
        );
        digest.check(&path, source, MOST)?;
    }
    Ok(path)
}

/// A URL, and the digest that stands behind its `#`.
fn split_url(source: &str) -> Result<(&str, Option<Digest>)> {
    let Some((url, end)) = source.split_once('#') else {
        return Ok((source, None));
    };
    let Some((algorithm, hex)) = end.split_once('=') else {
        bail!(
            "{source} ends with #{end}, which is no digest; write #sha256=…, #blake3=… or #md5=… of the file"
        );
    };
    Ok((url, Some(Digest::parse(&format!("{algorithm}:{hex}"))?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, context, sha256};

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
        says(
            "https://h/x",
            None,
            "has no digest; write it at the end, https://h/x#sha256=…",
        );
        says(
            "https://h/x#part",
            None,
            "ends with #part, which is no digest",
        );
        says("https://h/x#crc=1", None, "\"crc:1\" is not understood");
        says("https://h/x#sha256=1", None, "has to have 64");
        let end = format!("https://h/x#{}", right.replace(':', "="));
        says(&end, Some(&right), "leave one out");
        says("ftp://h/x", Some(&right), "https:// or http:// URL");
        says(
            folder.path().to_str().unwrap(),
            Some(&right),
            "is a folder, and `digest` is that of one file",
        );
    }

    #[test]
    fn the_digest_at_the_end_of_a_url_is_checked_and_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path(), serde_json::json!({}), 42);
        let server = Server::start(vec![("/x.bin?a=1", b"abc".to_vec())]);
        let of = |bytes| server.url(&format!("x.bin?a=1#{}", sha256(bytes).replace(':', "=")));
        let path = local(&context, &of(b"abc"), None).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"abc");
        let error = local(&context, &of(b"x"), None).unwrap_err();
        assert!(error.to_string().contains("has the digest"), "{error}");
    }
}
