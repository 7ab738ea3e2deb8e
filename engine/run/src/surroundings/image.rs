//! Container images by digest, run by podman, docker or apptainer.

use std::ffi::OsString;
use std::path::Path;

use flow_cache::Digest;

use super::seen::Seen;
use super::{Place, Problem, Start, Started, Surroundings};

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

/// The program in a container: the stage's folder under its fixed path, inputs elsewhere under their own, to be read.
pub(super) fn wrap(engine: &str, image: &str, started: Started, place: &Place<'_>) -> Started {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    let text = |path: &Path| path.display().to_string();
    let (folder, seen_as) = (text(place.folder), text(place.seen_as));
    let own = |name: &String| !["PATH", "HOME", "TMPDIR", "SHELL"].contains(&name.as_str());
    let environment = started.environment.iter().filter(|(name, _)| own(name));
    if engine == "apptainer" {
        add(&[
            "exec",
            "--containall",
            "--no-home",
            "--cleanenv",
            "--pwd",
            &seen_as,
        ]);
        add(&["--bind", &format!("{folder}:{seen_as}")]);
        for input in place.inputs {
            add(&["--bind", &format!("{0}:{0}:ro", text(input))]);
        }
        if !place.network {
            add(&["--net", "--network", "none"]);
        }
        for (name, value) in environment {
            add(&["--env", &format!("{name}={value}")]);
        }
    } else {
        // `--init` hands signals on, and ends what the program leaves behind.
        add(&[
            "run",
            "--rm",
            "--interactive",
            "--init",
            "--workdir",
            &seen_as,
        ]);
        // Files belong to the user and not to whoever the image has.
        match engine {
            "podman" if rustix::process::geteuid().is_root() => {}
            "podman" => add(&["--userns", "keep-id"]),
            _ => {
                let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
                add(&["--user", &format!("{}:{}", user.as_raw(), group.as_raw())]);
            }
        }
        add(&["--mount", &bind(&folder, &seen_as, "")]);
        for input in place.inputs {
            let input = text(input);
            add(&["--mount", &bind(&input, &input, ",readonly")]);
        }
        if !place.network {
            add(&["--network", "none"]);
        }
        for (name, value) in environment {
            add(&["--env", &format!("{name}={value}")]);
        }
        // What the image starts by itself is no part of the command.
        add(&["--entrypoint", ""]);
    }
    add(&[image]);
    arguments.push(started.program);
    arguments.extend(started.arguments);
    Started {
        program: engine.into(),
        arguments,
        environment: started.environment,
    }
}

/// The words of a mount: a line of CSV, so that a path may have a comma.
fn bind(source: &str, target: &str, more: &str) -> String {
    let field = |name: &str, path: &str| {
        let field = format!("{name}={path}");
        match field.contains([',', '"']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        }
    };
    format!(
        "type=bind,{},{}{more}",
        field("source", source),
        field("target", target)
    )
}
