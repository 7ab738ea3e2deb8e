//! What the names in a program's command stand for, and the command that is started.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_plan::plan::layout::{self, WORK};
use flow_plan::plan::words::{self, Words};
use flow_plan::plan::{Command, Folder, Program};

use super::{SCRIPT, StageFolder};
use crate::budget::Machine;
use crate::machine::domain::SHARE;
use crate::process::Launch;
use crate::process::environment::{For, environment};
use crate::request::Source;
use crate::site::Site;
use crate::surroundings::Surroundings;

/// What runs the lines of a command: what fails in them fails the stage, also in front of a pipe, and an unset variable is a
/// mistake.
const STRICT: [&str; 4] = ["bash", "-euo", "pipefail", "--"];

/// The process of a program: its command rendered, its environment.
///
/// # Errors
/// Where a path is not UTF-8, or the lines can't be written.
pub fn launch(site: &Site<'_>, program: &Program, folder: &StageFolder) -> Result<Launch> {
    let names = Names {
        site,
        program,
        folder,
    };
    let mut arguments: Vec<OsString> = Vec::new();
    match &program.command {
        Command::Arguments(templates) => {
            for template in templates {
                let words = words::arguments(template, |name| names.words(name))?;
                arguments.extend(words.into_iter().map(OsString::from));
            }
        }
        Command::Shell(template) => {
            let quote = |word: &str| {
                let quoted = shlex::try_quote(word).map(|quoted| quoted.into_owned());
                quoted.with_context(|| format!("{word:?} can't be quoted for the shell"))
            };
            let line = words::line(template, |name| names.words(name), quote)?;
            let script = folder.path.join(WORK).join(SCRIPT);
            fs::write(&script, line + "\n")
                .with_context(|| format!("{} can't be written", script.display()))?;
            match &program.shell {
                Some(shell) => arguments.extend(shell.iter().map(OsString::from)),
                None => arguments.extend(STRICT.map(OsString::from)),
            }
            arguments.push(match folder.project {
                Some(_) => script.into(),
                None => format!("{WORK}/{SCRIPT}").into(),
            });
        }
    }
    let mut arguments = arguments.into_iter();
    let mut launch = Launch::new(arguments.next().context("the command is empty")?);
    launch.arguments = arguments.collect();
    let mut variables = site.request.variables.clone();
    variables.set = variables.values(|name| names.text(name))?;
    let ceiling = folder.seen.parent().filter(|_| folder.project.is_none());
    let surroundings = site.request.surroundings.as_ref();
    let whose = match surroundings.is_some_and(Surroundings::is_container) {
        true => For::Container,
        false => For::Program { ceiling },
    };
    launch.environment = environment(whose, &variables, site.share.threads, &site.share.gpus);
    let work = folder.seen.join(WORK);
    launch.environment.push(("FLOW_WORK".into(), work.into()));
    if let Some(given) = site.share.given() {
        launch.environment.push((SHARE.into(), given.into()));
    }
    if let Some(instead) = site.terminal {
        launch.take_terminal(instead);
    }
    Ok(launch)
}

struct Names<'a> {
    site: &'a Site<'a>,
    program: &'a Program,
    folder: &'a StageFolder,
}

impl Names<'_> {
    fn text(&self, name: &str) -> Result<String> {
        let words = self.words(name)?;
        Ok(words.glued.unwrap_or_else(|| words.words.join(" ")))
    }

    fn words(&self, name: &str) -> Result<Words> {
        if let Some(value) = self.program.values.get(name) {
            return Ok(Words::of(value));
        }
        let request = self.site.request;
        match name {
            "work" => return Ok(Words::one(self.path(WORK, false)?)),
            "cpus" => return Ok(Words::one(self.site.share.threads.to_string())),
            "memory" => return Ok(Words::one(memory(request.resources.memory).to_string())),
            _ => {}
        }
        let (name, absolute) = match name.strip_suffix(".absolute") {
            Some(name) => (name, true),
            None => (name, false),
        };
        if let Some(name) = name.strip_prefix("inputs.") {
            return self.input(name, absolute);
        }
        let output = name
            .strip_prefix("outputs.")
            .and_then(|role| request.outputs.iter().find(|o| o.role == role))
            .with_context(|| format!("${{{name}}} is unknown"))?;
        let written = match &self.folder.project {
            Some(_) if absolute => text(&request.folder.join(&output.file))?,
            Some(_) => output.file.clone(),
            None => self.path(&output.file, absolute)?,
        };
        Ok(Words::one(written))
    }

    /// The paths of an input: `ROLE`; of a gather also `ROLE.folder`, `ROLE.list`, `ROLE.OUTPUT`, `ROLE.OUTPUT.list`.
    fn input(&self, name: &str, absolute: bool) -> Result<Words> {
        let (role, part) = name.split_once('.').unwrap_or((name, ""));
        let mut all = self.site.request.inputs.iter();
        let input = all.find(|input| input.role == role);
        let input = input.with_context(|| format!("${{inputs.{name}}} is unknown"))?;
        let folder = layout::gather_folder(role, input.place.as_deref());
        if part == "folder" {
            let made = fs::create_dir_all(self.folder.path.join(&folder));
            made.with_context(|| format!("{folder} can't be made"))?;
            return Ok(Words::one(self.path(&folder, absolute)?));
        }
        let (output, is_list) = match part.strip_suffix("list") {
            Some("") => ("", true),
            Some(output) if output.ends_with('.') => (output.trim_end_matches('.'), true),
            _ => (part, false),
        };
        let is_meant = |source: usize| match &input.source {
            _ if output.is_empty() => true,
            Source::Collected(all) => all.get(source).is_some_and(|made| made.output == output),
            _ => false,
        };
        let places = self.folder.layout.get(role).into_iter().flatten();
        let places = places.filter(|place| is_meant(place.source));
        let paths = places.map(|place| self.path(&place.path, absolute));
        let paths: Vec<String> = paths.collect::<Result<_>>()?;
        if !is_list {
            return Ok(Words::several(paths));
        }
        let form = if absolute { ".absolute" } else { "" };
        let list = format!("{WORK}/inputs.{name}{form}");
        let text: String = paths.iter().map(|path| format!("{path}\n")).collect();
        fs::write(self.folder.path.join(&list), text)
            .with_context(|| format!("{list} can't be written"))?;
        Ok(Words::one(self.path(&list, absolute)?))
    }

    /// A path in the folder, as the program is told it. One that works in the project finds nothing there by relative paths.
    fn path(&self, inside: &str, absolute: bool) -> Result<String> {
        if absolute || self.program.folder == Folder::Project {
            return text(&self.folder.seen.join(inside));
        }
        // Else a program would take it for an option.
        Ok(match inside.starts_with('-') {
            true => format!("./{inside}"),
            false => inside.to_string(),
        })
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_string);
    text.with_context(|| format!("{} is not valid UTF-8", PathBuf::from(path).display()))
}

/// The bytes of memory that a stage may count on: what it asks for, or all that there is.
fn memory(asked: u64) -> u64 {
    match asked {
        0 => Machine::here().memory,
        asked => asked,
    }
}
