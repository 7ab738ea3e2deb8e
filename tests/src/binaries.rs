//! Where the binaries under test are. Cargo builds only a package's own ones for its tests, so they have to be there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder of the binaries: `FLOW_TEST_BIN`, else that above the test's executable (`target/debug/deps`).
pub fn folder() -> PathBuf {
    match std::env::var_os("FLOW_TEST_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let executable = std::env::current_exe().unwrap();
            executable.ancestors().nth(2).unwrap().to_path_buf()
        }
    }
}

/// The path of a binary.
///
/// # Panics
/// Where it is not built.
pub fn find(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.is_file(),
        "{} is not built; first: cargo build --workspace (`cargo xtask test` does both)",
        path.display()
    );
    path
}

/// The plugins beside `flow`.
pub fn plugins() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("flow-stages-") && path.extension().is_none()
        })
        .collect();
    found.sort();
    found
}

/// Where calls of flow remember what plugins describe, so that not every test has to ask them.
pub fn cache_folder() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let target = executable.ancestors().nth(3).unwrap();
    let folder = target.join("tmp/flow-tests");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Fills `folder` with flow, and for each plugin a program of its name that adds a line to `starts` and becomes the
/// plugin. Gives the path of flow.
pub(crate) fn counted(folder: &Path, starts: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    let flow = folder.join("flow");
    let original = find("flow");
    // A symbolic link would not do: flow looks for plugins beside what it points to.
    fs::hard_link(&original, &flow)
        .or_else(|_| fs::copy(&original, &flow).map(|_| ()))
        .unwrap();
    for plugin in plugins() {
        let name = plugin.file_name().unwrap().to_string_lossy().into_owned();
        let wrapper = folder.join(&name);
        let text = format!(
            "#!/bin/sh\necho \"{name} $*\" >> '{}'\nexec '{}' \"$@\"\n",
            starts.display(),
            plugin.display()
        );
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    }
    flow
}
