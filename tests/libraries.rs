//! The libraries that the torch plugin asks the loader for. Here and not beside it: a test that links libtorch can't start where
//! one of its libraries is missing.

use std::path::Path;
use std::process::Command;

use flow_tests::binaries;

/// Where libtorch has CUDA the plugin has to load it, though it names none of its symbols; elsewhere it must not ask for it.
#[test]
#[cfg(target_os = "linux")]
fn the_plugin_loads_cuda_where_its_libtorch_has_it() {
    let output = Command::new("readelf")
        .args(["--dynamic", "--wide"])
        .arg(binaries::find("flow-stages-torch"))
        .output()
        .expect("readelf comes with the compiler's binutils");
    let text = String::from_utf8(output.stdout).unwrap();
    let needed = |library: &str| {
        (text.lines())
            .any(|line| line.contains("(NEEDED)") && line.contains(&format!("[{library}]")))
    };
    assert!(needed("libtorch_cpu.so"), "{text}");
    // As when it was built: cargo sets the variable for tests too.
    let libtorch = std::env::var("LIBTORCH").expect("LIBTORCH is set by .cargo/config.toml");
    let has_cuda = Path::new(&libtorch).join("lib/libtorch_cuda.so").exists();
    assert_eq!(needed("libtorch_cuda.so"), has_cuda, "{text}");
    assert_eq!(needed("libc10_cuda.so"), has_cuda, "{text}");
}
