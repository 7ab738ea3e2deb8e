//! `run_check` is `flow run --check`, `run_again` is `flow run --again`; `deliver` is what a run does about `[deliver]`;
//! `report_cache` keeps the pages of `flow report` in the store, `revision` is a workflow of a git revision, `plugin_new` is `flow plugin
//! new`.

pub mod cache;
pub mod check;
pub mod compare;
pub mod completions;
pub mod debug;
pub mod deliver;
pub mod export;
pub mod get;
pub mod graph;
pub mod man;
pub mod new;
pub mod plugin;
pub mod plugin_new;
pub mod report;
pub mod report_cache;
pub mod revision;
pub mod run;
pub mod run_again;
pub mod run_check;
pub mod runs;
pub mod schema;
pub mod show;
pub mod stages;
pub mod status;
pub mod table;
pub mod ui;
pub mod why;
