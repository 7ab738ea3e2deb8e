//! The guard of the kinds' versions.

use std::path::Path;

#[test]
fn a_change_of_the_sources_is_decided_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    flow_stage::versions::check(root, &flow_stages_data::plugin().description())
        .unwrap_or_else(|error| panic!("{error:#}"));
}
