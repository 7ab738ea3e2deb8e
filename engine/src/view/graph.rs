//! The DAG as text, DOT, Mermaid and SVG, with each stage's standing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use clap::ValueEnum;
use flow_plan::plan::Plan;
use flow_plan::plan::edges::needed;
use flow_results::{State, Survey};
use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::geometry::Point;
use layout::core::style::StyleAttr;
use layout::std_shapes::shapes::{Arrow, Element, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::Tone;

/// The forms that a graph is printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each stage, with what it reads from.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, as Markdown pages show it.
    Mermaid,
    /// A picture.
    Svg,
}

/// The sign says it where there is no colour.
fn sign(state: State) -> &'static str {
    match state {
        State::Frozen => "*",
        State::UpToDate => "✓",
        State::MayRun => "?",
        State::WillRun => "→",
    }
}

/// Fill colours that the common kinds of colour blindness tell apart.
fn colour(state: State) -> u32 {
    match state {
        State::Frozen => 0xe0e0e0,
        State::UpToDate => 0xd0e7f7,
        State::MayRun => 0xfff2cc,
        State::WillRun => 0xf9cfa5,
    }
}

struct Shape {
    label: String,
    /// The worst of its instances'.
    state: State,
    /// The boxes that it reads from.
    sources: BTreeSet<usize>,
}

/// Prints the graph. Instances of one stage are one box, unless `expand`.
pub fn print(plan: &Plan, survey: &Survey, format: Format, expand: bool) -> String {
    let boxes = boxes(plan, survey, expand);
    match format {
        Format::Text => text(&boxes),
        Format::Dot => dot(&boxes),
        Format::Mermaid => mermaid(&boxes),
        Format::Svg => svg(&boxes),
    }
}

fn boxes(plan: &Plan, survey: &Survey, expand: bool) -> Vec<Shape> {
    let mut boxes: Vec<Shape> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    let mut of_node = BTreeMap::new();
    for &node in &plan.order {
        let instance = &plan.graph[node];
        let name = if expand {
            &instance.label
        } else {
            &instance.stage
        };
        let at = *by_name.entry(name).or_insert_with(|| {
            boxes.push(Shape {
                label: name.clone(),
                state: State::Frozen,
                sources: BTreeSet::new(),
            });
            counts.push(0);
            boxes.len() - 1
        });
        of_node.insert(node, at);
        counts[at] += 1;
        boxes[at].state = boxes[at].state.max(survey.state(node));
        let sources = instance.sources().into_iter();
        boxes[at]
            .sources
            .extend(sources.map(|source| of_node[&source]));
    }
    for (one, count) in boxes.iter_mut().zip(counts) {
        if count > 1 {
            one.label += &format!(" ×{count}");
        }
    }
    boxes
}

fn text(boxes: &[Shape]) -> String {
    let rows = boxes.iter().map(|one| {
        let sources: Vec<&str> = one
            .sources
            .iter()
            .map(|&i| boxes[i].label.as_str())
            .collect();
        let from = if sources.is_empty() {
            String::new()
        } else {
            format!("← {}", sources.join(", "))
        };
        vec![format!("{} {}", sign(one.state), one.label), from]
    });
    let mut states = vec![State::UpToDate, State::WillRun, State::MayRun];
    if boxes.iter().any(|one| one.state == State::Frozen) {
        states.push(State::Frozen);
    }
    let legend = states.iter();
    let legend: Vec<String> = legend
        .map(|&state| format!("{} {}", sign(state), state.word()))
        .collect();
    let legend = legend.join("   ");
    let table = format!("{}\n\n{legend}", super::layout::prose(rows, 0));
    states.iter().fold(table, |text, &state| {
        let painted = super::tone(sign(state), Tone::of(state));
        text.replace(&format!("{} ", sign(state)), &(painted + " "))
    })
}

fn dot(boxes: &[Shape]) -> String {
    let mut text = "digraph {\n  rankdir = LR\n  node [shape = box, style = filled, fontname = \"sans-serif\"]\n".to_string();
    for (i, one) in boxes.iter().enumerate() {
        let label = one.label.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(
            text,
            "  n{i} [label = \"{} {label}\", fillcolor = \"#{:06x}\"]",
            sign(one.state),
            colour(one.state)
        );
    }
    for (source, reader) in edges(boxes) {
        let _ = writeln!(text, "  n{source} -> n{reader}");
    }
    text + "}"
}

fn mermaid(boxes: &[Shape]) -> String {
    let mut text = "flowchart LR\n".to_string();
    for (i, one) in boxes.iter().enumerate() {
        // Mermaid takes HTML's entities, written with `#`.
        let label: String = one
            .label
            .chars()
            .map(|c| match c {
                c if c.is_alphanumeric() || " _-.,=×".contains(c) => c.to_string(),
                c => format!("#{};", u32::from(c)),
            })
            .collect();
        let _ = writeln!(text, "    n{i}[\"{} {label}\"]", sign(one.state));
        let _ = writeln!(
            text,
            "    style n{i} fill:#{:06x},color:#000",
            colour(one.state)
        );
    }
    for (source, reader) in edges(boxes) {
        let _ = writeln!(text, "    n{source} --> n{reader}");
    }
    text.trim_end().into()
}

fn svg(boxes: &[Shape]) -> String {
    let mut graph = VisualGraph::new(Orientation::LeftToRight);
    let handles: Vec<_> = boxes
        .iter()
        .map(|one| {
            let label = format!("{} {}", sign(one.state), one.label);
            // The shade's last byte is its opacity.
            let fill = Color::new(colour(one.state) << 8 | 0xff);
            let look = StyleAttr::new(Color::new(0x404040ff), 1, Some(fill), 6, 14);
            let width = 24.0 + 9.0 * label.chars().count() as f64;
            let element = Element::create(
                ShapeKind::new_box(&label),
                look,
                Orientation::LeftToRight,
                Point::new(width, 36.0),
            );
            graph.add_node(element)
        })
        .collect();
    for (source, reader) in edges(boxes) {
        graph.add_edge(Arrow::simple(""), handles[source], handles[reader]);
    }
    let mut writer = SVGWriter::new();
    graph.do_it(false, false, false, &mut writer);
    writer.finalize()
}

/// The edges that a picture needs: those that no longer way leads along as well are left out.
fn edges(boxes: &[Shape]) -> Vec<(usize, usize)> {
    let sources: Vec<BTreeSet<usize>> = boxes.iter().map(|one| one.sources.clone()).collect();
    needed(&sources)
}
