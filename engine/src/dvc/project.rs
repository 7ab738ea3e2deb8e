//! What a dvc.yaml says, as it is written there.

use flow_plan::workflow::{Located, Node, NodeValue};

use super::file::{Entries, File};
use crate::failure::Failure;

/// A dvc.yaml.
pub(super) struct Project {
    pub file: File,
    pub vars: Vec<Node>,
    pub stages: Vec<Stage>,
    /// Files of figures that are named for all stages.
    pub metrics: Vec<Located<String>>,
    pub plots: Vec<TopPlot>,
    /// Sections that say nothing of how stages run.
    pub others: Vec<String>,
}

/// A stage, or a template of some.
pub(super) struct Stage {
    pub name: Located<String>,
    pub each: Each,
    pub cmd: Vec<Located<String>>,
    pub wdir: Option<Located<String>>,
    pub deps: Vec<Located<String>>,
    pub params: Vec<Params>,
    pub outs: Vec<Out>,
    pub vars: Vec<Node>,
    pub desc: Option<String>,
    pub frozen: bool,
    pub always_changed: bool,
}

/// How often a stage is there.
pub(super) enum Each {
    Once,
    Foreach(Node),
    Matrix(Vec<(Located<String>, Node)>),
}

/// Values that a stage reads.
pub(super) struct Params {
    /// The file; params.yaml where none is named.
    pub file: Option<Located<String>>,
    /// The values; all of the file where none are named.
    pub keys: Vec<Located<String>>,
}

/// What a stage makes.
pub(super) struct Out {
    pub path: Located<String>,
    pub is_metrics: bool,
    /// What is said of it as a plot, once or more.
    pub plots: Option<Vec<Drawing>>,
    pub persist: bool,
    pub checkpoint: bool,
    pub desc: Option<String>,
}

/// How a plot is drawn.
#[derive(Clone, Default)]
pub(super) struct Drawing {
    pub x: Option<String>,
    pub y: Vec<String>,
    pub template: Option<String>,
    /// What flow does not have.
    pub lost: Vec<String>,
}

/// A plot that stands beside the stages.
pub(super) struct TopPlot {
    pub name: Located<String>,
    /// Its files with the columns of each; none: the name is the file.
    pub files: Vec<(Located<String>, Vec<String>)>,
    pub drawing: Drawing,
}

const STAGE: [&str; 14] = [
    "cmd",
    "wdir",
    "deps",
    "params",
    "outs",
    "metrics",
    "plots",
    "vars",
    "frozen",
    "meta",
    "desc",
    "always_changed",
    "matrix",
    "do",
];

impl Project {
    pub fn read(file: File) -> Result<Project, Failure> {
        let mut project = Project {
            vars: Vec::new(),
            stages: Vec::new(),
            metrics: Vec::new(),
            plots: Vec::new(),
            others: Vec::new(),
            file,
        };
        let file = &project.file;
        for (key, node) in file.table("a dvc.yaml", file.root())? {
            match key.value.as_str() {
                "vars" => project.vars = file.list("`vars`", node)?.to_vec(),
                "stages" => {
                    for (name, node) in file.table("`stages`", node)? {
                        project.stages.push(stage(file, name, node)?);
                    }
                }
                "metrics" => {
                    for node in file.list("`metrics`", node)? {
                        project
                            .metrics
                            .push(file.string("a file of metrics", node)?);
                    }
                }
                "plots" => {
                    for node in file.list("`plots`", node)? {
                        top_plots(file, node, &mut project.plots)?;
                    }
                }
                "params" | "artifacts" | "datasets" => project.others.push(key.value.clone()),
                other => {
                    let message = format!("`{other}` is no section of a dvc.yaml that flow knows");
                    return Err(file.wrong(key.span, message));
                }
            }
        }
        Ok(project)
    }
}

fn stage(file: &File, name: &Located<String>, node: &Node) -> Result<Stage, Failure> {
    let what = format!("the stage `{}`", name.value);
    let mut entries = file.table(&what, node)?;
    let mut each = Each::Once;
    let find = |entries: &Entries, key: &str| {
        let found = entries.iter().find(|(found, _)| found.value == key);
        found.map(|(_, node)| node.clone())
    };
    if let Some(data) = find(entries, "foreach") {
        if let Some((key, _)) = entries
            .iter()
            .find(|(key, _)| key.value != "foreach" && key.value != "do")
        {
            let message = format!("`{}` has to stand below `do`", key.value);
            return Err(file.wrong(key.span, message));
        }
        let body = entries.iter().find(|(key, _)| key.value == "do");
        let Some((_, body)) = body else {
            return Err(file.wrong(name.span, format!("{what} has `foreach` without `do`")));
        };
        entries = file.table("`do`", body)?;
        each = Each::Foreach(data);
    } else if let Some(matrix) = find(entries, "matrix") {
        each = Each::Matrix(file.table("`matrix`", &matrix)?.to_vec());
    }
    let mut stage = Stage {
        name: name.clone(),
        each,
        cmd: Vec::new(),
        wdir: None,
        deps: Vec::new(),
        params: Vec::new(),
        outs: Vec::new(),
        vars: Vec::new(),
        desc: None,
        frozen: false,
        always_changed: false,
    };
    for (key, node) in entries {
        match key.value.as_str() {
            "cmd" => match &node.value {
                NodeValue::Array(lines) => {
                    for line in lines {
                        stage.cmd.push(file.string("a command", line)?);
                    }
                }
                _ => stage.cmd.push(file.string("`cmd`", node)?),
            },
            "wdir" => stage.wdir = Some(file.string("`wdir`", node)?),
            "deps" => {
                for node in file.list("`deps`", node)? {
                    stage.deps.push(file.string("a dependency", node)?);
                }
            }
            "params" => {
                for node in file.list("`params`", node)? {
                    params(file, node, &mut stage.params)?;
                }
            }
            "outs" | "metrics" | "plots" => {
                for node in file.list(&key.value, node)? {
                    outs(file, &key.value, node, &mut stage.outs)?;
                }
            }
            "vars" => stage.vars = file.list("`vars`", node)?.to_vec(),
            "desc" => stage.desc = Some(file.string("`desc`", node)?.value),
            "frozen" => stage.frozen = file.boolean("`frozen`", node)?,
            "always_changed" => stage.always_changed = file.boolean("`always_changed`", node)?,
            "meta" | "matrix" => {}
            other => {
                let known = STAGE.join(", ");
                let message =
                    format!("{what} has the unknown key `{other}`; DVC knows {known}, foreach");
                return Err(file.wrong(key.span, message));
            }
        }
    }
    if stage.cmd.is_empty() {
        return Err(file.wrong(name.span, format!("{what} has no `cmd`")));
    }
    Ok(stage)
}

fn params(file: &File, node: &Node, all: &mut Vec<Params>) -> Result<(), Failure> {
    if let NodeValue::Table(entries) = &node.value {
        for (name, node) in entries {
            let mut keys = Vec::new();
            for node in file.list("the params of a file", node)? {
                keys.push(file.string("a param", node)?);
            }
            let file = Some(name.clone());
            all.push(Params { file, keys });
        }
        return Ok(());
    }
    let key = file.string("a param", node)?;
    match all.iter_mut().find(|params| params.file.is_none()) {
        Some(params) => params.keys.push(key),
        None => all.push(Params {
            file: None,
            keys: vec![key],
        }),
    }
    Ok(())
}

fn outs(file: &File, key: &str, node: &Node, all: &mut Vec<Out>) -> Result<(), Failure> {
    let mut add = |path: Located<String>, options: Option<&Node>| {
        let mut out = Out {
            path,
            is_metrics: key == "metrics",
            plots: (key == "plots").then(Vec::new),
            persist: false,
            checkpoint: false,
            desc: None,
        };
        let several = options.map(|node| match &node.value {
            NodeValue::Array(items) => &items[..],
            _ => std::slice::from_ref(node),
        });
        for node in several.unwrap_or_default() {
            let mut drawing = Drawing::default();
            for (key, node) in file.table("what is said of an output", node)? {
                match key.value.as_str() {
                    "persist" => out.persist = file.boolean("`persist`", node)?,
                    "checkpoint" => out.checkpoint = file.boolean("`checkpoint`", node)?,
                    "desc" => out.desc = Some(file.string("`desc`", node)?.value),
                    "cache" | "remote" | "push" | "type" | "labels" | "meta" => {}
                    _ if out.plots.is_some() => drawn(file, key, node, &mut drawing)?,
                    other => {
                        let message = format!("`{other}` is nothing that DVC says of an output");
                        return Err(file.wrong(key.span, message));
                    }
                }
            }
            if let Some(plots) = &mut out.plots {
                plots.push(drawing);
            }
        }
        if let Some(plots) = &mut out.plots
            && plots.is_empty()
        {
            plots.push(Drawing::default());
        }
        all.push(out);
        Ok(())
    };
    match &node.value {
        NodeValue::Table(entries) => {
            for (path, options) in entries {
                add(path.clone(), Some(options))?;
            }
            Ok(())
        }
        _ => add(file.string("an output", node)?, None),
    }
}

/// One word of how a plot is drawn.
fn drawn(
    file: &File,
    key: &Located<String>,
    node: &Node,
    drawing: &mut Drawing,
) -> Result<(), Failure> {
    match key.value.as_str() {
        "x" => drawing.x = Some(file.string("`x`", node)?.value),
        "y" => match &node.value {
            NodeValue::Array(items) => {
                for item in items {
                    drawing.y.push(file.string("a column", item)?.value);
                }
            }
            _ => drawing.y.push(file.string("`y`", node)?.value),
        },
        "template" => drawing.template = Some(file.string("`template`", node)?.value),
        "x_label" | "y_label" | "title" | "header" => drawing.lost.push(key.value.clone()),
        other => {
            let message = format!("`{other}` is nothing that DVC says of a plot");
            return Err(file.wrong(key.span, message));
        }
    }
    Ok(())
}

fn top_plots(file: &File, node: &Node, all: &mut Vec<TopPlot>) -> Result<(), Failure> {
    let NodeValue::Table(entries) = &node.value else {
        all.push(TopPlot {
            name: file.string("a plot", node)?,
            files: Vec::new(),
            drawing: Drawing::default(),
        });
        return Ok(());
    };
    for (name, node) in entries {
        let mut plot = TopPlot {
            name: name.clone(),
            files: Vec::new(),
            drawing: Drawing::default(),
        };
        for (key, node) in file.table("a plot", node)? {
            let NodeValue::Table(columns) = &node.value else {
                drawn(file, key, node, &mut plot.drawing)?;
                continue;
            };
            for (path, node) in columns {
                let mut one = Drawing::default();
                drawn(file, key, node, &mut one)?;
                match key.value.as_str() {
                    "x" => plot.drawing.x = one.x,
                    _ => plot.files.push((path.clone(), one.y)),
                }
            }
        }
        all.push(plot);
    }
    Ok(())
}
