//! `[environments]`: what programs run in.

use super::node::{Located, Node};
use super::problem::Problem;
use super::reader::Reader;
use super::{Environment, Workflow};

/// The programs that run images.
const ENGINES: [&str; 3] = ["podman", "docker", "apptainer"];

impl Reader<'_> {
    pub fn environments(&mut self, workflow: &mut Workflow, node: Node) {
        for (name, node) in self.table("`[environments]`", node) {
            self.name(&name);
            let before = self.problems.count();
            let environment = self.environment(&name, node);
            if self.problems.count() > before {
                workflow.damaged_environments.insert(name.value.clone());
            }
            if let Some(environment) = environment {
                workflow.environments.push((name, environment));
            }
        }
    }

    fn environment(&mut self, name: &Located<String>, node: Node) -> Option<Environment> {
        let within = format!("`environments.{}`", name.value);
        let (mut venv, mut conda, mut image) = (None, None, None);
        let (mut lock, mut engine) = (None, None);
        let before = self.problems.count();
        for (key, node) in self.table(&within, node) {
            let slot = match key.value.as_str() {
                "venv" => &mut venv,
                "conda" => &mut conda,
                "image" => &mut image,
                "lock" => &mut lock,
                "engine" => &mut engine,
                _ => {
                    let known = ["venv", "conda", "image", "lock", "engine"];
                    self.unknown(&key, &within, &known);
                    continue;
                }
            };
            let text = self.string(&format!("`{}`", key.value), node);
            if let Some(text) = text {
                self.no_reference("an environment", &text);
                if text.value.trim().is_empty() {
                    let name = name.value.clone();
                    self.problems
                        .add(Problem::EnvironmentWithoutKind { name }, text.span);
                }
                *slot = Some((key, text));
            }
        }
        if self.problems.count() > before {
            return None;
        }
        let mut misplaced = |key: Option<(Located<String>, Located<String>)>, belongs| {
            if let Some((key, _)) = key {
                let key_text = key.value.clone();
                let problem = Problem::NotForThisEnvironment {
                    key: key_text,
                    belongs,
                };
                self.problems.add(problem, key.span);
            }
        };
        match (venv, conda, image) {
            (Some((_, folder)), None, None) => {
                misplaced(engine, "image");
                Some(Environment::Venv {
                    folder: folder.value,
                    lock: lock.map(|(_, lock)| lock.value),
                })
            }
            (None, Some((_, file)), None) => {
                misplaced(engine, "image");
                misplaced(lock, "venv");
                Some(Environment::Conda { lock: file.value })
            }
            (None, None, Some((_, image))) => {
                misplaced(lock, "venv");
                self.image(image, engine.map(|(_, engine)| engine))
            }
            _ => {
                let name_text = name.value.clone();
                self.problems.add(
                    Problem::EnvironmentWithoutKind { name: name_text },
                    name.span,
                );
                None
            }
        }
    }

    fn image(
        &mut self,
        image: Located<String>,
        engine: Option<Located<String>>,
    ) -> Option<Environment> {
        let is_file = image.value.ends_with(".sif");
        if let Some(engine) = &engine
            && !ENGINES.contains(&engine.value.as_str())
        {
            self.unknown_word("`engine`", engine, &ENGINES);
            return None;
        }
        if let Some(engine) = engine
            .as_ref()
            .filter(|e| is_file && e.value != "apptainer")
        {
            self.unknown_word("`engine` of an apptainer file", engine, &["apptainer"]);
            return None;
        }
        if !is_file && !has_digest(&image.value) {
            let image_text = image.value.clone();
            let problem = Problem::ImageWithoutDigest { image: image_text };
            self.problems.add(problem, image.span);
            return None;
        }
        let usual = if is_file { "apptainer" } else { "podman" };
        Some(Environment::Image {
            engine: engine.map_or_else(|| usual.into(), |engine| engine.value),
            image: image.value,
        })
    }
}

/// Whether an image is named by its content: `NAME@sha256:` and 64 digits.
fn has_digest(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(name, digest)| {
        let hexadecimal = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        !name.is_empty() && digest.len() == 64 && digest.chars().all(hexadecimal)
    })
}
