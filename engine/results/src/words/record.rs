//! How a run ended, and where an input came from.

use flow_cache::Digest;
use flow_run::record::Status;
use flow_run::record::event::RunEnd;
use flow_run::record::provenance::Source;

use super::short;

/// How many stages of a run ended how.
pub fn counts(end: &RunEnd) -> String {
    let counts = [
        (end.ran, Status::Ran.word()),
        (end.cached, Status::Cached.word()),
        (end.frozen, Status::Frozen.word()),
        (end.failed, Status::Failed.word()),
        (end.skipped, Status::Skipped.word()),
        (end.cancelled, "not run"),
        (end.undelivered, "not delivered"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    counts.join(", ")
}

/// Where an input came from.
pub fn from(source: &Source) -> String {
    let digits = |digest: &Digest| short(&digest.to_string());
    match source {
        Source::Result {
            stage,
            output,
            digest,
            ..
        } => format!(
            "{stage}.{output} {}",
            digest.as_ref().map_or(String::new(), digits)
        ),
        Source::Path { path, digest, .. } => format!("{path} {}", digits(digest)),
        Source::Unknown { digest } => format!("{}, which nothing here made", digits(digest)),
    }
}
