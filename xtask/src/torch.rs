//! The tests of networks as on a processor with AVX2 and no AVX-512, where libtorch and oneDNN use other code.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The crate whose tests they are.
const CRATE: &str = "flow-stages-torch";
/// glibc's checks of each block of memory that is freed.
const MALLOC_CHECK: &str = "libc_malloc_debug.so.0";

/// Runs the built tests of [`CRATE`] once more: with AVX2 alone, where this processor has more, and with glibc's checks of
/// the heap, where they are installed, so that code which writes past its memory fails here.
///
/// # Errors
/// Where one of them fails.
pub fn test_as_if_without_avx512() -> Result<()> {
    let preload = (Path::new("/lib/x86_64-linux-gnu").join(MALLOC_CHECK))
        .exists()
        .then_some(MALLOC_CHECK);
    for executable in executables()? {
        let mut command = Command::new(&executable);
        command
            .env("ONEDNN_MAX_CPU_ISA", "AVX2")
            .env("ATEN_CPU_CAPABILITY", "avx2");
        if let Some(preload) = preload {
            command
                .env("LD_PRELOAD", preload)
                .env("GLIBC_TUNABLES", "glibc.malloc.check=3");
        }
        crate::step("test networks with AVX2 alone", command)?;
    }
    Ok(())
}

/// The test executables of [`CRATE`], as `cargo test --workspace` has built them: a build of that crate alone would choose
/// other features of what it depends on.
fn executables() -> Result<Vec<PathBuf>> {
    let output = crate::cargo()
        .args(["test", "--workspace", "--no-run", "--quiet"])
        .args(["--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo can't be started")?;
    ensure!(output.status.success(), "the tests can't be built");
    let mut found = Vec::new();
    for line in output.stdout.split(|&byte| byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            continue;
        };
        let ours = message["package_id"]
            .as_str()
            .is_some_and(|id| id.contains(CRATE) || id.contains("stages/torch#"));
        if ours
            && message["profile"]["test"] == true
            && let Some(path) = message["executable"].as_str()
        {
            found.push(PathBuf::from(path));
        }
    }
    if found.is_empty() {
        bail!("cargo has built no test of {CRATE}");
    }
    Ok(found)
}
