//! The plugin's process.

fn main() -> std::process::ExitCode {
    flow_stages_torch::plugin().main()
}
