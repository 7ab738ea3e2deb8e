//! Arguments that several commands have.

use std::path::PathBuf;

use clap::Args;
use flow_cache::Store;
use flow_plan::workflow::Overrides;

use crate::session::{Failure, wrong};

#[derive(Args)]
pub struct WorkflowArguments {
    /// The workflow file.
    pub workflow: PathBuf,
    #[command(flatten)]
    pub overrides: OverrideArguments,
    /// The folder that holds all results; by default .flow beside the workflow file.
    #[arg(long, value_name = "DIR", env = "FLOW_STORE")]
    pub store: Option<PathBuf>,
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
    /// A TOML file of params, which win over the workflow's.
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

impl WorkflowArguments {
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
