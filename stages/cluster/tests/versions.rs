//! The guard of kind versions.

use std::path::Path;

#[test]
fn sources_changed_only_with_a_decision_on_versions() {
    flow_stage::versions::check(
        Path::new(env!("CARGO_MANIFEST_DIR")),
        &flow_stages_cluster::plugin().description(),
    )
    .unwrap();
}
