//! Downloading a file to the work folder.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::Context;

use crate::digest::Digest;

const MB: u64 = 1_000_000;

/// Downloads `url`, at most `most` bytes, into the work folder, checks its digest, and returns its path.
///
/// # Errors
/// Where the server can't be reached, answers with an error, is silent for a minute, or sends other bytes than those
/// that `digest` names. Then nothing remains.
pub fn get(context: &Context, url: &str, digest: &Digest, most: u64) -> Result<PathBuf> {
    let folder = context.work();
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let path = folder.join(file_name(url));
    let result = receive(context, url, most, &path).and_then(|()| digest.check(&path, url, most));
    if let Err(error) = result {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(path)
}

fn receive(context: &Context, url: &str, most: u64, path: &Path) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("flow/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let failed = || {
        format!(
            "{url} can't be downloaded; check the URL and the network, or name a local copy as `source`"
        )
    };
    let response = agent.get(url).call().with_context(failed)?;
    let total = response.body().content_length();
    if let Some(total) = total {
        ensure!(
            total <= most,
            "{url} has {total} bytes, and a file of this kind has at most {most}"
        );
    }
    let mut body = response.into_body().into_reader();
    let mut file =
        File::create(path).with_context(|| format!("{} can't be written", path.display()))?;
    let mut buffer = vec![0; 1 << 16];
    let (mut done, mut said) = (0u64, None);
    loop {
        if said != Some(done / MB) {
            said = Some(done / MB);
            context.progress_message(
                done / MB,
                total.unwrap_or(0).div_ceil(MB),
                "MB",
                "downloading",
            );
        }
        let n = body.read(&mut buffer).with_context(failed)?;
        if n == 0 {
            break;
        }
        done += n as u64;
        ensure!(
            done <= most,
            "{url} has more than {most} bytes, and a file of this kind has at most that"
        );
        file.write_all(&buffer[..n])
            .with_context(|| format!("{} can't be written", path.display()))?;
    }
    match total {
        Some(total) if done != total => {
            bail!("{url} was cut off: expected {total} bytes, received {done}; run again")
        }
        _ => Ok(()),
    }
}

/// The last part of the URL's path, reduced to what is a file name everywhere.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let name: String = last
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        .take(100)
        .collect();
    format!("download-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, context, sha256};

    fn get_from(server: &Server, digest: &str, most: u64) -> (Result<Vec<u8>>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path(), serde_json::json!({}), 42);
        let digest = Digest::parse(digest).unwrap();
        let got = get(&context, &server.url("x/data.bin?a=1"), &digest, most)
            .map(|path| fs::read(path).unwrap());
        let left = fs::read_dir(context.work()).map_or(0, Iterator::count);
        (got, left)
    }

    #[test]
    fn a_file_with_its_digest_arrives_and_nothing_else_does() {
        let content = vec![7u8; 3_000_000];
        let server = Server::start(vec![("/x/data.bin?a=1", content.clone())]);
        let right = sha256(&content);
        assert_eq!(get_from(&server, &right, 1 << 30).0.unwrap(), content);

        let wrong = sha256(b"other");
        let (got, left) = get_from(&server, &wrong, 1 << 30);
        let error = format!("{:#}", got.unwrap_err());
        assert!(error.contains("/x/data.bin?a=1 has the digest "), "{error}");
        assert!(
            error.contains(&wrong) && error.contains("was not used"),
            "{error}"
        );
        assert_eq!(left, 0);

        let (got, left) = get_from(&server, &right, 1000);
        let error = format!("{:#}", got.unwrap_err());
        assert!(error.contains("has 3000000 bytes"), "{error}");
        assert_eq!(left, 0);
    }

    #[test]
    fn a_missing_file_a_cut_connection_and_no_server_are_clear_errors() {
        let content = vec![7u8; 100_000];
        let digest = sha256(&content);
        let server = Server::start(vec![]);
        let (got, _) = get_from(&server, &digest, 1 << 30);
        let error = format!("{:#}", got.unwrap_err());
        assert!(
            error.contains("can't be downloaded") && error.contains("404"),
            "{error}"
        );

        let server = Server::start_truncating(vec![("/x/data.bin?a=1", content)]);
        let (got, left) = get_from(&server, &digest, 1 << 30);
        let error = format!("{:#}", got.unwrap_err());
        assert!(error.contains("/x/data.bin?a=1"), "{error}");
        assert_eq!(left, 0);

        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path(), serde_json::json!({}), 42);
        // Port 1 is reserved and not served.
        let error = get(
            &context,
            "http://127.0.0.1:1/x",
            &Digest::parse(&digest).unwrap(),
            10,
        );
        assert!(format!("{:#}", error.unwrap_err()).contains("can't be downloaded"));
    }

    #[test]
    fn file_names_are_harmless() {
        assert_eq!(
            file_name("https://h/a/b.tar.gz?download=1"),
            "download-b.tar.gz"
        );
        assert_eq!(file_name("https://h/.."), "download-..");
        assert_eq!(file_name("https://h/"), "download-");
    }
}
