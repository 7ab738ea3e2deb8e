//! Lets the plugin and its tests find libtorch when they start, and ask it what torch-sys has no name for.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=src/capability.cpp");
    cc::Build::new()
        .cpp(true)
        .file("src/capability.cpp")
        .compile("flow_capability");
    // Where `cargo xtask install` puts it, and then where it was linked from.
    let origin = if cfg!(target_os = "macos") {
        "@executable_path"
    } else {
        "$ORIGIN"
    };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{origin}/../lib/flow/libtorch/lib");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
        // No symbol of this library is named, it registers itself when it is loaded, and so linkers drop it. Its own
        // libraries lie where only the loader looks.
        if std::path::Path::new(&libtorch)
            .join("lib/libtorch_cuda.so")
            .exists()
        {
            for argument in [
                "-Wl,--allow-shlib-undefined",
                "-Wl,--no-as-needed",
                "-ltorch_cuda",
                "-lc10_cuda",
                "-Wl,--as-needed",
            ] {
                println!("cargo:rustc-link-arg={argument}");
            }
        }
    }
}
