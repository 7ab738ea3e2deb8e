//! JSON in an envelope with its own digest: `{"blake3":"…","content":…}` and a line break.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const HEAD: &str = "{\"blake3\":\"";
const MIDDLE: &str = "\",\"content\":";
const TAIL: &str = "}\n";

/// JSON in an envelope with its own digest, so that a flipped bit anywhere is seen: `{"blake3":"…","content":…}\n`.
pub(crate) fn wrap_json<T: Serialize>(content: &T) -> serde_json::Result<Vec<u8>> {
    let content = serde_json::to_string(content)?;
    let digest = Digest::of_bytes(content.as_bytes());
    Ok(format!("{HEAD}{digest}{MIDDLE}{content}{TAIL}").into_bytes())
}

/// What [`wrap_json`] wrapped; `Err` says in a clause how it is damaged.
pub(crate) fn unwrap_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let torn = || "is torn".to_owned();
    let rest = bytes.strip_prefix(HEAD.as_bytes()).ok_or_else(torn)?;
    let (digest, rest) = rest.split_at_checked(64).ok_or_else(torn)?;
    let content = rest
        .strip_prefix(MIDDLE.as_bytes())
        .and_then(|r| r.strip_suffix(TAIL.as_bytes()))
        .ok_or_else(torn)?;
    if Digest::of_bytes(content).to_string().as_bytes() != digest {
        return Err("does not have the digest that it states".to_owned());
    }
    serde_json::from_slice(content).map_err(|e| format!("can't be understood: {e}"))
}
