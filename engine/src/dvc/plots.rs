//! Plots: those that stages name, and those that stand beside them.

use flow_plan::workflow::Located;

use super::graph::{Graph, Origin, Place};
use super::outputs::Outputs;
use super::project::Drawing;
use super::write::{comment, inline, inline_value, key, string};
use crate::failure::Failure;

/// The plots of each group, and what is to be said of those that no stage makes.
pub(super) fn written(
    graph: &Graph<'_>,
    outputs: &[Outputs],
) -> Result<(Vec<String>, String), Failure> {
    let mut all = Plots {
        graph,
        outputs,
        texts: vec![String::new(); graph.groups.len()],
        names: vec![Vec::new(); graph.groups.len()],
        beside: String::new(),
    };
    for (at, group) in graph.groups.iter().enumerate() {
        for (number, out) in graph.stage(group).outs.iter().enumerate() {
            let (Some(drawings), Some((role, path))) = (&out.plots, &outputs[at].named[number])
            else {
                continue;
            };
            let file = match path.strip_suffix('/') {
                Some(folder) => format!("{folder}/**"),
                None => path.clone(),
            };
            for drawing in drawings {
                all.add(at, role, &file, drawing);
            }
        }
    }
    for plot in &graph.project.plots {
        let drawing = &plot.drawing;
        if plot.files.is_empty() {
            all.top(&plot.name, &plot.name, drawing)?;
            continue;
        }
        // Files of one folder, drawn alike, are one plot.
        let folder = |path: &str| {
            path.rsplit_once('/')
                .map_or(String::new(), |(folder, _)| folder.to_string())
        };
        let ending = |path: &str| path.rsplit_once('.').map(|(_, ending)| ending.to_string());
        let (first, columns) = &plot.files[0];
        let alike = plot.files.iter().all(|(file, y)| {
            folder(&file.value) == folder(&first.value)
                && ending(&file.value) == ending(&first.value)
                && y == columns
        });
        let others = graph.project.plots.iter().any(|other| {
            let files = other
                .files
                .iter()
                .map(|(file, _)| file)
                .chain([&other.name]);
            other.name.value != plot.name.value
                && files
                    .into_iter()
                    .any(|file| folder(&file.value) == folder(&first.value))
        });
        let with = |y: &Vec<String>| Drawing {
            y: if y.is_empty() {
                drawing.y.clone()
            } else {
                y.clone()
            },
            ..drawing.clone()
        };
        if plot.files.len() > 1 && alike && !others {
            let folder = folder(&first.value);
            let glob = format!("{folder}/*.{}", ending(&first.value).unwrap_or_default());
            let glob = Located {
                value: if folder.is_empty() {
                    glob[1..].into()
                } else {
                    glob
                },
                span: first.span,
            };
            all.top_of(&plot.name, first, &glob, &with(columns))?;
            continue;
        }
        for (file, y) in &plot.files {
            all.top(&plot.name, file, &with(y))?;
        }
    }
    Ok((all.texts, all.beside))
}

struct Plots<'g, 'a> {
    graph: &'g Graph<'a>,
    outputs: &'g [Outputs],
    texts: Vec<String>,
    names: Vec<Vec<String>>,
    beside: String,
}

impl Plots<'_, '_> {
    fn top(
        &mut self,
        name: &Located<String>,
        file: &Located<String>,
        drawing: &Drawing,
    ) -> Result<(), Failure> {
        self.top_of(name, file, file, drawing)
    }

    /// A plot of `shown`, which the stage makes that makes `file`.
    fn top_of(
        &mut self,
        name: &Located<String>,
        file: &Located<String>,
        shown: &Located<String>,
        drawing: &Drawing,
    ) -> Result<(), Failure> {
        let graph = self.graph;
        let place = graph.top_place(file)?;
        let origins = graph.origins((usize::MAX, 0), &place);
        let (Place::Inside(path), Some(Origin::Made(made))) = (&place, origins.first()) else {
            let text = format!(
                "The plot {} is of {}, which no stage makes: it has no counterpart.",
                name.value, file.value
            );
            self.beside += &comment(&text);
            return Ok(());
        };
        let at = graph.group_of(*made);
        let Some((_, written)) = &self.outputs[at].named[made.1] else {
            return Ok(());
        };
        let Place::Inside(out) = graph.made(*made) else {
            return Ok(());
        };
        let Place::Inside(shown) = graph.top_place(shown)? else {
            return Ok(());
        };
        let rest = shown.strip_prefix(out.as_str());
        // A folder's files may be drawn where the stage makes them all; else the path is the output's own.
        let shown = match rest {
            Some(rest) => format!("{}{rest}", written.trim_end_matches('/')),
            None => shown,
        };
        let is_folder = written.ends_with('/')
            && path
                .rsplit('/')
                .next()
                .is_some_and(|last| !last.contains('.'));
        let shown = if is_folder {
            format!("{shown}/**")
        } else {
            shown
        };
        let stem = name.value.rsplit('/').next().unwrap_or_default();
        let stem = if name.value == file.value {
            stem.split('.').next().unwrap_or(stem)
        } else {
            stem
        };
        self.add(at, stem, &shown, drawing);
        Ok(())
    }

    fn add(&mut self, at: usize, name: &str, file: &str, drawing: &Drawing) {
        let allowed = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') {
                c
            } else {
                '-'
            }
        };
        let mut name: String = name.chars().map(allowed).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name = format!("plot-{name}");
        }
        let more = (2..).map(|n| format!("{name}-{n}"));
        let mut names = std::iter::once(name.clone()).chain(more);
        let name = names
            .find(|name| !self.names[at].contains(name))
            .unwrap_or_default();
        let ending = file.rsplit('.').next().unwrap_or_default();
        let is_picture = matches!(ending, "png" | "jpg" | "jpeg" | "svg" | "gif");
        let known = matches!(ending, "json" | "csv" | "tsv" | "png" | "jpg" | "svg")
            || file.ends_with("/**");
        let mut lost = drawing.lost.clone();
        if !known {
            lost.push(format!("the form {ending}: JSON, CSV or TSV is drawn"));
        }
        let template = drawing.template.as_deref().unwrap_or("linear");
        let confusion = template.starts_with("confusion");
        if !confusion && !matches!(template, "linear" | "simple" | "smooth") {
            lost.push(format!("the template {template}: it is drawn as lines"));
        }
        let word = if file.contains('*') { "files" } else { "file" };
        let mut entries = vec![format!("{word} = {}", string(file))];
        if !is_picture {
            entries.extend(drawing.x.as_ref().map(|x| format!("x = {}", string(x))));
            match &drawing.y[..] {
                [] => {}
                [y] => entries.push(format!("y = {}", string(y))),
                several if confusion => entries.push(format!("y = {}", string(&several[0]))),
                several => {
                    entries.extend(inline_value(&several.into()).map(|y| format!("y = {y}")))
                }
            }
            entries.extend(confusion.then(|| "kind = \"confusion\"".to_string()));
        }
        if !lost.is_empty() {
            self.texts[at] += &comment(&format!("DVC's plot {name} also has {}.", lost.join(", ")));
        }
        self.texts[at] += &format!("plots.{} = {}\n", key(&name), inline(&entries));
        self.names[at].push(name);
    }
}
