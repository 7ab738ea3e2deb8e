//! Where the boxes and edges of the DAG lie: laid out once, here, so that the page only draws.

use std::collections::{BTreeMap, BTreeSet};

use flow_plan::plan::edges::needed;
use layout::core::base::Orientation;
use layout::core::format::{ClipHandle, RenderBackend};
use layout::core::geometry::{Point, Position};
use layout::core::style::StyleAttr;
use layout::std_shapes::shapes::{Arrow, Element, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::document::{Box, Edge, Graph, Stage};

/// More boxes than this are no picture any more, and take long to lay out.
const MOST: usize = 200;
/// The height of a box.
const HEIGHT: f64 = 42.0;
/// The space beside and between boxes.
const GAP: (f64, f64) = (26.0, 38.0);
/// The space around the drawing.
const MARGIN: f64 = 8.0;

/// The drawing: instances of one stage are one box. None where there are no stages, or too many for a picture.
pub fn graph(stages: &[Stage]) -> Option<Graph> {
    let mut boxes: Vec<Box> = Vec::new();
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sources: Vec<BTreeSet<usize>> = Vec::new();
    let mut of_stage: Vec<usize> = Vec::new();
    for (place, stage) in stages.iter().enumerate() {
        let at = *by_name.entry(&stage.stage).or_insert_with(|| {
            boxes.push(Box {
                name: stage.label.clone(),
                stages: Vec::new(),
                x: 0.0,
                y: 0.0,
                width: 0.0,
                height: HEIGHT,
            });
            sources.push(BTreeSet::new());
            boxes.len() - 1
        });
        of_stage.push(at);
        boxes[at].stages.push(place);
        if boxes[at].stages.len() > 1 {
            boxes[at].name = stage.stage.clone();
        }
        let read = stage.sources.iter().map(|&source| of_stage[source]);
        // A stage never reads from itself; damaged records of a run might say so.
        sources[at].extend(read.filter(|&source| source != at));
    }
    if boxes.is_empty() || boxes.len() > MOST {
        return None;
    }
    for one in &mut boxes {
        let many = if one.stages.len() > 1 { 4 } else { 0 };
        let letters = (one.name.chars().count() + many).clamp(16, 24) as f64;
        one.width = 34.0 + 7.2 * letters;
    }
    Some(place(boxes, &needed(&sources)))
}

/// Lays the boxes out from top to bottom.
fn place(mut boxes: Vec<Box>, pairs: &[(usize, usize)]) -> Graph {
    let mut graph = VisualGraph::new(Orientation::TopToBottom);
    let handles: Vec<_> = boxes
        .iter()
        .enumerate()
        .map(|(number, one)| {
            let shape = ShapeKind::new_box(&number.to_string());
            let size = Point::new(one.width, one.height);
            let look = StyleAttr::simple();
            let mut element = Element::create(shape, look, Orientation::TopToBottom, size);
            let gap = Point::new(GAP.0, GAP.1);
            element.pos = Position::new(Point::zero(), size, Point::zero(), gap);
            graph.add_node(element)
        })
        .collect();
    for &(source, reader) in pairs {
        graph.add_edge(Arrow::simple(""), handles[source], handles[reader]);
    }
    let mut drawn = Drawn::default();
    graph.do_it(false, false, false, &mut drawn);
    let left = drawn.left - MARGIN;
    let top = drawn.top - MARGIN;
    for &(number, x, y) in &drawn.boxes {
        if let Some(one) = boxes.get_mut(number) {
            one.x = round(x - one.width / 2.0 - left);
            one.y = round(y - one.height / 2.0 - top);
        }
    }
    let edges = pairs.iter().zip(&drawn.arrows);
    let edges = edges.map(|(&(from, to), path)| {
        let at = |point: &Point| (round(point.x - left), round(point.y - top));
        let text = |point: &Point| {
            let (x, y) = at(point);
            format!("{x} {y}")
        };
        let mut line = format!(
            "M{}C{} {} {}",
            text(&path[0].0),
            text(&path[0].1),
            text(&path[1].0),
            text(&path[1].1)
        );
        for (control, end) in path.iter().skip(2) {
            line += &format!("S{} {}", text(control), text(end));
        }
        let tip = path.last().map_or((0.0, 0.0), |(_, end)| at(end));
        Edge {
            from,
            to,
            path: line,
            tip,
        }
    });
    let edges = edges.collect();
    Graph {
        width: round(drawn.right - drawn.left + 2.0 * MARGIN),
        height: round(drawn.bottom - drawn.top + 2.0 * MARGIN),
        boxes,
        edges,
    }
}

/// One decimal: finer is not seen.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// What the layout would have drawn.
struct Drawn {
    /// Number and middle of each box.
    boxes: Vec<(usize, f64, f64)>,
    /// Of each edge its points, and their control points.
    arrows: Vec<Vec<(Point, Point)>>,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Default for Drawn {
    fn default() -> Drawn {
        Drawn {
            boxes: Vec::new(),
            arrows: Vec::new(),
            left: f64::INFINITY,
            top: f64::INFINITY,
            right: f64::NEG_INFINITY,
            bottom: f64::NEG_INFINITY,
        }
    }
}

impl Drawn {
    fn grow(&mut self, x: f64, y: f64) {
        self.left = self.left.min(x);
        self.top = self.top.min(y);
        self.right = self.right.max(x);
        self.bottom = self.bottom.max(y);
    }
}

impl RenderBackend for Drawn {
    fn draw_rect(
        &mut self,
        xy: Point,
        size: Point,
        _: &StyleAttr,
        _: Option<String>,
        _: Option<ClipHandle>,
    ) {
        self.grow(xy.x, xy.y);
        self.grow(xy.x + size.x, xy.y + size.y);
    }

    fn draw_text(&mut self, xy: Point, text: &str, _: &StyleAttr) {
        if let Ok(number) = text.parse() {
            self.boxes.push((number, xy.x, xy.y));
        }
    }

    fn draw_arrow(
        &mut self,
        path: &[(Point, Point)],
        _: bool,
        _: (bool, bool),
        _: &StyleAttr,
        _: Option<String>,
        _: &str,
    ) {
        for (number, (a, b)) in path.iter().enumerate() {
            // The second of the first pair, and the first of the others, only bend the line.
            let end = if number == 0 { a } else { b };
            self.grow(end.x, end.y);
        }
        self.arrows.push(path.to_vec());
    }

    fn draw_line(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}

    fn draw_circle(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}

    fn create_clip(&mut self, _: Point, _: Point, _: usize) -> ClipHandle {
        0
    }
}
