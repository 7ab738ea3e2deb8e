//! The variables of a stage: a few of flow's own, some that are fixed, what the workflow declares.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use flow_plan::plan::Variables;

/// What a stage may inherit undeclared: where programs, homes, temporary files and certificates are, proxies, the activated
/// environment. docs/language.md names them.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
];

/// What of it says something inside a container too.
const INHERITED_BY_CONTAINERS: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// What plugins inherit beside it: where they were installed with it, they can't start without.
const INHERITED_BY_PLUGINS: &[&str] = &["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// The same on every machine: language and time zone decide how a program sorts, and how it writes numbers and dates.
const FIXED: &[(&str, &str)] = &[
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("PYTHONHASHSEED", "0"),
    ("PYTHONUNBUFFERED", "1"),
    // Two OpenMP pools that spin on the same cores are five to ten times slower than two that sleep. GNU's, which libtorch
    // has, spins for about as long as going to sleep and waking costs: what that gains and costs is in docs/training-speed.md.
    ("OMP_WAIT_POLICY", "PASSIVE"),
    ("GOMP_SPINCOUNT", "10000"),
];

/// Variables that bind the thread pools in use to the stage's budget.
const THREADS: &[&str] = &[
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
];

/// Who gets the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For<'a> {
    /// A plugin.
    Plugin,
    /// A program of the user's.
    Program {
        /// The folder in which git looks for no repository, nor above it: the one around the stage's, where nothing else keeps
        /// it from looking there.
        ceiling: Option<&'a Path>,
    },
    /// A program of the user's in a container, which has its own places of programs, homes and certificates.
    Container,
}

/// All variables of a stage: what is listed here, what is declared, and its share of the machine: a number of threads, and
/// the GPUs that it may see. What the workflow sets wins over all others; what it passes on, over all but the share.
pub fn environment(
    whose: For<'_>,
    variables: &Variables,
    threads: u32,
    gpus: &[String],
) -> Vec<(OsString, OsString)> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    let none: &[&str] = &[];
    let (inherited, more) = match whose {
        For::Plugin => (INHERITED, INHERITED_BY_PLUGINS),
        For::Program { .. } => (INHERITED, none),
        For::Container => (INHERITED_BY_CONTAINERS, none),
    };
    let inherited = inherited.iter().chain(more);
    let fixed = FIXED.iter().map(|(name, value)| (*name, *value));
    all.extend(fixed.map(|(name, value)| (name.into(), value.into())));
    if whose != For::Plugin {
        all.insert("PYTHONNOUSERSITE".into(), "1".into());
    }
    if let For::Program { ceiling } = whose {
        all.extend(ceiling.map(|path| ("GIT_CEILING_DIRECTORIES".into(), path.into())));
    }
    let declared = variables.passed.iter().chain(&variables.secret);
    for name in inherited.copied().chain(declared.map(String::as_str)) {
        all.extend(std::env::var_os(name).map(|value| (name.into(), value)));
    }
    for name in THREADS {
        all.insert(name.into(), threads.to_string().into());
    }
    // None where the stage has none, so that no two stages share one unasked.
    all.insert("CUDA_VISIBLE_DEVICES".into(), gpus.join(",").into());
    let set = variables.set.iter();
    all.extend(set.map(|(name, value)| (name.into(), value.into())));
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(whose: For<'_>, variables: &Variables) -> BTreeMap<String, String> {
        environment(whose, variables, 3, &["1".into(), "4".into()])
            .into_iter()
            .map(|(n, v)| (n.into_string().unwrap(), v.into_string().unwrap()))
            .collect()
    }

    #[test]
    fn a_stage_gets_what_is_listed_and_declared_and_nothing_else() {
        // Cargo sets these for its tests.
        let passed = vec!["CARGO_PKG_NAME".to_string(), "NOT_SET".into()];
        let secret = vec!["CARGO_PKG_VERSION".to_string()];
        let set = BTreeMap::from([
            ("LC_ALL".to_string(), "de_DE".to_string()),
            ("OMP_NUM_THREADS".into(), "7".into()),
        ]);
        let program = For::Program {
            ceiling: Some(Path::new("/a")),
        };
        let found = names(
            program,
            &Variables {
                passed,
                set,
                secret,
            },
        );
        let is = |name: &str, value: &str| assert_eq!(found[name], value, "{name}");
        is("CARGO_PKG_NAME", "flow-run");
        is("CARGO_PKG_VERSION", env!("CARGO_PKG_VERSION"));
        is("LC_ALL", "de_DE");
        is("TZ", "UTC");
        is("OMP_NUM_THREADS", "7");
        is("RAYON_NUM_THREADS", "3");
        is("CUDA_VISIBLE_DEVICES", "1,4");
        is("GIT_CEILING_DIRECTORIES", "/a");
        is("PYTHONNOUSERSITE", "1");
        for absent in ["NOT_SET", "CARGO_MANIFEST_DIR", "LANG", "LD_LIBRARY_PATH"] {
            assert!(!found.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn plugins_keep_where_libraries_and_users_packages_are() {
        let found = names(For::Plugin, &Variables::default());
        let library_path = std::env::var("LD_LIBRARY_PATH").ok();
        assert_eq!(found.get("LD_LIBRARY_PATH"), library_path.as_ref());
        assert!(!found.contains_key("PYTHONNOUSERSITE"));
        assert_eq!(found["LC_ALL"], "C.UTF-8");
    }
}
