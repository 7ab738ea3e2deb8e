//! The pinned Python wheels that libtorch comes in: fetched with pip, checked, and unpacked as far as needed.
//!
//! PyPI is the one place that has every platform's libtorch and that mirrors and proxies serve too, so whatever way
//! to it pip is configured for is used.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

/// The version that the `tch` crate of this workspace is made for; no other one works.
pub const VERSION: &str = "2.13.0";

/// Which build of libtorch to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What the CPU needs.
    Cpu,
    /// Everything, with NVIDIA's libraries.
    Cuda,
}

/// One wheel.
#[derive(Debug, Clone, Copy)]
pub struct Wheel {
    /// What pip is asked for.
    requirement: &'static str,
    /// The one platform tag that pip is to look for, whatever machine it runs on.
    platform: &'static str,
    /// The name of the file.
    pub file: &'static str,
    /// Its SHA-256 in hexadecimal.
    sha256: &'static str,
    /// Members to keep: a prefix of their path in the wheel, and where what follows it goes.
    keep: &'static [(&'static str, &'static str)],
}

/// The wheels for this machine.
///
/// # Errors
/// Where there are none.
pub fn of_this_machine(variant: Variant) -> Result<Vec<Wheel>> {
    of(std::env::consts::OS, std::env::consts::ARCH, variant)
}

fn of(os: &str, arch: &str, variant: Variant) -> Result<Vec<Wheel>> {
    match (os, arch, variant) {
        ("linux", "x86_64", Variant::Cpu) => Ok(LINUX_CPU.to_vec()),
        ("linux", "x86_64", Variant::Cuda) => {
            let whole = Wheel {
                keep: &[
                    ("torch/include/", "libtorch/include/"),
                    ("torch/lib/", "libtorch/lib/"),
                ],
                ..LINUX_CPU[0]
            };
            Ok([whole]
                .into_iter()
                .chain(NVIDIA.iter().map(Pinned::whole))
                .collect())
        }
        ("macos", "aarch64", Variant::Cpu) => Ok(vec![MACOS]),
        ("macos", "aarch64", Variant::Cuda) => {
            bail!("there is no CUDA on macOS; `cargo xtask setup` alone gets the build for the CPU")
        }
        _ => bail!(
            "libtorch is fetched for Linux on x86-64 and macOS on Apple silicon, and this is {os} on {arch}: install \
             PyTorch {} by hand and set LIBTORCH to its folder `torch`",
            VERSION
        ),
    }
}

/// `libtorch_cpu.so` of the CUDA build loads two small libraries of CUDA, which do nothing without a GPU.
const LINUX_CPU: &[Wheel] = &[
    Wheel {
        requirement: "torch==2.13.0",
        platform: "manylinux_2_28_x86_64",
        file: "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        sha256: "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
        keep: &[
            ("torch/include/", "libtorch/include/"),
            ("torch/lib/libtorch_cpu.so", "libtorch/lib/libtorch_cpu.so"),
            ("torch/lib/libc10.so", "libtorch/lib/libc10.so"),
            ("torch/lib/libgomp.so.1", "libtorch/lib/libgomp.so.1"),
        ],
    },
    Wheel {
        requirement: "nvidia-cuda-runtime==13.0.96",
        platform: "manylinux2014_x86_64",
        file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        keep: &[(
            "nvidia/cu13/lib/libcudart.so.13",
            "libtorch/lib/libcudart.so.13",
        )],
    },
    Wheel {
        requirement: "nvidia-cuda-cupti==13.0.85",
        platform: "manylinux_2_25_x86_64",
        file: "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        keep: &[(
            "nvidia/cu13/lib/libcupti.so.13",
            "libtorch/lib/libcupti.so.13",
        )],
    },
];

const MACOS: Wheel = Wheel {
    requirement: "torch==2.13.0",
    platform: "macosx_14_0_arm64",
    file: "torch-2.13.0-cp311-cp311-macosx_14_0_arm64.whl",
    sha256: "e76f9bcecc52b8ff711239a2f7547d5353df95878ab232f0773c1d95928b92f8",
    keep: &[
        ("torch/include/", "libtorch/include/"),
        ("torch/lib/", "libtorch/lib/"),
    ],
};

/// A wheel of NVIDIA's that is kept whole, beside libtorch, where libtorch's own search path looks for it.
struct Pinned(&'static str, &'static str, &'static str, &'static str);

impl Pinned {
    fn whole(&self) -> Wheel {
        Wheel {
            requirement: self.0,
            platform: self.1,
            file: self.2,
            sha256: self.3,
            keep: &[("nvidia/", "nvidia/")],
        }
    }
}

/// What torch 2.13.0 requires on Linux (`cuda-toolkit` 13.0.3 spelt out), but for what only Python uses.
const NVIDIA: &[Pinned] = &[
    Pinned(
        "nvidia-cudnn-cu13==9.20.0.48",
        "manylinux_2_27_x86_64",
        "nvidia_cudnn_cu13-9.20.0.48-py3-none-manylinux_2_27_x86_64.whl",
        "0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304",
    ),
    Pinned(
        "nvidia-cusparselt-cu13==0.8.1",
        "manylinux2014_x86_64",
        "nvidia_cusparselt_cu13-0.8.1-py3-none-manylinux2014_x86_64.whl",
        "786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0",
    ),
    Pinned(
        "nvidia-nccl-cu13==2.29.7",
        "manylinux_2_18_x86_64",
        "nvidia_nccl_cu13-2.29.7-py3-none-manylinux_2_18_x86_64.whl",
        "edd81538446786ec3b73972543e53bb43bcaf0bfc8ef76cb679fcc390ffe136d",
    ),
    Pinned(
        "nvidia-nvshmem-cu13==3.4.5",
        "manylinux2014_x86_64",
        "nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
    ),
    Pinned(
        "nvidia-cublas==13.1.1.3",
        "manylinux_2_27_x86_64",
        "nvidia_cublas-13.1.1.3-py3-none-manylinux_2_27_x86_64.whl",
        "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436",
    ),
    Pinned(
        "nvidia-cuda-cupti==13.0.85",
        "manylinux_2_25_x86_64",
        "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
        "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    ),
    Pinned(
        "nvidia-cuda-nvrtc==13.0.88",
        "manylinux2010_x86_64",
        "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
    ),
    Pinned(
        "nvidia-cuda-runtime==13.0.96",
        "manylinux2014_x86_64",
        "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    ),
    Pinned(
        "nvidia-cufft==12.0.0.61",
        "manylinux2014_x86_64",
        "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
    ),
    Pinned(
        "nvidia-cufile==1.15.1.6",
        "manylinux2014_x86_64",
        "nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
    ),
    Pinned(
        "nvidia-curand==10.4.0.35",
        "manylinux_2_27_x86_64",
        "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl",
        "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
    ),
    Pinned(
        "nvidia-cusolver==12.0.4.66",
        "manylinux_2_27_x86_64",
        "nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl",
        "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
    ),
    Pinned(
        "nvidia-cusparse==12.6.3.3",
        "manylinux2014_x86_64",
        "nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
    ),
    Pinned(
        "nvidia-nvtx==13.0.85",
        "manylinux1_x86_64",
        "nvidia_nvtx-13.0.85-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl",
        "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
    ),
    Pinned(
        "nvidia-nvjitlink==13.5.37",
        "manylinux2010_x86_64",
        "nvidia_nvjitlink-13.5.37-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        "280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb",
    ),
];

/// Fetches a wheel into `folder`, unless it already lies there whole, and checks it.
///
/// # Errors
/// Without pip, without a way to the package index, or where the file is not the pinned one.
pub fn fetch(wheel: &Wheel, folder: &Path) -> Result<PathBuf> {
    let file = folder.join(wheel.file);
    if file.exists() && digest(&file)? == wheel.sha256 {
        return Ok(file);
    }
    let (program, arguments) = pip()?;
    eprintln!("Fetching {} with {program}", wheel.requirement);
    let output = Command::new(program)
        .args(arguments)
        .args(["download", "--no-deps", "--only-binary=:all:", "--no-input"])
        .args(["--disable-pip-version-check", "--no-cache-dir"])
        .args([
            "--python-version",
            "3.11",
            "--implementation",
            "cp",
            "--abi",
            "cp311",
        ])
        .args(["--platform", wheel.platform, "--dest"])
        .arg(folder)
        .arg(wheel.requirement)
        // Our own standard output is flow's.
        .stdout(io::stderr())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|child| child.wait_with_output())
        .with_context(|| format!("{program} can't be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        io::stderr().write_all(&output.stderr)?;
        bail!("{}", advice(wheel, &said));
    }
    ensure!(
        file.exists(),
        "pip fetched {} under another name than {}; set LIBTORCH to a libtorch {} of your own",
        wheel.requirement,
        wheel.file,
        VERSION
    );
    let found = digest(&file)?;
    if found != wheel.sha256 {
        fs::remove_file(&file).with_context(|| format!("{} can't be removed", file.display()))?;
        bail!(
            "{} is damaged or not the file that was published (SHA-256 {found}, and it should be {}); it was removed: \
             try again, and if that does not help, ask whoever runs your package index or proxy",
            wheel.file,
            wheel.sha256
        );
    }
    Ok(file)
}

/// The first pip that answers.
fn pip() -> Result<(&'static str, &'static [&'static str])> {
    let candidates: [(&str, &[&str]); 4] = [
        ("python3", &["-m", "pip"]),
        ("pip3", &[]),
        ("pip", &[]),
        ("python", &["-m", "pip"]),
    ];
    for (program, arguments) in candidates {
        let answers = Command::new(program)
            .args(arguments)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if answers.is_ok_and(|status| status.success()) {
            return Ok((program, arguments));
        }
    }
    bail!(
        "libtorch is fetched with pip, and there is none: install it (Debian and Ubuntu: `apt install python3-pip`), or set \
         LIBTORCH to a libtorch {} of your own",
        VERSION
    )
}

/// What to do about what pip said.
fn advice(wheel: &Wheel, said: &str) -> String {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["No space left on device"]) {
        "the disk is full: make room, or let XDG_CACHE_HOME and TMPDIR name folders on another disk"
            .into()
    } else if has(&[
        "NewConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "Connection refused",
        "Name or service not known",
        "name resolution",
        "ProxyError",
        // All that pip says where it may not try twice.
        "(from versions: none)",
    ]) {
        format!(
            "the package index can't be reached, or has no such file: go online (or set pip's index or proxy) and try again, or set LIBTORCH to a \
             libtorch {} of your own",
            VERSION
        )
    } else {
        format!(
            "pip can't get {} for {} (its words stand above): mend that and try again, or set LIBTORCH to a libtorch {} of \
             your own",
            wheel.requirement, wheel.platform, VERSION
        )
    }
}

fn digest(file: &Path) -> Result<String> {
    let wrong = || format!("{} can't be read", file.display());
    let mut reader = File::open(file).with_context(wrong)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer).with_context(wrong)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Unpacks the members of `file` that the wheel keeps into `tree`.
///
/// # Errors
/// Where the archive is damaged, a member would land outside `tree`, or one that is kept by name is missing.
pub fn unpack(wheel: &Wheel, file: &Path, tree: &Path) -> Result<()> {
    let damaged = || format!("{} can't be unpacked", file.display());
    let mut archive =
        ZipArchive::new(File::open(file).with_context(damaged)?).with_context(damaged)?;
    let mut found = vec![false; wheel.keep.len()];
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).with_context(damaged)?;
        if member.is_dir() {
            continue;
        }
        let Some(name) = member.enclosed_name() else {
            let name = String::from_utf8_lossy(member.name_raw());
            bail!("{} holds {name}, which leads outside", file.display());
        };
        let name = name.to_string_lossy();
        let kept = wheel.keep.iter().position(|(from, _)| {
            if from.ends_with('/') {
                name.starts_with(from)
            } else {
                name == *from
            }
        });
        let Some(kept) = kept else { continue };
        found[kept] = true;
        let (from, to) = wheel.keep[kept];
        let path = tree.join(format!("{to}{}", &name[from.len()..]));
        let wrong = || format!("{} can't be written", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(wrong)?;
        }
        let mut output = File::create(&path).with_context(wrong)?;
        io::copy(&mut member, &mut output).with_context(wrong)?;
    }
    if let Some(missing) = found.iter().position(|found| !found) {
        bail!("{} holds no {}", file.display(), wheel.keep[missing].0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::write::{SimpleFileOptions, ZipWriter};

    const WHEEL: Wheel = Wheel {
        requirement: "torch==0",
        platform: "any",
        file: "torch.whl",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        keep: &[
            ("torch/include/", "libtorch/include/"),
            ("torch/lib/a.so", "libtorch/lib/a.so"),
        ],
    };

    fn archive(path: &Path, members: &[&str]) {
        let mut writer = ZipWriter::new(File::create(path).unwrap());
        for member in members {
            writer
                .start_file(*member, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(member.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn what_is_kept_lands_where_it_belongs_and_the_rest_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (file, tree) = (folder.path().join("torch.whl"), folder.path().join("tree"));
        archive(
            &file,
            &[
                "torch/include/a/b.h",
                "torch/lib/a.so",
                "torch/lib/a.so.2",
                "torch/x.py",
            ],
        );
        unpack(&WHEEL, &file, &tree).unwrap();
        assert_eq!(
            fs::read_to_string(tree.join("libtorch/include/a/b.h")).unwrap(),
            "torch/include/a/b.h"
        );
        assert!(tree.join("libtorch/lib/a.so").exists());
        assert_eq!(fs::read_dir(tree.join("libtorch/lib")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&tree).unwrap().count(), 1);
    }

    #[test]
    fn a_wheel_that_lacks_something_or_leads_outside_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (file, tree) = (folder.path().join("torch.whl"), folder.path().join("tree"));
        archive(&file, &["torch/include/b.h"]);
        let error = format!("{:#}", unpack(&WHEEL, &file, &tree).unwrap_err());
        assert!(error.contains("holds no torch/lib/a.so"), "{error}");
        archive(&file, &["../outside"]);
        let error = format!("{:#}", unpack(&WHEEL, &file, &tree).unwrap_err());
        assert!(error.contains("leads outside"), "{error}");
        assert!(!folder.path().join("outside").exists());
    }

    #[test]
    fn a_whole_wheel_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        // The digest of "abc" is from FIPS 180-2, appendix B.1.
        fs::write(folder.path().join(WHEEL.file), "abc").unwrap();
        assert_eq!(
            fetch(&WHEEL, folder.path()).unwrap(),
            folder.path().join("torch.whl")
        );
    }

    #[test]
    fn every_pin_is_well_formed_and_of_one_platform() {
        for variant in [Variant::Cpu, Variant::Cuda] {
            for wheel in of("linux", "x86_64", variant).unwrap() {
                assert_eq!(wheel.sha256.len(), 64, "{wheel:?}");
                assert!(wheel.file.contains(wheel.platform), "{wheel:?}");
                let (name, version) = wheel.requirement.split_once("==").unwrap();
                assert!(
                    wheel
                        .file
                        .starts_with(&format!("{}-{version}-", name.replace('-', "_")))
                );
            }
        }
        let error = format!("{:#}", of("linux", "riscv64", Variant::Cpu).unwrap_err());
        assert!(error.contains("set LIBTORCH"), "{error}");
    }

    #[test]
    fn what_pip_says_becomes_what_to_do() {
        assert!(
            advice(&WHEEL, "… [Errno 28] No space left on device").contains("the disk is full")
        );
        assert!(advice(&WHEEL, "… NewConnectionError('…')").contains("go online"));
        assert!(
            advice(&WHEEL, "ERROR: No matching distribution").contains("its words stand above")
        );
    }
}
