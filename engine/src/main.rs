//! The command line: arguments parsed, one function a command, the exit status.

// `println!` and `eprintln!` panic where nobody can write: `view::print` and `view::tell` don't.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod commands;
mod dvc;
mod failure;
mod runs;
mod session;
mod stdout;
mod suggestion;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use arguments::{NO_FILE, RunArguments, WorkflowArguments};
use commands::cache::CacheCommand;
use commands::compare::CompareArguments;
use commands::export::ExportArguments;
use commands::get;
use commands::new::Template;
use commands::plugin::PluginCommand;
use commands::report::ReportArguments;
use commands::runs::RunsArguments;
use commands::show::ShowArguments;
use commands::table::TableArguments;
use commands::ui::UiArguments;
use failure::Failure;
use view::graph::Format;

/// Runs declarative machine-learning workflows; only what changed runs again.
#[derive(Parser)]
#[command(
    name = "flow",
    version,
    arg_required_else_help = true,
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings a workflow's results up to date.
    #[command(
        after_help = "Exit status: 0 all well, 1 a stage failed, 2 the workflow or the command line is wrong, \
        130 interrupted.\n\nExamples:\n  flow run workflows/quickstart.toml\n  \
        flow run workflows/quickstart.toml --set min_cluster_size=50\n  \
        flow run workflows/cifar100.toml --until fine_labels --dry-run\n  \
        flow run workflows/quickstart.toml --sweep min_cluster_size=20,35,50 --seeds 3 --dry-run\n  \
        flow run workflows/quickstart.toml --check 1\n  \
        flow run workflows/quickstart.toml --check 1 --threads 1,2,4 --only umap"
    )]
    Run(RunArguments),
    /// Says for each stage whether it is up to date, and why not.
    #[command(after_help = "Examples:\n  flow status workflows/quickstart.toml\n  \
        flow status workflows/quickstart.toml --set min_cluster_size=20")]
    Status {
        #[command(flatten)]
        workflow: WorkflowArguments,
        /// Show each instance by itself.
        #[arg(long)]
        expand: bool,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Says which part of a stage's key changed, or what upstream made it run.
    #[command(
        allow_missing_positional = true,
        after_help = "Examples:\n  flow why workflows/quickstart.toml fine_labels --set min_cluster_size=20\n  \
        flow why workflows/quickstart.toml fine_labels --output"
    )]
    Why {
        #[command(flatten)]
        workflow: WorkflowArguments,
        /// The stage.
        stage: String,
        /// Compare its outputs with those of its record before, instead of its key.
        #[arg(long)]
        output: bool,
        /// Print one JSON object a line: what differs, with whole values.
        #[arg(long, conflicts_with = "output")]
        json: bool,
    },
    /// Shows the DAG with each stage's standing.
    #[command(
        after_help = "Example:\n  flow graph workflows/quickstart.toml --format svg > quickstart.svg"
    )]
    Graph {
        #[command(flatten)]
        workflow: WorkflowArguments,
        /// The form.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
        /// Show each instance by itself.
        #[arg(long)]
        expand: bool,
    },
    /// Finds everything that is wrong with a workflow, and runs nothing.
    #[command(after_help = "Example:\n  flow check workflows/cifar100.toml --set keep=0.8")]
    Check {
        #[command(flatten)]
        workflow: WorkflowArguments,
    },
    /// Copies a stage's output out of the store.
    #[command(
        after_help = "Examples:\n  flow get workflows/quickstart.toml fine_labels.labels -o labels.npy\n  \
        flow get workflow.toml --all -o results\n  flow get workflow.toml table -o - | head"
    )]
    Get {
        #[command(flatten)]
        workflow: WorkflowArguments,
        /// What to copy; the stage's first output where none is named.
        #[arg(value_name = "STAGE[.OUTPUT]", conflicts_with = "all")]
        artifact: Option<String>,
        #[command(flatten)]
        form: get::Form,
    },
    /// Runs a stage at the terminal, in a folder as it begins with; keeps nothing of it.
    #[command(
        after_help = "The command is the stage's own, or the one after `--`. Its environment is the stage's, and Ctrl-C is for it.\n\n\
        Examples:\n  flow debug workflow.toml train\n  flow debug workflow.toml train -- bash\n  \
        flow debug workflow.toml train -- python -m pdb src/train.py"
    )]
    Debug {
        #[command(flatten)]
        workflow: WorkflowArguments,
        /// The stage.
        stage: Option<String>,
        /// What is run in its place.
        #[arg(last = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Shows how a result came to be, back to the user's files; or what a run did.
    #[command(
        after_help = "The store is that of the workflow file, else --store, FLOW_STORE or .flow in the current folder.\n\n\
        Examples:\n  flow show workflows/quickstart.toml fine_labels.labels\n  \
        flow show labels.npy                    which stage made a file with this content?\n  \
        flow show 1f3a5c                        the same by its blake3 digest, or by a stage's key\n  \
        flow show workflows/quickstart.toml 20261124-093000-1f3a\n  \
        flow show workflows/quickstart.toml --set keep=0.8 --params      where does each value come from?"
    )]
    Show(ShowArguments),
    /// Shows the results: a row for each point of a sweep, seeds folded into means.
    #[command(
        after_help = "Without a sweep it is one row. Examples:\n  flow table workflows/quickstart.toml\n  \
        flow table sweep.toml --by finetune.test_accuracy\n  \
        flow table sweep.toml --metric found.accuracy --metric found.clusters --format latex > table.tex\n  \
        flow table sweep.toml --point keep=0.8,reduction=pca --cell finetune.test_accuracy"
    )]
    Table(TableArguments),
    /// Says how two runs, or two points of a sweep, differ: parameters, figures, artifacts.
    #[command(
        after_help = "Exit status 0, whether something differs or not. A workflow file stands for its results that are up to \
        date.\n\nExamples:\n  flow compare 20261124-093000-1f3a 20261124-101500-77ab\n  \
        flow compare 20261124-093000-1f3a workflows/quickstart.toml\n  \
        flow compare 'sweep.toml[keep=0.8,seed=42]' 'sweep.toml[keep=0.9,seed=42]'"
    )]
    Compare(CompareArguments),
    /// Lists the runs, the newest first: what each changed since the one before it, and its headline figures.
    #[command(
        after_help = "Examples:\n  flow runs workflows/quickstart.toml\n  flow runs --name 'lr-*' --status ok --since 7d\n  \
        flow runs --store /data/flow --limit 20 --json"
    )]
    Runs(RunsArguments),
    /// Writes a run with its artifacts as a Workflow Run RO-Crate, for archives and other tools.
    #[command(
        allow_missing_positional = true,
        after_help = "The crate is of the Provenance Run Crate profile 0.5 (https://w3id.org/ro/wfrun/provenance/0.5). It states \
        no licence: edit `license` in ro-crate-metadata.json before you publish it.\n\nExample:\n  \
        flow export workflows/quickstart.toml 20261124-093000-1f3a --ro-crate quickstart-crate"
    )]
    Export(ExportArguments),
    /// Writes a page that shows results: the DAG, tables, curves, images; one file that opens anywhere.
    #[command(
        after_help = "Of a workflow: its results as the store has them now. Of a run: how each stage ended in it.\n\nExamples:\n  \
        flow report workflows/quickstart.toml\n  \
        flow report workflows/quickstart.toml --set min_cluster_size=20 -o twenty.html\n  \
        flow report workflows/quickstart.toml 20261124-093000-1f3a -o run.html\n  \
        flow report workflows/quickstart.toml --figures figures"
    )]
    Report(ReportArguments),
    /// Shows the same page live in a browser, while a run goes on.
    #[command(
        after_help = "It shows the newest run of the workflow, wherever that was started, and the next one when it begins. It listens \
        on 127.0.0.1 alone and ends with Ctrl-C, with the exit status 0.\n\nExamples:\n  flow ui workflows/quickstart.toml\n  \
        flow ui workflows/quickstart.toml --port 8000"
    )]
    Ui(UiArguments),
    /// Looks after the store: stats, verify, gc, pin.
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Lists the stage kinds at hand, or prints the page of one.
    #[command(after_help = "Examples:\n  flow stages\n  flow stages hdbscan")]
    Stages {
        /// The kind.
        kind: Option<String>,
        /// Also look at this workflow's `[plugins]`.
        #[arg(long, value_name = "FILE")]
        workflow: Option<PathBuf>,
    },
    /// Begins plugins, and tries them out.
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Prints a JSON Schema of workflow files, for editors.
    #[command(
        after_help = "Example:\n  flow schema > schema.json\n\nA first line `#:schema schema.json` in a workflow file makes \
        TOML editors complete and check it."
    )]
    Schema,
    /// Writes a new workflow file to begin with, or that of a DVC project.
    #[command(
        after_help = "Examples:\n  flow new\n  flow new digits -o digits.toml\n  flow new --from dvc.yaml"
    )]
    New {
        /// What it shows.
        #[arg(value_enum, default_value = "programs", conflicts_with = "from")]
        template: Template,
        /// Make a workflow of this dvc.yaml, with its commands as they stand.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// The file; it must not exist yet. Without it workflow.toml, beside the dvc.yaml.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Prints completions for a shell.
    #[command(
        after_help = "Example:\n  flow completions bash > ~/.local/share/bash-completion/completions/flow"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages into a folder.
    #[command(after_help = "Example:\n  flow man ~/.local/share/man/man1")]
    Man {
        /// The folder.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(served) = flow_run::process::serve_if_asked() {
        let Err(error) = served else {
            return ExitCode::SUCCESS;
        };
        view::tell(&format!(
            "error: `flow supervise` is for flow itself: {error}"
        ));
        return ExitCode::from(2);
    }
    // `parse` prints its own errors and ends with 2, or with 0 after `--help`.
    let cli = Cli::from_arg_matches(&command().get_matches());
    let mut command = cli
        .unwrap_or_else(|error| error.format(&mut command()).exit())
        .command;
    let takes_run = matches!(command, Command::Table(_) | Command::Get { .. });
    // Its workflow is that of the run.
    let is_again = matches!(&command, Command::Run(arguments) if arguments.again.is_some());
    let found = match command.workflow() {
        Some(workflow) if is_again && workflow.workflow == Path::new(arguments::HERE) => Ok(()),
        Some(workflow) if takes_run => workflow.find_or_run(),
        Some(workflow) => workflow.find(),
        None => Ok(()),
    };
    let result = found.and_then(|()| do_command(command));
    match result {
        Ok(status) => status,
        Err(failure) => {
            view::tell(&failure.text);
            ExitCode::from(failure.status)
        }
    }
}

/// The command line, as clap is told of it.
fn command() -> clap::Command {
    // There it may stand without a file: then it asks where values come from.
    Cli::command().mut_subcommand("show", |show| {
        show.mut_arg("params", |params| {
            let params = params.num_args(0..=1).default_missing_value(NO_FILE);
            params.help("Show where each value of the workflow comes from; with FILE (of params), that is laid over it")
        })
    })
}

impl Command {
    /// The workflow that it takes, if it takes one alone.
    fn workflow(&mut self) -> Option<&mut WorkflowArguments> {
        match self {
            Command::Run(arguments) => {
                arguments.tell_apart();
                Some(&mut arguments.workflow)
            }
            Command::Status { workflow, .. }
            | Command::Why { workflow, .. }
            | Command::Graph { workflow, .. }
            | Command::Check { workflow }
            | Command::Cache {
                command: CacheCommand::Pin { workflow, .. },
            } => Some(workflow),
            Command::Table(arguments) => Some(&mut arguments.workflow),
            Command::Debug {
                workflow, stage, ..
            } => Some(apart(workflow, stage)),
            Command::Get {
                workflow,
                artifact,
                form,
            } => match form.all {
                true => Some(workflow),
                false => Some(apart(workflow, artifact)),
            },
            _ => None,
        }
    }
}

/// Of a workflow and a name, where one is given it is the name.
fn apart<'a>(
    workflow: &'a mut WorkflowArguments,
    name: &mut Option<String>,
) -> &'a mut WorkflowArguments {
    if name.is_none() && workflow.workflow != Path::new(arguments::HERE) {
        let given = std::mem::replace(&mut workflow.workflow, arguments::HERE.into());
        *name = Some(given.display().to_string());
    }
    workflow
}

/// Carries a command out.
fn do_command(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Graph {
            workflow,
            format,
            expand,
        } => commands::graph::graph(&workflow, format, expand),
        Command::Check { workflow } => commands::check::check(&workflow),
        Command::Schema => commands::schema::schema(),
        Command::New {
            template,
            from,
            output,
        } => commands::new::new(template, from.as_deref(), output),
        Command::Completions { shell } => {
            commands::completions::completions(shell, &mut self::command())
        }
        Command::Man { folder } => commands::man::man(&self::command(), &folder),
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Status {
            workflow,
            expand,
            json,
        } => commands::status::status(&workflow, expand, json),
        Command::Why {
            workflow,
            stage,
            output,
            json,
        } => commands::why::why(&workflow, &stage, output, json),
        Command::Get {
            workflow,
            artifact,
            form,
        } => get::get(&workflow, artifact.as_deref(), &form),
        Command::Debug {
            workflow,
            stage,
            command,
        } => {
            let none = || failure::wrong("name a stage: flow debug [WORKFLOW] STAGE");
            commands::debug::debug(&workflow, &stage.ok_or_else(none)?, &command)
        }
        Command::Table(arguments) => commands::table::table(&arguments),
        Command::Compare(arguments) => commands::compare::compare(&arguments),
        Command::Show(arguments) => commands::show::show(&arguments),
        Command::Runs(arguments) => commands::runs::runs(&arguments),
        Command::Export(arguments) => commands::export::export(&arguments),
        Command::Report(arguments) => commands::report::report(&arguments),
        Command::Ui(arguments) => commands::ui::ui(&arguments),
        Command::Cache { command } => commands::cache::cache(&command),
        Command::Plugin { command } => commands::plugin::plugin(&command),
        Command::Stages { kind, workflow } => {
            commands::stages::stages(kind.as_deref(), workflow.as_deref())
        }
    }
}
