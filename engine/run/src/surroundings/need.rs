//! What a stage needs of the machine beside its inputs, as plain data, and what is found of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flow_cache::Store;
use flow_plan::plan::{Environment, Instance, Origin, Spans, Task, Variables};
use flow_plan::workflow::Span;
use serde::{Deserialize, Serialize};

use super::{Problem, Surroundings, resolve, tools};
use crate::process::environment::{For, environment};

/// What a stage's program needs: the same for all instances that say the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Need {
    environment: Option<Environment>,
    tools: BTreeMap<String, Option<String>>,
    /// Variables that tools are asked with: names that are passed on, and values.
    passed: Vec<String>,
    set: BTreeMap<String, String>,
    /// Where its own inputs are, from which a virtual environment may link code.
    inputs: Vec<PathBuf>,
}

/// What is found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What it runs in, if not in the surroundings of flow.
    pub environment: Option<Surroundings>,
    /// What stands in the key for each tool.
    pub tools: BTreeMap<String, String>,
}

impl Need {
    /// What an instance needs; none where it needs nothing. Paths are relative to `root`.
    pub fn of(instance: &Instance, root: &Path) -> Option<Need> {
        let Task::Command(program) = &instance.task else {
            return None;
        };
        if program.environment.is_none() && program.tools.is_empty() {
            return None;
        }
        let (mut passed, mut set, mut inputs) = (Vec::new(), BTreeMap::new(), Vec::new());
        if !program.tools.is_empty() {
            passed.clone_from(&instance.env.passed);
            // What is known only when the stage starts says nothing of a tool.
            let known = instance.env.set.iter().filter_map(|(name, text)| {
                let only = Variables {
                    set: BTreeMap::from([(name.clone(), text.clone())]),
                    ..Variables::default()
                };
                only.values(|_| Err(())).ok()
            });
            set.extend(known.flatten());
        }
        if matches!(program.environment, Some(Environment::Venv { .. })) {
            for input in &instance.inputs {
                if let Origin::Path { files, .. } = &input.origin {
                    inputs.extend(files.patterns.iter().map(|pattern| root.join(pattern)));
                }
            }
        }
        Some(Need {
            environment: program.environment.clone(),
            tools: program.tools.clone(),
            passed,
            set,
            inputs,
        })
    }

    /// What there is of it on this machine.
    ///
    /// # Errors
    /// What is wrong, and where the workflow names it.
    pub fn find(
        &self,
        root: &Path,
        spans: &Spans,
        store: &Store,
    ) -> Result<Found, (Option<Span>, Problem)> {
        let found = self.environment.as_ref();
        let found = found.map(|environment| resolve(environment, root, &self.inputs, store));
        let found = found.transpose().map_err(|why| (spans.environment, why))?;
        let variables = Variables {
            passed: self.passed.clone(),
            set: self.set.clone(),
            secret: Vec::new(),
        };
        let whose = match &found {
            Some(surroundings) if surroundings.is_container() => For::Container,
            _ => For::Program { ceiling: None },
        };
        let clean = environment(whose, &variables, 1, &[]);
        let values = self.tools.iter().map(|(name, command)| {
            let value = tools::value(name, command.as_deref(), &clean, found.as_ref(), store);
            Ok((name.clone(), value.map_err(|why| (spans.tools, why))?))
        });
        Ok(Found {
            tools: values.collect::<Result<_, _>>()?,
            environment: found,
        })
    }
}
