//! `flow plugin`: plugins begun, and tried out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use flow_run::trial::{self, Given, Rule, Verdict};
use serde_json::Value;

use crate::commands::plugin_new;
use crate::failure::{FAILED, Failure, wrong};
use crate::view;

#[derive(Subcommand)]
pub enum PluginCommand {
    /// Writes a plugin in Python to begin with: a stage kind, its test, a workflow that uses it, in a new folder.
    #[command(after_help = "Example:\n  flow plugin new mine")]
    New {
        /// What the folder is called; the plugin is flow-stages-NAME in it.
        name: String,
    },
    /// Tries a plugin: each rule of the protocol, on small inputs that are made for it.
    #[command(
        after_help = "Exit status 1 where a rule is broken. docs/protocol.md of flow says what the rules are for.\n\nExamples:\n  \
        flow plugin test ./flow-stages-mine\n  \
        flow plugin test ./flow-stages-mine scale --set factor=3 --input features=features.npy"
    )]
    Test(TestArguments),
}

#[derive(Args)]
pub struct TestArguments {
    /// The plugin, an executable.
    plugin: PathBuf,
    /// The only kind to try.
    kind: Option<String>,
    /// Give a parameter a value, as TOML.
    #[arg(long, value_name = "NAME=VALUE", requires = "kind")]
    set: Vec<String>,
    /// Give an input a file or folder in place of one that is made for it.
    #[arg(long, value_name = "ROLE=PATH", requires = "kind")]
    input: Vec<String>,
}

/// `flow plugin`.
pub fn plugin(command: &PluginCommand) -> Result<ExitCode, Failure> {
    match command {
        PluginCommand::New { name } => plugin_new::new(name),
        PluginCommand::Test(arguments) => test(arguments),
    }
}

fn test(arguments: &TestArguments) -> Result<ExitCode, Failure> {
    let program = existing(&arguments.plugin)?;
    let mut given = Given {
        kind: arguments.kind.clone(),
        ..Given::default()
    };
    for set in &arguments.set {
        let (name, value) = halves(set, "--set NAME=VALUE")?;
        given.parameters.insert(name.into(), parameter(value));
    }
    for input in &arguments.input {
        let (role, path) = halves(input, "--input ROLE=PATH")?;
        given.inputs.insert(role.into(), existing(Path::new(path))?);
    }
    if let Some(wanted) = &arguments.kind {
        let kinds = trial::kinds(&program)?;
        let kind = kinds.iter().find(|kind| kind.name == *wanted);
        let Some(kind) = kind else {
            let names: Vec<&str> = kinds.iter().map(|kind| &kind.name[..]).collect();
            let has = format!("it has {}", names.join(", "));
            return Err(wrong(format!(
                "{} has no kind `{wanted}`; {has}",
                program.display()
            )));
        };
        let roles: Vec<&str> = kind.inputs.iter().map(|port| &port.name[..]).collect();
        if let Some(role) = given.inputs.keys().find(|role| !roles.contains(&&role[..])) {
            return Err(wrong(format!(
                "`{wanted}` has no input `{role}`; it has {}",
                roles.join(", ")
            )));
        }
    }
    let (mut holding, mut broken, mut untried) = (0_usize, 0_usize, 0_usize);
    let mut of = None;
    let mut failed = Ok(());
    trial::try_out(&program, &given, |rule| {
        match rule.verdict {
            Verdict::Holds => holding += 1,
            Verdict::Broken(_) => broken += 1,
            Verdict::Untried(_) => untried += 1,
        }
        let begins = of.as_ref() != Some(&rule.kind);
        let shown = show(&program, &rule, begins);
        of = Some(rule.kind);
        if failed.is_ok() {
            failed = view::print(&shown);
        }
    })?;
    failed?;
    let untried = match untried {
        0 => String::new(),
        n => format!(", {} not tried", count(n, "kind")),
    };
    let broken_in_words = match broken {
        0 => "none broken".into(),
        n => format!("{n} broken"),
    };
    view::print(&format!(
        "\n{}: {broken_in_words}{untried}",
        count(holding + broken, "rule")
    ))?;
    Ok(match broken {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    })
}

/// A rule's line, below the name of what it was tried on where that begins.
fn show(program: &Path, rule: &Rule, begins: bool) -> String {
    let heading = match &rule.kind {
        _ if !begins => String::new(),
        Some(kind) => format!("\n{kind}\n"),
        None => format!("{}\n", program.display()),
    };
    let (word, more) = match &rule.verdict {
        Verdict::Holds => ("holds", ""),
        Verdict::Broken(how) => ("BROKEN", &how[..]),
        Verdict::Untried(why) => ("untried", &why[..]),
    };
    let more = match more {
        "" => String::new(),
        more => format!("\n           {}", view::plain(more)),
    };
    format!("{heading}  {word:<8} {}{more}", rule.rule)
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn existing(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize()
        .map_err(|error| wrong(format!("{} can't be used: {error}", path.display())))
}

fn halves<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=')
        .ok_or_else(|| wrong(format!("`{text}` has no `=`; write it as {form}")))
}

/// A value as TOML; what is none is text.
fn parameter(text: &str) -> Value {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}"));
    let value = parsed.ok().and_then(|mut table| table.remove("value"));
    let value = value.and_then(|value| serde_json::to_value(value).ok());
    value.unwrap_or_else(|| text.into())
}
