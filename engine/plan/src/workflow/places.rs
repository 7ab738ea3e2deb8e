//! What has a place in a stage's folder, and how two of them can be in each other's way.

use std::fmt;

/// What has a place in a stage's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The input of a role.
    Input(String),
    /// A file of `files`, by its path.
    File(String),
    /// The output of a role.
    Output(String),
    /// The folder of `checkpoints`.
    Checkpoints,
    /// The scratch folder.
    Work,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Input(role) => write!(f, "the input `{role}`"),
            Owner::File(path) => write!(f, "the file `{path}` of `files`"),
            Owner::Output(role) => write!(f, "the output `{role}`"),
            Owner::Checkpoints => write!(f, "the folder of `checkpoints`"),
            Owner::Work => write!(f, "the scratch folder `${{work}}`"),
        }
    }
}

/// Two things that can't both lie in a stage's folder. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's text says what it and its fields are"
)]
pub enum Conflict {
    #[error("{}", same(.owner, .other, .path))]
    Same {
        owner: Owner,
        other: Owner,
        path: String,
    },
    #[error("{owner} would lie at `{path}`, inside {other} at `{other_path}`")]
    Inside {
        owner: Owner,
        path: String,
        other: Owner,
        other_path: String,
    },
    #[error("{owner} is `{path}`, and {other} lies at `{other_path}` when the stage starts")]
    OutputTaken {
        owner: Owner,
        path: String,
        other: Owner,
        other_path: String,
    },
    #[error("{owner} is `{path}`, inside {other} at `{other_path}`, where nothing can be written")]
    OutputInside {
        owner: Owner,
        path: String,
        other: Owner,
        other_path: String,
    },
    #[error("{owner} may be several files, and `{path}` is the place of one")]
    Several { owner: Owner, path: String },
}

fn same(owner: &Owner, other: &Owner, path: &str) -> String {
    if owner == other {
        return format!("two files of {owner} would lie at `{path}`");
    }
    format!("{owner} and {other} would both lie at `{path}`")
}

impl Conflict {
    /// The one that it is said of.
    pub fn owner(&self) -> &Owner {
        match self {
            Conflict::Same { owner, .. }
            | Conflict::Inside { owner, .. }
            | Conflict::OutputTaken { owner, .. }
            | Conflict::OutputInside { owner, .. }
            | Conflict::Several { owner, .. } => owner,
        }
    }

    /// What is in its way, where that is something else.
    pub fn other(&self) -> Option<&Owner> {
        match self {
            Conflict::Same { other, .. }
            | Conflict::Inside { other, .. }
            | Conflict::OutputTaken { other, .. }
            | Conflict::OutputInside { other, .. } => Some(other),
            Conflict::Several { .. } => None,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Conflict::Same { owner, other, .. } if owner == other => {
                "leave out `as`, or name the files as inputs of their own".into()
            }
            Conflict::Same { .. } => {
                "give one of them another place: role = { path = \"…\", as = \"other/place\" }"
                    .into()
            }
            Conflict::Inside { .. } => {
                "give one of them another place with `as`, or leave it out where the folder has it"
                    .into()
            }
            Conflict::OutputTaken { .. } => {
                "an output's path is free when the stage starts: write the output elsewhere, or lay \
                 the input elsewhere with `as`"
                    .into()
            }
            Conflict::OutputInside {
                other: Owner::Input(role),
                ..
            } => format!(
                "write the output elsewhere, or let the stage have a copy that it may write to: \
                 {role} = {{ …, writable = true }}"
            ),
            Conflict::OutputInside { .. } => "write the output elsewhere".into(),
            Conflict::Several { path, .. } => {
                format!("end it with a slash: as = \"{path}/\" lays all of them into that folder")
            }
        }
    }
}
