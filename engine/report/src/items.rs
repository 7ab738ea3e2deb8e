//! What stages publish, read from the store: names of files become digests, and what can't be shown is said to be so.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flow_cache::{Digest, Output, Store};
use flow_run::plots::{self, Drawn, media};
use flow_stage::view::{self, Coordinates, Item, View};

use super::document::{Document, File, Form, Published, Shown};
use super::{document, rows};

/// A file of more bytes than this is not read: no page could hold it.
const MOST: u64 = 64 << 20;

/// Adds what its stages publish to a document.
pub(super) fn fill(document: &mut Document, store: &Store) {
    for published in std::mem::take(&mut document.published) {
        let (items, problem) = match items(store, &published, &mut document.files) {
            Ok(items) => (items, None),
            Err(error) => (Vec::new(), Some(format!("It can't be shown: {error:#}"))),
        };
        document.views.push(document::View {
            stage: published.stage,
            output: published.name,
            items,
            problem,
        });
    }
}

fn items(
    store: &Store,
    published: &Published,
    files: &mut BTreeMap<Digest, File>,
) -> Result<Vec<Shown>> {
    let folder = Folder::open(store, published)?;
    let items = folder.items(published)?.into_iter();
    let items = items.map(|Drawn { title, item }| {
        let text = String::new();
        let item = match item {
            Ok(item) => item,
            Err(why) => return cannot(Item::Text { title, text }, &why),
        };
        let unread = item.clone();
        shown(&folder, item, files)
            .unwrap_or_else(|error| cannot(without_data(unread), &format!("{error:#}")))
    });
    Ok(items.collect())
}

/// An item that says why it is not shown.
fn cannot(item: Item, why: &str) -> Shown {
    Shown {
        left_out: Some(format!("It can't be shown: {why}")),
        ..Shown::from(item)
    }
}

/// An item as the page shows it.
fn shown(folder: &Folder<'_>, item: Item, files: &mut BTreeMap<Digest, File>) -> Result<Shown> {
    let mut picture = |name: &mut String| -> Result<()> {
        let (digest, file) = folder.picture(name)?;
        files.entry(digest).or_insert(file);
        *name = digest.to_string();
        Ok(())
    };
    let mut shown = Shown::from(item);
    match &mut shown.item {
        Item::Image { file, .. } => picture(file)?,
        Item::Gallery(gallery) => picture(&mut gallery.sprite)?,
        Item::Thumbnails(thumbnails) => picture(&mut thumbnails.sprite)?,
        Item::VegaLite(chart) => rows::inline(&mut chart.spec, &|name| folder.read(name))?,
        Item::Points(points) => {
            let content = folder.read(&points.file)?;
            let coordinates = Coordinates::parse(&content)
                .map_err(|problem| anyhow!("{}: {problem}", points.file))?;
            let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
            ensure!(
                finite(&coordinates.x) && finite(&coordinates.y),
                "{} holds a point without a place",
                points.file
            );
            shown.points = Some(coordinates);
        }
        Item::Text { .. } | Item::Table(_) => {}
    }
    Ok(shown)
}

/// An item of which only its title is shown.
pub(super) fn without_data(item: Item) -> Item {
    let title = item.title().to_string();
    match item {
        Item::Thumbnails(mut thumbnails) => {
            thumbnails.row.clear();
            thumbnails.sprite.clear();
            Item::Thumbnails(thumbnails)
        }
        _ => Item::Text {
            title,
            text: String::new(),
        },
    }
}

/// The files of one `view` output, or of all outputs that plots are read from.
pub(super) struct Folder<'a> {
    store: &'a Store,
    files: BTreeMap<String, (Digest, u64)>,
}

impl<'a> Folder<'a> {
    /// Lists what is in it.
    pub fn open(store: &'a Store, published: &Published) -> Result<Folder<'a>> {
        let mut files = BTreeMap::new();
        for (_, file, output) in &published.outputs {
            if !output.folder {
                files.insert(file.clone(), (output.digest, output.size));
            }
            for (path, digest, size) in store.files(output)? {
                let name = match published.form {
                    Form::View => path,
                    Form::Plots(..) => plots::inside_of(file, &path),
                };
                files.insert(name, (digest, size));
            }
        }
        Ok(Folder { store, files })
    }

    /// What is shown of it, or why something is not.
    pub fn items(&self, published: &Published) -> Result<Vec<Drawn>> {
        let (own, dvclive) = match &published.form {
            Form::View => {
                let view = View::parse(&self.read(view::FILE)?);
                let view = view.map_err(|problem| anyhow!(problem))?;
                let items = view.items.into_iter().map(|item| Drawn {
                    title: item.title().into(),
                    item: Ok(item),
                });
                return Ok(items.collect());
            }
            Form::Plots(own, dvclive) => (own, dvclive.as_deref()),
        };
        let files = plots::Files {
            names: self.files.keys().cloned().collect(),
            read: &|name| self.read(name),
        };
        Ok(plots::draw(own, dvclive, &files))
    }

    /// A file's content.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let found = self.files.get(name);
        let &(digest, size) = found.with_context(|| format!("there is no file {name}"))?;
        ensure!(size <= MOST, "{name} is too large to be shown");
        let output = Output {
            digest,
            size,
            folder: false,
            artifact: String::new(),
            executable: false,
        };
        Ok(self.store.read(&output)?)
    }

    fn picture(&self, name: &str) -> Result<(Digest, File)> {
        let content = self.read(name)?;
        let media = media(&content)
            .with_context(|| format!("{name} is neither a PNG nor a JPEG nor an SVG picture"))?;
        let file = File {
            media,
            data: STANDARD.encode(&content),
        };
        let &(digest, _) = self.files.get(name).context("it was read")?;
        Ok((digest, file))
    }
}
