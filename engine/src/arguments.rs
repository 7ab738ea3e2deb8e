//! Arguments that several commands have.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use flow_cache::Store;
use flow_plan::workflow::{Overrides, search};
use flow_run::record::past;

use crate::failure::{Failure, wrong};
use crate::runs;
use crate::suggestion;
use crate::view::json::Told;

#[derive(Args)]
pub struct WorkflowArguments {
    /// The workflow file; in its place a folder with a workflow.toml, or with one workflow
    #[arg(default_value = HERE)]
    pub workflow: PathBuf,
    #[command(flatten)]
    pub overrides: OverrideArguments,
    /// The folder that holds all results; by default .flow beside the workflow file.
    #[arg(long, value_name = "DIR", env = "FLOW_STORE")]
    pub store: Option<PathBuf>,
    /// The run that is meant in the place of a workflow file, by its id.
    #[arg(skip)]
    pub run: Option<String>,
}

/// What is laid over a workflow file.
#[derive(Args, Clone)]
pub struct OverrideArguments {
    /// Give a param another value, as TOML: --set keep=0.8; also stages.NAME.uses and stages.NAME.with.PARAMETER (no value takes it away)
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Choose a variant of the workflow.
    #[arg(long, value_name = "GROUP=NAME")]
    pub variant: Vec<String>,
    /// A file of params (TOML, YAML or JSON by its ending), which win over the workflow's.
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
    /// Sweep over the values of a param, a group of variants, stages.NAME.uses or stages.NAME.with.PARAMETER
    #[arg(long, value_name = "AXIS=VALUE,…")]
    pub sweep: Vec<String>,
    /// Repeat with seeds: a number of them, or a list as `1,2,3` or `[12345]`
    #[arg(long, value_name = "N|LIST")]
    pub seeds: Option<String>,
    /// Of a sweep, take the points with these values alone: --point keep=0.8,seed=43
    #[arg(long, value_name = "AXIS=VALUE,…")]
    pub point: Vec<String>,
}

/// The workflow where none is named: that of the current folder.
pub const HERE: &str = ".";

impl OverrideArguments {
    /// Whether `--params` stands there without a file.
    pub fn is_without_file(&self) -> bool {
        self.params.as_deref() == Some(Path::new(NO_FILE))
    }
}

/// The workflow file that a path means: of a folder `workflow.toml`, else the only workflow in it.
pub fn workflow_of(path: &Path) -> Result<PathBuf, Failure> {
    match path.is_dir() {
        true => search::of_folder(path).map_err(wrong),
        false => Ok(path.into()),
    }
}

impl WorkflowArguments {
    /// Puts the workflow file in the place of its folder.
    pub fn find(&mut self) -> Result<(), Failure> {
        let store = self.store.as_deref();
        let text = self.workflow.to_string_lossy();
        if !self.workflow.exists()
            && (past::is_run(&text) || runs::instead_of_workflow(&self.workflow, store)?.is_some())
        {
            return Err(wrong(format!(
                "`{text}` is a run, and a workflow file is wanted; `{}` shows it, and `{}` makes it again",
                suggestion::on(store, &["show", &text]),
                suggestion::whole_again(store, &text, &[])
            )));
        }
        self.workflow = workflow_of(&self.workflow)?;
        Ok(())
    }

    /// The same, where a run may stand in the place of the file.
    pub fn find_or_run(&mut self) -> Result<(), Failure> {
        match runs::instead_of_workflow(&self.workflow, self.store.as_deref())? {
            Some((_, run)) => self.run = Some(run.id),
            None => self.find()?,
        }
        Ok(())
    }

    /// The store of a run that is meant in the place of a workflow file.
    pub fn runs_store(&self) -> Result<Store, Failure> {
        let place = StoreArguments {
            workflow: None,
            store: self.store.clone(),
        };
        place.open()
    }

    /// What is laid over the workflow file.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            params: self.overrides.params.clone(),
            variants: self.overrides.variant.clone(),
            set: self.overrides.set.clone(),
            sweep: self.overrides.sweep.clone(),
            seeds: self.overrides.seeds.clone(),
            point: self.overrides.point.clone(),
        }
    }
}

impl RunArguments {
    /// Takes a workflow file that stands behind `--force` for the workflow. No stage has such a name.
    pub fn tell_apart(&mut self) {
        let is_file = |name: &String| name.ends_with(".toml") && Path::new(name).is_file();
        if self.workflow.workflow == Path::new(HERE)
            && let Some(at) = self.force.iter().position(is_file)
        {
            self.workflow.workflow = std::mem::take(&mut self.force[at]).into();
        }
    }
}

/// What stands for `--params` without a file.
pub const NO_FILE: &str = "-";

/// Which store.
#[derive(Args)]
pub struct StoreArguments {
    /// The workflow file whose store is meant; without it that of the current folder.
    pub workflow: Option<PathBuf>,
    /// The store's folder.
    #[arg(long, value_name = "DIR", env = "FLOW_STORE")]
    pub store: Option<PathBuf>,
}

impl StoreArguments {
    /// The store, which has to be there.
    pub fn open(&self) -> Result<Store, Failure> {
        let root = match (&self.store, &self.workflow) {
            (Some(root), _) => root.clone(),
            (None, Some(workflow)) => workflow.with_file_name(".flow"),
            (None, None) => PathBuf::from(".flow"),
        };
        let root = std::path::absolute(&root).map_err(wrong)?;
        if !root.is_dir() {
            return Err(wrong(format!(
                "there is no store at {}; name the workflow file, or the folder with --store",
                root.display()
            )));
        }
        Store::open(&root).map_err(wrong)
    }
}

/// How inputs from the store are checked.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// Read and hash each on its first use in a run.
    #[default]
    Digest,
    /// Trust one whose size and times are as they should be.
    Size,
}

/// The arguments of `flow run`.
#[derive(Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub workflow: WorkflowArguments,
    /// Run this stage alone; what it reads has to be in the store.
    #[arg(long, value_name = "STAGE", conflicts_with = "until")]
    pub only: Vec<String>,
    /// Run this stage and what it needs.
    #[arg(long, value_name = "STAGE")]
    pub until: Vec<String>,
    /// Run this stage although its result is in the store; without a stage, all
    #[arg(long, value_name = "STAGE", num_args = 0..=1, default_missing_value = "")]
    pub force: Vec<String>,
    /// Run this stage and all behind it, although their results are in the store.
    #[arg(long, value_name = "STAGE", conflicts_with = "only")]
    pub from: Vec<String>,
    /// Threads that stages may use at once; by default all.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// How inputs from the store are checked before a stage gets them
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "HOW",
        env = "FLOW_VERIFY"
    )]
    pub verify: Verify,
    /// After a failure, go on with what does not depend on it; a sweep does so anyway.
    #[arg(short, long)]
    pub keep_going: bool,
    /// End a sweep at the first failure.
    #[arg(long, conflicts_with = "keep_going")]
    pub fail_fast: bool,
    /// Say what would run, and run nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: show each instance by itself.
    #[arg(long, requires = "dry_run")]
    pub expand: bool,
    /// Run stages N times again and compare the bytes with their results in the store, which stay as they are.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000),
        conflicts_with_all = ["force", "from", "dry_run", "keep_going"]
    )]
    pub check: Option<u32>,
    /// Check with these numbers of threads, instead of those that the results were made with.
    #[arg(
        long,
        value_name = "N,…",
        requires = "check",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    pub threads: Vec<u32>,
    /// Give the run a name, which stands wherever a run does; a name that another good run of this workflow has is refused.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["check", "dry_run"])]
    pub name: Option<String>,
    /// Make an earlier run again from what it kept: its workflow, what was laid over it, code and small inputs. WORKFLOW: whose
    /// store is meant
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = ["set", "variant", "params", "sweep", "seeds", "point", "check", "prune", "deliver"]
    )]
    pub again: Option<String>,
    /// With --again: lay it out in this new folder and run it there; large inputs are links
    #[arg(long = "in", value_name = "DIR", requires = "again")]
    pub folder: Option<PathBuf>,
    /// Write a note beside the run, for `flow runs`
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["check", "dry_run"])]
    pub note: Option<String>,
    /// Remove what was delivered and is under `[deliver]` no longer.
    #[arg(long, conflicts_with_all = ["check", "dry_run"])]
    pub prune: bool,
    /// Deliver what a sweep's points made; without a sweep, each run does.
    #[arg(long, conflicts_with_all = ["check", "dry_run"])]
    pub deliver: bool,
    /// Show what stages print, while they print it.
    #[arg(long, conflicts_with = "check")]
    pub show_output: bool,
    /// Print one JSON object a line: each stage that ends, then the run.
    #[arg(long)]
    pub json: bool,
    /// With --json: print all that the run tells as it happens, progress and figures too.
    #[arg(long, requires = "json", conflicts_with_all = ["check", "dry_run"])]
    pub events: bool,
}

impl RunArguments {
    /// What `--json` prints; none without.
    pub fn told(&self) -> Option<Told> {
        self.json
            .then_some(if self.events { Told::All } else { Told::Ends })
    }
}
