//! What a program's inputs stand for, and where their content is taken from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::Output;
use flow_plan::plan::Files;
use flow_plan::plan::layout::{self, Form, Found, Given, Member};

use crate::record::external::{External, take_in};
use crate::record::places;
use crate::request::Source;
use crate::site::Site;

/// One file or folder that an input stands for.
#[derive(Debug, Clone)]
pub enum Content {
    /// In the store.
    Stored(Output),
    /// The user's own, too large to be taken in.
    Own {
        /// Where it is.
        path: PathBuf,
        /// What it was when it was found.
        content: Output,
        /// How it was named.
        files: Files,
    },
}

/// What each input stands for. Small files of the user's are taken into the store, where nobody did that before.
///
/// # Errors
/// Where one of them changed since it was found.
pub fn of(site: &Site<'_>) -> Result<BTreeMap<String, Vec<Content>>> {
    let mut all = BTreeMap::new();
    for input in &site.request.inputs {
        let contents = match &input.source {
            Source::Result(made) => vec![Content::Stored(made.stored.clone())],
            Source::Collected(all) | Source::Named(all) => {
                let stored = all.iter().map(|made| made.stored.clone());
                stored.map(Content::Stored).collect()
            }
            Source::Path {
                files,
                paths,
                contents,
                ..
            } => {
                let found = paths.iter().zip(contents);
                let found = found.map(|(path, content)| own(site, files, path, content));
                found.collect::<Result<_>>()?
            }
        };
        all.insert(input.role.clone(), contents);
    }
    Ok(all)
}

fn own(site: &Site<'_>, files: &Files, path: &Path, content: &Output) -> Result<Content> {
    if !External::is_small(content) {
        return Ok(Content::Own {
            path: path.to_path_buf(),
            content: content.clone(),
            files: files.clone(),
        });
    }
    if site.inputs.check(content).is_err() {
        take_in(files, path, content, &site.request.folder, site.inputs)?;
    }
    Ok(Content::Stored(content.clone()))
}

/// The same, as the layout takes it.
///
/// # Errors
/// Where a folder can't be listed.
pub fn given<'a>(
    site: &Site<'a>,
    contents: &BTreeMap<String, Vec<Content>>,
) -> Result<Vec<Given<'a>>> {
    let request = site.request;
    let given = request.inputs.iter().map(|input| {
        let contents = contents.get(&input.role).map_or(&[][..], Vec::as_slice);
        let form = |i: usize, path: &str| {
            let inside = places::is_spread(input.place.as_deref(), path);
            form(site, contents.get(i), inside)
        };
        let content = match &input.source {
            Source::Path { files, paths, .. } => {
                let found = paths.iter().enumerate().map(|(i, path)| {
                    let path = places::named(&request.folder, path)
                        .with_context(|| format!("{} is not valid UTF-8", path.display()))?;
                    let form = form(i, &path)?;
                    Ok(Found { path, form })
                });
                layout::Content::Paths {
                    found: found.collect::<Result<_>>()?,
                    several: files.is_several(),
                }
            }
            Source::Result(made) => layout::Content::Output(Found {
                path: made.name.clone(),
                form: form(0, &made.name)?,
            }),
            Source::Collected(all) | Source::Named(all) => {
                let found = all.iter().enumerate().map(|(i, made)| {
                    Ok(Member {
                        point: made.point.clone(),
                        output: made.output.clone(),
                        found: Found {
                            path: made.name.clone(),
                            form: form(i, &made.name)?,
                        },
                    })
                });
                layout::Content::Gathered(found.collect::<Result<_>>()?)
            }
        };
        Ok(Given {
            role: &input.role,
            place: input.place.as_deref(),
            writable: input.writable,
            content,
        })
    });
    given.collect()
}

/// What is known of a content. What lies in a folder is asked for only where that decides places.
fn form(site: &Site<'_>, content: Option<&Content>, inside: bool) -> Result<Form> {
    let stored = match content {
        Some(
            Content::Stored(stored)
            | Content::Own {
                content: stored, ..
            },
        ) => stored,
        None => return Ok(Form::Unknown),
    };
    match (stored.folder, inside) {
        (false, _) => Ok(Form::File),
        (true, false) => Ok(Form::Folder(Vec::new())),
        (true, true) => Ok(Form::Folder(match content {
            Some(Content::Own { path, files, .. }) => places::names(files, path)?,
            _ => site.inputs.names(stored)?,
        })),
    }
}
