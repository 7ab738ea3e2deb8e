//! What a page shows as files for a paper: an SVG and a PNG for each figure, without a browser.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use flow_cache::Store;
use flow_figures::{Figure, figures};
use flow_run::plots::Drawn;
use flow_run::record::journal::file_name;
use flow_stage::view::Item;

use super::document::Document;
use super::items::Folder;

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// How many figures.
    pub figures: usize,
    /// Which were left out, and why: a sentence for each.
    pub left_out: Vec<String>,
}

/// Writes the figures of a document that is not complete yet into a folder: those of the sweep, then those of the stages,
/// named by them. A file of the same name is replaced.
///
/// # Errors
/// Where the folder can't be written.
pub fn write(document: &Document, store: &Store, folder: &Path) -> Result<Written> {
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let mut writer = Writer {
        folder,
        taken: BTreeSet::new(),
        written: Written::default(),
    };
    let sweep: Vec<Item> = document
        .figures
        .iter()
        .map(|figure| figure.chart.clone())
        .collect();
    let nothing = |name: &str| anyhow::bail!("there is no file {name}");
    writer.add("sweep", figures(&sweep, &nothing))?;
    for published in &document.published {
        let label = &document.stages[published.stage].label;
        let source = Folder::open(store, published)
            .and_then(|folder| Ok((folder.items(published)?, folder)));
        match source {
            Ok((found, files)) => {
                let mut items = Vec::new();
                for Drawn { title, item } in found {
                    match item {
                        Ok(item) => items.push(item),
                        Err(why) => writer
                            .written
                            .left_out
                            .push(format!("{label}: {title}: {why}")),
                    }
                }
                writer.add(label, figures(&items, &|name| files.read(name)))?
            }
            Err(error) => writer
                .written
                .left_out
                .push(format!("{label}.{}: {error:#}", published.name)),
        }
    }
    Ok(writer.written)
}

struct Writer<'a> {
    folder: &'a Path,
    taken: BTreeSet<String>,
    written: Written,
}

impl Writer<'_> {
    fn add(&mut self, label: &str, figures: Vec<Figure>) -> Result<()> {
        for figure in figures {
            let picture = match figure.picture {
                Ok(picture) => picture,
                Err(why) => {
                    self.written
                        .left_out
                        .push(format!("{label}: {}: {why}", figure.title));
                    continue;
                }
            };
            let mut name = format!("{}-{}", file_name(label), figure.name);
            while !self.taken.insert(name.clone()) {
                name.push('_');
            }
            for (extension, bytes) in [("svg", picture.svg.as_bytes()), ("png", &picture.png)] {
                let path = self.folder.join(format!("{name}.{extension}"));
                fs::write(&path, bytes)
                    .with_context(|| format!("{} can't be written", path.display()))?;
            }
            self.written.figures += 1;
        }
        Ok(())
    }
}
