//! The processor, and the instruction sets that libtorch computes with on it: they decide the last bits of results.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CStr, c_char};
use std::fs;

/// What a stage computes with, by name, for the provenance of its results.
pub fn facts() -> BTreeMap<String, String> {
    let mut facts = BTreeMap::from([
        ("libtorch".to_owned(), crate::LIBTORCH.to_owned()),
        ("ATen".to_owned(), aten()),
        ("processor".to_owned(), name()),
    ]);
    let variable = |prefix: &str| env::var(format!("{prefix}_MAX_CPU_ISA")).ok();
    let most = variable("ONEDNN").or_else(|| variable("DNNL"));
    if let Some(isa) = onednn(&flags(&cpuinfo()), most.as_deref()) {
        facts.insert("oneDNN".to_owned(), isa.to_owned());
    }
    facts
}

/// The processor's name.
pub fn name() -> String {
    let text = cpuinfo();
    let name = field(&text, "model name").unwrap_or_default();
    format!("{} {name}", env::consts::ARCH).trim_end().into()
}

/// Linux's description of the processors; empty elsewhere.
fn cpuinfo() -> String {
    fs::read_to_string("/proc/cpuinfo").unwrap_or_default()
}

/// The first processor's value of a field.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field.trim() == name).then(|| value.trim())
    })
}

/// The instructions that an x86 processor has and the system allows.
fn flags(cpuinfo: &str) -> Vec<&str> {
    let flags = field(cpuinfo, "flags").unwrap_or_default();
    flags.split_whitespace().collect()
}

/// The instruction set of ATen's own kernels: `AVX2`, `AVX512`, `DEFAULT`, …
#[allow(unsafe_code, reason = "the function is C++")]
fn aten() -> String {
    unsafe extern "C" {
        fn flow_cpu_capability() -> *const c_char;
    }
    // SAFETY: it gives a text that ends in 0 and stays for good.
    unsafe { CStr::from_ptr(flow_cpu_capability()) }
        .to_string_lossy()
        .into_owned()
}

/// What oneDNN calls an instruction set, and what it asks of a processor, in Linux's names: an own set of flags, and those of
/// earlier lines.
const SETS: [(&str, &[&str], &[usize]); 11] = [
    ("SSE41", &["sse4_1"], &[]),
    ("AVX", &["avx"], &[0]),
    ("AVX2", &["avx2"], &[1]),
    ("AVX2_VNNI", &["avx_vnni"], &[2]),
    ("AVX2_VNNI_2", &["avx_vnni_int8", "avx_ne_convert"], &[3]),
    (
        "AVX512_CORE",
        &["avx512f", "avx512bw", "avx512vl", "avx512dq"],
        &[2],
    ),
    ("AVX512_CORE_VNNI", &["avx512_vnni"], &[5]),
    ("AVX512_CORE_BF16", &["avx512_bf16"], &[6]),
    ("AVX10_1_512", &["avx512_fp16"], &[3, 7]),
    (
        "AVX10_1_512_AMX",
        &["amx_tile", "amx_int8", "amx_bf16"],
        &[8],
    ),
    ("AVX10_1_512_AMX_FP16", &["amx_fp16"], &[9]),
];

/// Other names of instruction sets in `ONEDNN_MAX_CPU_ISA`.
const ALIASES: [(&str, &str); 3] = [
    ("AVX512_CORE_FP16", "AVX10_1_512"),
    ("AVX512_CORE_AMX", "AVX10_1_512_AMX"),
    ("AVX512_CORE_AMX_FP16", "AVX10_1_512_AMX_FP16"),
];

/// The widest instruction set that oneDNN uses on an x86 processor with these flags, as the value of `ONEDNN_MAX_CPU_ISA` that
/// asks for it; none where it is not known. `most` is that variable's value.
///
/// libtorch hides `dnnl_get_effective_cpu_isa`, which would tell. So these are the rules of oneDNN 3.12 (`cpu_isa_traits`),
/// but for AVX10.2, which it takes only where the variable names it. A test compares them with what oneDNN says of itself.
fn onednn(flags: &[&str], most: Option<&str>) -> Option<&'static str> {
    let most = most.map(str::to_ascii_uppercase);
    let most = most.map(
        |most| match ALIASES.iter().find(|(alias, _)| *alias == most) {
            Some((_, name)) => (*name).to_owned(),
            None => most,
        },
    );
    // A value that it does not know bounds nothing.
    let bound = most.and_then(|most| SETS.iter().position(|(name, ..)| *name == most));
    let bound = bound.map(needs);
    let mut widest = (0..SETS.len()).rev();
    let widest = widest.find(|&set| {
        let needs = needs(set);
        needs.iter().all(|flag| flags.contains(flag))
            && bound
                .as_ref()
                .is_none_or(|bound| needs.iter().all(|flag| bound.contains(flag)))
    })?;
    Some(SETS[widest].0)
}

/// All flags that an instruction set asks for.
fn needs(set: usize) -> Vec<&'static str> {
    let (_, own, others) = SETS[set];
    let mut all = own.to_vec();
    all.extend(others.iter().flat_map(|&other| needs(other)));
    all
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tch::{Device, Kind, Tensor};

    use super::*;

    const ZEN3: &[&str] = &["sse4_1", "avx", "avx2"];

    #[test]
    fn the_widest_set_within_the_bound_is_found() {
        let sapphire_rapids = needs(9);
        let alder_lake = needs(3);
        for (flags, most, set) in [
            (ZEN3, None, Some("AVX2")),
            (ZEN3, Some("AVX512_CORE_AMX"), Some("AVX2")),
            (ZEN3, Some("avx"), Some("AVX")),
            (&sapphire_rapids, None, Some("AVX10_1_512_AMX")),
            (&sapphire_rapids, Some("AVX2"), Some("AVX2")),
            (
                &sapphire_rapids,
                Some("AVX512_CORE_FP16"),
                Some("AVX10_1_512"),
            ),
            (&sapphire_rapids, Some("AVX2_VNNI_2"), Some("AVX2_VNNI")),
            (&sapphire_rapids, Some("unknown"), Some("AVX10_1_512_AMX")),
            // What is bound by a set without `avx_vnni` does not use that.
            (&alder_lake, Some("AVX512_CORE"), Some("AVX2")),
            (&alder_lake, Some("AVX512_CORE_AMX"), Some("AVX2_VNNI")),
            (&[], None, None),
        ] {
            assert_eq!(onednn(flags, most), set, "{most:?}");
        }
    }

    /// Not a test by itself: a convolution, before which oneDNN says what it is.
    #[test]
    #[ignore = "run by the one below, in a process of its own"]
    fn convolve() {
        let options = (Kind::Float, Device::Cpu);
        let (images, weights) = (
            Tensor::ones([16, 16, 16, 16], options),
            Tensor::ones([16, 16, 3, 3], options),
        );
        let _ = images.conv2d(&weights, None::<&Tensor>, 1, 1, 1, 1);
        println!("facts: {:?}", facts());
    }

    #[test]
    fn onednn_and_aten_say_the_same_of_themselves() {
        let flags = cpuinfo();
        let flags = super::flags(&flags);
        if flags.is_empty() {
            // Not an x86 processor under Linux: nothing is claimed of oneDNN.
            assert!(!facts().contains_key("oneDNN"));
            return;
        }
        for (most, capability) in [
            ("", None),
            ("SSE41", Some("DEFAULT")),
            ("AVX2", Some("AVX2")),
            ("AVX512_CORE", None),
            ("AVX512_CORE_BF16", None),
            ("AVX512_CORE_FP16", None),
        ] {
            let mut child = Command::new(env::current_exe().unwrap());
            child.args([
                "--ignored",
                "--exact",
                "--nocapture",
                "processor::tests::convolve",
            ]);
            child
                .env("ONEDNN_VERBOSE", "1")
                .env("ONEDNN_MAX_CPU_ISA", most);
            child.env_remove("ATEN_CPU_CAPABILITY");
            if let Some(capability) = capability {
                child.env("ATEN_CPU_CAPABILITY", capability.to_lowercase());
            }
            let output = child.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let said = text
                .lines()
                .find_map(|line| line.split_once("info,cpu,isa:"))
                .map(|(_, said)| said.trim())
                .unwrap_or_else(|| panic!("oneDNN says nothing: {text}"));
            let known = onednn(&flags, Some(most)).unwrap();
            let words = match known {
                "SSE41" => "Intel SSE4.1",
                "AVX" => "Intel AVX",
                "AVX2" => "Intel AVX2",
                "AVX2_VNNI" => "Intel AVX2 with Intel DL Boost",
                "AVX2_VNNI_2" => "Intel AVX2 with Intel DL Boost, float16 and bfloat16 support",
                "AVX512_CORE" => "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions",
                "AVX512_CORE_VNNI" => "Intel AVX-512 with Intel DL Boost",
                "AVX512_CORE_BF16" => "Intel AVX-512 with Intel DL Boost and bfloat16 support",
                "AVX10_1_512" => "Intel AVX 10.1",
                "AVX10_1_512_AMX" => {
                    "Intel AVX10.1 and Intel AMX with bfloat16 and 8-bit integer support"
                }
                "AVX10_1_512_AMX_FP16" => {
                    "Intel AVX10.1 and Intel AMX with bfloat16, float16 and 8-bit integer support"
                }
                other => panic!("{other}"),
            };
            assert_eq!(said, words, "ONEDNN_MAX_CPU_ISA={most}");
            assert!(text.contains(&format!(r#""oneDNN": "{known}""#)), "{text}");
            if let Some(capability) = capability
                && flags.contains(&"avx2")
            {
                assert!(
                    text.contains(&format!(r#""ATen": "{capability}""#)),
                    "{text}"
                );
            }
        }
    }
}
