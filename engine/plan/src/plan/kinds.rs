//! The stage kinds that a plan is made with: what plugins said of them, without the plugins themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use flow_stage::protocol::KindDescription;
use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::parameters::complete;
use crate::workflow::Problem;

/// The stage kinds at hand, by name.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// By the kind's name, then by the plugin's.
    kinds: BTreeMap<(String, String), Kind>,
    /// Plugins that were found and could not be used, with the cause.
    pub broken: Vec<(PathBuf, String)>,
}

/// A stage kind and the plugin that has it.
#[derive(Debug)]
pub struct Kind {
    /// What the plugin says of it.
    pub description: KindDescription,
    /// The plugin's executable.
    pub program: PathBuf,
    /// The plugin's name and version, for provenance.
    pub plugin: String,
    /// The digest of the plugin's code, for provenance.
    pub digest: String,
    /// The files that the digest is of, where that is more than the plugin's own.
    pub code: Vec<Code>,
    /// What goes into the key, but for [`Kind::version_with`]: the declared version, else the digest of the plugin's file.
    /// Of a plugin whose code is known, both.
    pub version: String,
    /// What the plugin is called in `uses`, before the slash.
    pub owner: String,
    origin: From,
    /// Whether another plugin has a kind of the same name.
    is_shared: bool,
    validators: OnceLock<Result<Validators, String>>,
}

/// Where a plugin was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Beside flow.
    Flow,
    /// Named by the workflow, or on the PATH.
    Elsewhere,
}

/// Why a name means no kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// There is none of this name; these there are.
    Unknown(Vec<String>),
    /// Several plugins have one; this is how to write which is meant.
    Ambiguous(Vec<String>),
}

impl Unresolved {
    /// What is wrong with `uses = "kind"`.
    pub fn problem(self, kind: &str) -> Problem {
        let kind = kind.into();
        match self {
            Unresolved::Unknown(known) => Problem::UnknownKind { kind, known },
            Unresolved::Ambiguous(known) => Problem::AmbiguousKind { kind, known },
        }
    }
}

/// A plugin's file, and what tells its results from those of another.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The executable.
    pub program: PathBuf,
    /// Name and version.
    pub name: String,
    /// The digest of the file, or of `code`.
    pub digest: String,
    /// The files that it is made of, where more than its own is known: then a version that it declares is no promise for all
    /// of them, and stands beside the digest.
    pub code: Vec<Code>,
    /// What it is called in `uses`, before the slash.
    pub owner: String,
    /// Where it was found.
    pub origin: From,
}

/// A file of a plugin's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// Its size, times and inode: while they are the same, so is its content.
    pub state: String,
    /// The digest of its content.
    pub digest: String,
}

/// A kind's schemas, ready for use.
#[derive(Debug)]
struct Validators {
    parameters: Validator,
    /// Of each revision, the highest first.
    revisions: Vec<(u32, Validator)>,
}

impl Validators {
    fn of(description: &KindDescription) -> Result<Validators, String> {
        let validator = |schema| jsonschema::validator_for(schema).map_err(|e| e.to_string());
        let mut revisions = Vec::new();
        for revision in &description.revisions {
            let when = validator(&revision.when)
                .map_err(|e| format!("revision {}: {e}", revision.version))?;
            revisions.push((revision.version, when));
        }
        revisions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        Ok(Validators {
            parameters: validator(&description.parameters)?,
            revisions,
        })
    }
}

/// What a version that a plugin declares comes to in the key.
fn declared(version: u32, digest: &str, code: &[Code]) -> String {
    match code {
        [] => version.to_string(),
        _ => format!("{version} with code {digest}"),
    }
}

impl Kind {
    fn new(plugin: &Plugin, description: KindDescription) -> Kind {
        let version = match description.version {
            Some(version) => declared(version, &plugin.digest, &plugin.code),
            None if plugin.code.is_empty() => format!("file {}", plugin.digest),
            None => format!("code {}", plugin.digest),
        };
        Kind {
            program: plugin.program.clone(),
            plugin: plugin.name.clone(),
            digest: plugin.digest.clone(),
            code: plugin.code.clone(),
            version,
            owner: plugin.owner.clone(),
            origin: plugin.origin,
            is_shared: false,
            validators: OnceLock::new(),
            description,
        }
    }

    /// Its name in plans and keys: the one that the plugin gives it, behind the plugin's own where another plugin has a kind of
    /// this name. Those beside flow are never renamed, so that their keys stay.
    pub fn name(&self) -> String {
        if self.is_shared && self.origin != From::Flow {
            return self.full_name();
        }
        self.description.name.clone()
    }

    /// The shortest name that `uses` may name it by.
    pub fn short_name(&self) -> String {
        if self.is_shared {
            return self.full_name();
        }
        self.description.name.clone()
    }

    /// How `uses` names it whatever other plugins there are: `mine/train`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.description.name)
    }

    /// The validator of its parameters.
    ///
    /// # Errors
    /// Where the plugin's schema is not a JSON Schema.
    pub fn validator(&self) -> Result<&Validator, &str> {
        let validators = self.validators()?;
        Ok(&validators.parameters)
    }

    /// What goes into the key of an action with these parameters, defaults filled in: the highest revision that is for
    /// them, else the kind's version.
    pub fn version_with(&self, parameters: &Map<String, Value>) -> String {
        if self.description.version.is_none() || self.description.revisions.is_empty() {
            return self.version.clone();
        }
        let parameters = Value::Object(parameters.clone());
        // A workflow is refused before where a schema is none.
        let revisions = self.validators().into_iter().flat_map(|v| &v.revisions);
        let mut fitting = revisions.filter(|(_, when)| when.is_valid(&parameters));
        fitting.next().map_or_else(
            || self.version.clone(),
            |(version, _)| declared(*version, &self.digest, &self.code),
        )
    }

    fn validators(&self) -> Result<&Validators, &str> {
        let validators = self
            .validators
            .get_or_init(|| Validators::of(&self.description));
        validators.as_ref().map_err(String::as_str)
    }

    /// These parameters with what the schema has defaults for, as a stage gets them.
    pub fn with_defaults(&self, parameters: Map<String, Value>) -> Map<String, Value> {
        let mut value = Value::Object(parameters);
        complete(&self.description.parameters, &mut value);
        match value {
            Value::Object(parameters) => parameters,
            _ => unreachable!("an object stays one"),
        }
    }

    /// The schema of one parameter.
    pub fn parameter(&self, name: &str) -> Option<&Value> {
        self.description.parameters.get("properties")?.get(name)
    }

    /// The names of its parameters.
    pub fn parameter_names(&self) -> Vec<String> {
        self.description
            .parameters
            .get("properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }
}

impl Catalogue {
    /// Adds the kinds of a plugin. Of two plugins that are called alike, the one that is added first counts.
    pub fn add(&mut self, plugin: &Plugin, descriptions: Vec<KindDescription>) {
        for description in descriptions {
            let mut kind = Kind::new(plugin, description);
            let name = kind.description.name.clone();
            let place = (name.clone(), kind.owner.clone());
            if self.kinds.contains_key(&place) {
                continue;
            }
            for other in self.kinds.values_mut() {
                if other.description.name == name {
                    other.is_shared = true;
                    kind.is_shared = true;
                }
            }
            self.kinds.insert(place, kind);
        }
    }

    /// The kind that `uses` means.
    ///
    /// # Errors
    /// Where there is none, or the name alone does not tell.
    pub fn resolve(&self, written: &str) -> Result<&Kind, Unresolved> {
        if let Some((owner, name)) = written.rsplit_once('/') {
            let found = self.kinds.get(&(name.into(), owner.into()));
            return found
                .ok_or_else(|| Unresolved::Unknown(self.kinds().map(Kind::full_name).collect()));
        }
        let mut found = self.called(written);
        match (found.next(), found.next()) {
            (Some(kind), None) => Ok(kind),
            (Some(_), Some(_)) => Err(Unresolved::Ambiguous(
                self.called(written).map(Kind::full_name).collect(),
            )),
            (None, _) => Err(Unresolved::Unknown(
                self.kinds().map(Kind::short_name).collect(),
            )),
        }
    }

    /// The stage kind of a name in a plan ([`Kind::name`]).
    pub fn get(&self, name: &str) -> Option<&Kind> {
        match name.rsplit_once('/') {
            Some((owner, bare)) => self.kinds.get(&(bare.into(), owner.into())),
            None => self.called(name).find(|kind| kind.name() == name),
        }
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    /// The kinds that plugins call so.
    fn called(&self, name: &str) -> impl Iterator<Item = &Kind> + use<'_> {
        let name = name.to_string();
        let found = self.kinds.range((name.clone(), String::new())..);
        let found = found.map(|(_, kind)| kind);
        found.take_while(move |kind| kind.description.name == name)
    }
}
