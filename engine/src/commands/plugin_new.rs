//! `flow plugin new`: a plugin in Python to begin with.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use crate::failure::{Failure, wrong};
use crate::view;

/// The package that it is written with, which is copied beside it.
const SDK: &[(&str, &str)] = &[
    (
        "__init__.py",
        include_str!("../../../stages/python/flow_stage/__init__.py"),
    ),
    (
        "artifacts.py",
        include_str!("../../../stages/python/flow_stage/artifacts.py"),
    ),
    (
        "callbacks.py",
        include_str!("../../../stages/python/flow_stage/callbacks.py"),
    ),
    (
        "context.py",
        include_str!("../../../stages/python/flow_stage/context.py"),
    ),
    (
        "declare.py",
        include_str!("../../../stages/python/flow_stage/declare.py"),
    ),
    (
        "hints.py",
        include_str!("../../../stages/python/flow_stage/hints.py"),
    ),
    (
        "plugin.py",
        include_str!("../../../stages/python/flow_stage/plugin.py"),
    ),
    (
        "py.typed",
        include_str!("../../../stages/python/flow_stage/py.typed"),
    ),
    (
        "ran.py",
        include_str!("../../../stages/python/flow_stage/ran.py"),
    ),
    (
        "view.py",
        include_str!("../../../stages/python/flow_stage/view.py"),
    ),
];

/// `flow plugin new`.
pub fn new(name: &str) -> Result<ExitCode, Failure> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_plain) {
        return Err(wrong(format!(
            "`{name}` can't name a plugin: write small letters, digits and `-`, a letter first"
        )));
    }
    let folder = Path::new(name);
    let package = folder.join("flow_stage");
    fs::create_dir(folder)
        .and_then(|()| fs::create_dir(&package))
        .map_err(|error| wrong(format!("the folder {name} can't be made: {error}")))?;
    let named = |text: &str| text.replace("NAME", name);
    let plugin = format!("flow-stages-{name}");
    let test = format!("test_{}.py", name.replace('-', "_"));
    write(
        &folder.join(&plugin),
        0o777,
        &named(include_str!("../templates/plugin/plugin.py")),
    )?;
    write(
        &folder.join(&test),
        0o666,
        &named(include_str!("../templates/plugin/test.py")),
    )?;
    let workflow = named(include_str!("../templates/plugin/workflow.toml"));
    write(&folder.join("workflow.toml"), 0o666, &workflow)?;
    write(
        &folder.join("example.csv"),
        0o666,
        "name,value\na,1\nb,2\nc,4.5\n",
    )?;
    for (file, text) in SDK {
        write(&package.join(file), 0o666, text)?;
    }
    view::print(&format!(
        "wrote {name}: the plugin {plugin}, its test, a workflow that uses it, and flow_stage, which it imports\n\n  \
         cd {name}\n  flow run workflow.toml\n  flow plugin test {plugin}\n  python3 -m unittest"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| wrong(format!("{} can't be written: {error}", path.display())))
}
