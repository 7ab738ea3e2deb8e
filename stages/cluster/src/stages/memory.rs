//! Whether what a stage needs fits into the machine's memory.

use std::fs;

use anyhow::{Result, ensure};
use flow_stage::Context;

/// Logs about how many bytes a stage is going to take, warns where less is available now, and refuses to begin where the
/// machine has less in all. Knows the machine's memory on Linux alone; elsewhere it only logs.
///
/// # Errors
/// Where the machine's memory is smaller than that.
pub(super) fn check(context: &Context, bytes: usize) -> Result<()> {
    context.log(format!("needs about {} MB of memory", bytes / 1_000_000));
    if let Ok(text) = fs::read_to_string("/proc/meminfo")
        && let Some(warning) = judge(bytes / 1_000_000, &text)?
    {
        context.warning(warning);
    }
    Ok(())
}

/// The warning for a stage that wants `wanted` megabytes on a machine with this `/proc/meminfo`, if it needs one.
fn judge(wanted: usize, meminfo: &str) -> Result<Option<String>> {
    if let Some(total) = megabytes(meminfo, "MemTotal:") {
        ensure!(
            wanted <= total,
            "about {wanted} MB of memory are needed, and this machine has {total} MB; leave out rows with a mask, or reduce the columns first, with pca"
        );
    }
    Ok(megabytes(meminfo, "MemAvailable:")
        .filter(|&available| wanted > available)
        .map(|available| {
            format!("about {wanted} MB of memory are needed, and {available} MB are available now")
        }))
}

/// A line of /proc/meminfo, which counts in kibibytes.
fn megabytes(meminfo: &str, name: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.split_whitespace().next()?.parse::<usize>().ok()?;
    Some(number * 1024 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_fit_is_refused_and_what_does_not_fit_now_is_told() {
        let meminfo = "MemTotal:       8000000 kB\nMemFree: 510 kB\nMemAvailable:   2000000 kB\n";
        assert_eq!(judge(2_000, meminfo).expect("it fits"), None);
        let warning = judge(3_000, meminfo)
            .expect("it may fit")
            .expect("a warning");
        assert!(warning.contains("3000 MB of memory are needed, and 2048 MB are available"));
        let error = judge(9_000, meminfo).expect_err("it can't fit").to_string();
        assert!(error.contains("9000 MB of memory are needed, and this machine has 8192 MB"));
        assert_eq!(judge(9_000, "").expect("nothing is known"), None);
    }
}
