//! The plugin's executable.

fn main() -> std::process::ExitCode {
    flow_stages_data::plugin().main()
}
