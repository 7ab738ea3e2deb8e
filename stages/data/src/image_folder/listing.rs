//! Which images a folder holds, and what their folders say of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::dataset::Split;

use crate::coarse::Classes;
use crate::picture::ENDINGS;

/// The images of a folder, by split, class and name.
pub struct Listing {
    /// The files, in row order.
    pub paths: Vec<PathBuf>,
    /// The part of each.
    pub splits: Vec<Split>,
    /// The class of each: `class`, or `coarse/fine`.
    pub classes: Classes,
    /// The coarse class of each, where the folders are nested.
    pub coarse: Option<Classes>,
    /// How many other files there are.
    pub others: usize,
    /// One of those.
    pub other: Option<PathBuf>,
    allow_empty: bool,
}

/// The endings that are read, in words.
pub fn endings() -> String {
    let dotted = ENDINGS.map(|ending| format!(".{ending}"));
    let (last, others) = dotted.split_last().expect("there are some");
    format!("{} and {last}", others.join(", "))
}

/// One folder that holds images.
struct Leaf {
    split: Split,
    /// `class`, or `coarse` and `fine`.
    names: Vec<String>,
    images: Vec<PathBuf>,
}

impl Listing {
    /// Lists the folder `root`.
    ///
    /// # Errors
    /// Where it is none, its folders are not those of classes, or a class is empty and `allow_empty` is not set.
    pub fn of(root: &Path, allow_empty: bool) -> Result<Self> {
        let shown = root.display();
        ensure!(
            root.is_dir(),
            "{shown} is no folder; `source` is a folder of images"
        );
        let mut listing = Listing {
            paths: vec![],
            splits: vec![],
            classes: Classes {
                names: vec![],
                labels: vec![],
            },
            coarse: None,
            others: 0,
            other: None,
            allow_empty,
        };
        let top = listing.entries(root)?;
        let split_of = |name: &str| match name {
            "train" => Some(Split::Train),
            "val" | "valid" | "validation" => Some(Split::Val),
            "test" => Some(Split::Test),
            _ => None,
        };
        let mut leaves = Vec::new();
        // A class may be called `train`, so only all of them together mean splits.
        if top.folders.iter().any(|(name, _)| name == "train")
            && top.folders.iter().all(|(name, _)| split_of(name).is_some())
        {
            for (name, path) in &top.folders {
                let split = split_of(name).context("a split")?;
                listing.leaves(path, split, &mut leaves)?;
            }
        } else {
            listing.leaves(root, Split::Train, &mut leaves)?;
        }
        leaves.sort_by_key(|leaf| leaf.split as u8);
        let Some(first) = leaves.first() else {
            bail!("{shown} holds no folder of images: each class has a folder of its own");
        };
        // An empty folder may be a class, or a coarse class without any.
        let full = leaves.iter().find(|leaf| !leaf.images.is_empty());
        let first = full.unwrap_or(first);
        let depth = first.names.len();
        let wrong = |leaf: &&Leaf| {
            leaf.names.len() > depth || (leaf.names.len() < depth && !leaf.images.is_empty())
        };
        if let Some(other) = leaves.iter().find(wrong) {
            bail!(
                "{shown} holds images in {} and in {}: either all classes are `class` or all are `coarse/fine`",
                first.names.join("/"),
                other.names.join("/")
            );
        }
        let number = |take: &dyn Fn(&Leaf) -> Option<String>| {
            let names: BTreeSet<String> = leaves.iter().filter_map(take).collect();
            let names: Vec<String> = names.into_iter().collect();
            let mut labels = Vec::new();
            for leaf in &leaves {
                let label = names
                    .iter()
                    .position(|name| Some(name) == take(leaf).as_ref());
                let label = label.unwrap_or_default() as i32;
                labels.resize(labels.len() + leaf.images.len(), label);
            }
            Classes { names, labels }
        };
        listing.classes = number(&|leaf| (leaf.names.len() == depth).then(|| leaf.names.join("/")));
        listing.coarse = (depth == 2).then(|| number(&|leaf| Some(leaf.names[0].clone())));
        for leaf in leaves {
            listing
                .splits
                .resize(listing.splits.len() + leaf.images.len(), leaf.split);
            listing.paths.extend(leaf.images);
        }
        Ok(listing)
    }

    /// The folders of images below one that holds classes.
    fn leaves(&mut self, folder: &Path, split: Split, leaves: &mut Vec<Leaf>) -> Result<()> {
        let top = self.entries(folder)?;
        if let Some(image) = top.images.first() {
            bail!(
                "{} lies in no folder of a class: each class has a folder of its own",
                image.display()
            );
        }
        for (class, path) in top.folders {
            let inner = self.entries(&path)?;
            match (inner.images.is_empty(), inner.folders.is_empty()) {
                (false, true) => leaves.push(Leaf {
                    split,
                    names: vec![class],
                    images: inner.images,
                }),
                (true, false) => {
                    for (fine, path) in inner.folders {
                        let deep = self.entries(&path)?;
                        ensure!(
                            deep.folders.is_empty(),
                            "{} holds folders: images lie in `class` or `coarse/fine`, no deeper",
                            path.display()
                        );
                        self.check_empty(&path, &deep)?;
                        leaves.push(Leaf {
                            split,
                            names: vec![class.clone(), fine],
                            images: deep.images,
                        });
                    }
                }
                (false, false) => bail!(
                    "{} holds both images and folders: a class holds the one, a coarse class the other",
                    path.display()
                ),
                (true, true) => {
                    self.check_empty(&path, &inner)?;
                    leaves.push(Leaf {
                        split,
                        names: vec![class],
                        images: vec![],
                    });
                }
            }
        }
        Ok(())
    }

    fn check_empty(&self, folder: &Path, entries: &Entries) -> Result<()> {
        let shown = folder.display();
        if let Some(gif) = &entries.gif {
            ensure!(
                !entries.images.is_empty(),
                "{shown} holds no image that is read, but {}: convert such files, in Python: \
                 PIL.Image.open(f).convert(\"RGB\").save(\"x.png\")",
                gif.display()
            );
        }
        ensure!(
            self.allow_empty || !entries.images.is_empty(),
            "{shown} holds no image ({}): bring them back, delete the folder, or keep the empty class with \
             `allow_empty = true`",
            endings()
        );
        Ok(())
    }

    /// What lies in a folder, in the order of names. Hidden files are passed over.
    fn entries(&mut self, folder: &Path) -> Result<Entries> {
        let wrong = || format!("{} can't be read", folder.display());
        let mut entries = Entries::default();
        for entry in fs::read_dir(folder).with_context(wrong)? {
            let path = entry.with_context(wrong)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                bail!("{} has a name that is not UTF-8", path.display());
            };
            if name.starts_with('.') {
                continue;
            }
            let ending = path
                .extension()
                .and_then(|e| e.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                entries.folders.push((name.to_owned(), path));
            } else if ENDINGS.iter().any(|e| ending.eq_ignore_ascii_case(e)) {
                entries.images.push(path);
            } else {
                if ending.eq_ignore_ascii_case("gif") {
                    entries.gif = Some(path.clone());
                }
                self.others += 1;
                self.other = self.other.take().into_iter().chain([path]).min();
            }
        }
        entries.folders.sort();
        entries.images.sort();
        Ok(entries)
    }
}

#[derive(Default)]
struct Entries {
    folders: Vec<(String, PathBuf)>,
    images: Vec<PathBuf>,
    /// One that is not read, if any.
    gif: Option<PathBuf>,
}
