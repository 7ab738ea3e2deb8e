//! What a script's first line says of who runs it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::process::launch::found;

/// More than the kernel reads of a first line.
const LONGEST: u64 = 512;

/// The Python that runs this file: a path where it is found, else as it is called. `None` where the file is no script, or
/// one for something else.
pub(super) fn python(program: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    let file = File::open(program).ok()?;
    file.take(LONGEST).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n');
    let line = String::from_utf8_lossy(line.into_iter().next()?).into_owned();
    let mut words = line.split_whitespace();
    let mut name = words.next()?;
    if is_called(name, |called| called == "env") {
        // `env -S NAME=value python3 -u`: what is neither an option nor a variable.
        name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    let is_python = is_called(name, |called| {
        called.starts_with("python") || called.starts_with("pypy")
    });
    is_python.then(|| found(name))
}

fn is_called(program: &str, test: impl Fn(&str) -> bool) -> bool {
    let name = Path::new(program).file_name();
    name.and_then(|name| name.to_str()).is_some_and(test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_python_or_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        let of = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            python(&path)
        };
        let found = |text: &str| of(text.as_bytes()).map(|path| path.display().to_string());
        for line in [
            "#!/usr/bin/env python3\n",
            "#! /usr/bin/env -S A=1 python3 -u\n",
            "#!/usr/bin/env\tpython3",
        ] {
            let python = found(line).unwrap();
            assert!(
                python.starts_with('/') && python.ends_with("/python3"),
                "{python}"
            );
        }
        assert_eq!(
            found("#!/a/b/python3.11 -I\nimport x"),
            Some("/a/b/python3.11".into())
        );
        assert_eq!(found("#!/usr/bin/env pypy9.9\n"), Some("pypy9.9".into()));
        for text in [
            "",
            "#!",
            "#!\n",
            "#!/bin/sh\npython3",
            "#!/usr/bin/env\n",
            "python3",
        ] {
            assert_eq!(found(text), None, "{text:?}");
        }
        assert_eq!(of(b"\x7fELF\xff\xff"), None);
        assert_eq!(of(b"#!\xff\xfe\n"), None);
        assert_eq!(python(&folder.path().join("absent")), None);
    }
}
