//! The plugin `flow-stages-cluster`.

use std::process::ExitCode;

fn main() -> ExitCode {
    flow_stages_cluster::plugin().main()
}
