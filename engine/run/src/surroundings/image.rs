//! Container images by digest, run by podman, docker or apptainer.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin, stdout};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use flow_cache::Digest;

use super::seen::Seen;
use super::{Problem, Start, Surroundings};
use crate::process::{Launch, Mount};

/// What an image is, and what tells that it is the same.
pub(super) fn resolve(
    engine: &str,
    image: &str,
    root: &Path,
) -> Result<(Surroundings, Vec<Seen>), Problem> {
    let by_digest = image.rsplit_once("@sha256:").filter(|(_, digest)| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    let (content, image, seen) = match (engine, by_digest) {
        ("podman" | "docker" | "apptainer", Some((_, digest))) => {
            let image = match engine {
                "apptainer" => format!("docker://{image}"),
                _ => image.to_string(),
            };
            (format!("sha256:{digest}"), image, Vec::new())
        }
        ("apptainer", None) => {
            let file = root.join(image);
            let seen = Seen::now(&file);
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_mmap_rayon(&file)
                .map_err(Problem::reading(&file))?;
            let content = hasher.finalize().to_hex().to_string();
            (content, file.display().to_string(), vec![seen])
        }
        ("podman" | "docker", None) => {
            return Err(Problem::Wrong(format!(
                "the image {image} is not named by digest, so that it may be another one tomorrow: write NAME@sha256:…, as \
                 `{engine} image inspect --format '{{{{index .RepoDigests 0}}}}' {image}` shows it"
            )));
        }
        _ => {
            return Err(Problem::Wrong(format!(
                "there is no container engine `{engine}`; podman, docker and apptainer are known"
            )));
        }
    };
    let surroundings = Surroundings {
        // Which program runs it decides nothing.
        digest: Digest::of_bytes(format!("image 1\n{content}").as_bytes()),
        start: Start::Image {
            engine: engine.into(),
            image,
        },
    };
    Ok((surroundings, seen))
}

/// The command in a container that sees of the machine what its confinement names, and nothing else.
pub(super) fn enter(
    engine: &str,
    image: &str,
    launch: Launch,
    work: Option<&Path>,
) -> Result<Launch, Problem> {
    let mut boxed = Launch::with_own_environment(engine);
    boxed.held = launch.held;
    boxed.at_terminal = launch.at_terminal;
    boxed.folder = "/".into();
    let gpus = launch.environment.iter();
    let has_gpus = gpus
        .filter(|(name, _)| name == "CUDA_VISIBLE_DEVICES")
        .any(|(_, gpus)| !gpus.is_empty());
    let mut variables = Vec::new();
    for (name, value) in launch.environment {
        // A secret, which is passed on as it is, stands on no command line.
        if std::env::var_os(&name).is_some_and(|own| own == value) {
            variables.push(name);
        } else {
            variables.push(joined([&name, OsStr::new("="), &value]));
        }
    }
    let network = launch.confinement.as_ref().is_none_or(|own| own.network);
    let mounts = launch.confinement.into_iter().flat_map(|own| own.mounts);
    let mounts = mounts.filter_map(|mount| match mount {
        Mount::Bind {
            from,
            to,
            read_only,
        } => Some((from, to, read_only)),
        Mount::Cover { .. } => None,
    });
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&OsStr]| arguments.extend(words.iter().map(OsString::from));
    let word = OsStr::new;
    let folder = launch.folder.as_os_str();
    if engine == "apptainer" {
        let kept = ["exec", "--containall", "--no-home", "--cleanenv", "--pwd"];
        add(&kept.map(word));
        add(&[folder]);
        for (from, to, read_only) in mounts {
            let access = if read_only { ":ro" } else { "" };
            let bind = [from.as_os_str(), word(":"), to.as_os_str(), word(access)];
            sound(&from, ':')?;
            add(&[word("--bind"), &joined(bind)]);
        }
        if !network {
            add(&["--net", "--network", "none"].map(word));
        }
        if has_gpus {
            add(&["--nv"].map(word));
        }
        // It hands on what is called so, and by `--cleanenv` nothing else.
        for (name, value) in boxed.environment.clone() {
            if variables.contains(&name) {
                let name = joined([word("APPTAINERENV_"), &name]);
                boxed.environment.push((name, value));
            }
        }
        for variable in variables.iter().filter(|v| has(v, b'=')) {
            add(&[word("--env"), variable]);
        }
    } else {
        // `--init` hands signals on, and ends what the program leaves behind.
        let kept = ["run", "--rm", "--interactive", "--init", "--workdir"];
        add(&kept.map(word));
        add(&[folder]);
        // What apptainer starts has flow's own terminal anyway.
        if launch.at_terminal && stdin().is_terminal() && stdout().is_terminal() {
            add(&[word("--tty")]);
        }
        if let (Some(work), "podman") = (work, engine) {
            let name = Digest::of_bytes(work.as_os_str().as_encoded_bytes());
            let name = format!("flow-{name}");
            add(&["--replace", "--name", &name].map(word));
        }
        // Files belong to the user and not to whoever the image has.
        match engine {
            "podman" if rustix::process::geteuid().is_root() => {}
            "podman" => add(&["--userns", "keep-id"].map(word)),
            _ => {
                let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
                let user = format!("{}:{}", user.as_raw(), group.as_raw());
                add(&["--user", &user].map(word));
            }
        }
        for (from, to, read_only) in mounts {
            let access = if read_only { ",readonly" } else { "" };
            let mount = joined([
                word("type=bind,"),
                &field("source", &from),
                word(","),
                &field("target", &to),
                word(access),
            ]);
            add(&[word("--mount"), &mount]);
        }
        // All of them; CUDA_VISIBLE_DEVICES says which are the stage's.
        match engine {
            _ if !has_gpus => {}
            "podman" => add(&["--device", "nvidia.com/gpu=all"].map(word)),
            _ => add(&["--gpus", "all"].map(word)),
        }
        // The network is there as it is for every stage, or not at all.
        add(&["--network", if network { "host" } else { "none" }].map(word));
        for variable in &variables {
            add(&[word("--env"), variable]);
        }
        // What the image starts by itself is no part of the command.
        add(&["--entrypoint", ""].map(word));
    }
    add(&[word(image), &launch.program]);
    arguments.extend(launch.arguments);
    boxed.arguments = arguments;
    Ok(boxed)
}

/// That a path can stand in an option whose parts are told apart by this sign.
fn sound(path: &Path, sign: char) -> Result<(), Problem> {
    if !has(path.as_os_str(), sign as u8) {
        return Ok(());
    }
    Err(Problem::Wrong(format!(
        "{} can't be mounted into a container, for its name has `{sign}`: rename it",
        path.display()
    )))
}

fn has(text: &OsStr, byte: u8) -> bool {
    text.as_encoded_bytes().contains(&byte)
}

fn joined<const N: usize>(parts: [&OsStr; N]) -> OsString {
    let mut all = OsString::new();
    parts.iter().for_each(|part| all.push(part));
    all
}

/// A word of a mount, which is a line of CSV: a path may have a comma.
fn field(name: &str, path: &Path) -> OsString {
    let mut field = joined([OsStr::new(name), OsStr::new("="), path.as_os_str()]);
    if has(&field, b',') || has(&field, b'"') {
        let mut quoted = Vec::from(b"\"");
        for byte in field.as_encoded_bytes() {
            quoted.extend(std::iter::repeat_n(
                *byte,
                if *byte == b'"' { 2 } else { 1 },
            ));
        }
        quoted.push(b'"');
        field = OsString::from_vec(quoted);
    }
    field
}
