//! What is said of a sweep, in `[sweep]` and on the command line, before its names are looked up.

use super::{Goal, Mode};
use crate::workflow::node::{Located, Node, NodeValue};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::reader::Reader;
use crate::workflow::reference::Reference;
use crate::workflow::source::{Sources, Span};
use crate::workflow::tree::{Entries, find, inside, names};
use crate::workflow::{Overrides, set};

/// The modes by name.
const MODES: [(&str, Mode); 5] = [
    ("grid", Mode::Grid),
    ("zip", Mode::Zip),
    ("one-at-a-time", Mode::OneAtATime),
    ("random", Mode::Random),
    ("points", Mode::Points),
];

/// Axis names with what stands behind them.
pub(super) type Named<T> = Vec<(Located<String>, T)>;

/// What `[sweep]` says.
pub(super) struct Head {
    pub span: Span,
    pub mode: Mode,
    pub axes: Named<Vec<Node>>,
    /// `--sweep`: axes that come to these, or take the place of one.
    pub added: Named<Vec<Node>>,
    /// How many points `random` draws.
    pub draws: usize,
    pub points: Vec<Located<Named<Node>>>,
    /// `where.only`: points have to match one of these.
    pub only: Vec<Named<Node>>,
    /// `where.not`: points must match none of these.
    pub not: Vec<Named<Node>>,
    seeds: Option<Node>,
    goal: Option<Node>,
    /// `--point`: the texts of the options.
    pub chosen: Vec<Located<String>>,
}

/// The seeds of each point.
pub(super) enum Seeds {
    /// As many, from the point's own on.
    Count(u64),
    /// These.
    Listed(Vec<u64>),
}

impl Seeds {
    /// Those of a point whose workflow has the seed `first`.
    pub fn from(&self, first: u64) -> Vec<u64> {
        match self {
            Seeds::Count(count) => (0..*count).map(|i| first.saturating_add(i)).collect(),
            Seeds::Listed(seeds) => seeds.clone(),
        }
    }
}

impl Head {
    /// Reads the table and the options; `top` is the place of a sweep that stands on the command line alone. `None` where
    /// nothing is swept.
    pub fn read(
        node: Option<Node>,
        top: Span,
        overrides: &Overrides,
        sources: &mut Sources,
        problems: &mut Problems,
    ) -> Option<Head> {
        let swept = node.is_some() || !overrides.sweep.is_empty() || overrides.seeds.is_some();
        let mut head = swept.then(|| Head::table(node, top, problems));
        if let Some(head) = &mut head {
            for text in &overrides.sweep {
                if head.mode == Mode::Points {
                    let span = sources.add_option("--sweep", text);
                    let why = "the workflow's sweep lists its points, and has no axes to add to";
                    problems.add(Problem::BadSweep { why }, span);
                    continue;
                }
                head.added.extend(set::list(text, sources, problems));
            }
            if let Some(text) = &overrides.seeds {
                head.seeds = Some(set::seeds(text, sources, problems));
            }
        }
        for text in &overrides.point {
            let span = sources.add_option("--point", text);
            match &mut head {
                Some(head) => head.chosen.push(Located {
                    value: text.clone(),
                    span,
                }),
                None => problems.add(Problem::NothingSwept, span),
            }
        }
        head
    }

    /// Takes the table apart.
    fn table(node: Option<Node>, top: Span, problems: &mut Problems) -> Head {
        let mut head = Head {
            span: node.as_ref().map_or(top, |node| node.span),
            mode: Mode::Grid,
            axes: Vec::new(),
            added: Vec::new(),
            draws: 0,
            points: Vec::new(),
            only: Vec::new(),
            not: Vec::new(),
            seeds: None,
            goal: None,
            chosen: Vec::new(),
        };
        let reader = &mut Reader { problems };
        let entries = node.map_or_else(Vec::new, |node| reader.table("`[sweep]`", node));
        let (mut mode, mut draws, mut points) = (None, None, None);
        for (key, node) in entries {
            let span = node.span;
            match key.value.as_str() {
                "mode" => mode = reader.string("`mode`", node),
                "axes" => {
                    for (name, node) in flat(reader.table("`[sweep.axes]`", node)) {
                        let what = format!("the axis `{}`", name.value);
                        let values = reader.array(&what, node);
                        head.axes.extend(values.map(|values| (name, values)));
                    }
                }
                "seeds" => head.seeds = Some(node),
                "goal" => head.goal = Some(node),
                "random" => {
                    draws = reader
                        .integer("`random`", &node, 1, 1_000_000)
                        .map(|n| (n.unsigned_abs() as usize, span));
                }
                "points" => {
                    let items = reader.array("`points`", node).unwrap_or_default();
                    let tables = items.into_iter().map(|item| Located {
                        span: item.span,
                        value: flat(reader.table("a point", item)),
                    });
                    points = Some((tables.collect::<Vec<_>>(), span));
                }
                "where" => {
                    for (key, node) in reader.table("`[sweep.where]`", node) {
                        let conditions = match key.value.as_str() {
                            "only" => &mut head.only,
                            "not" => &mut head.not,
                            _ => {
                                reader.unknown(&key, "`[sweep.where]`", &["only", "not"]);
                                continue;
                            }
                        };
                        let items = reader.array(&format!("`where.{}`", key.value), node);
                        for item in items.unwrap_or_default() {
                            conditions.push(flat(reader.table("a condition", item)));
                        }
                    }
                }
                _ => {
                    let known = ["mode", "axes", "seeds", "goal", "random", "points", "where"];
                    reader.unknown(&key, "`[sweep]`", &known);
                }
            }
        }
        let named = mode.and_then(|name| {
            let found = MODES.iter().find(|(known, _)| *known == name.value);
            if found.is_none() {
                let known = MODES.iter().map(|(name, _)| name.to_string()).collect();
                let problem = Problem::UnknownMode {
                    mode: name.value.clone(),
                    known,
                };
                problems.add(problem, name.span);
            }
            found.map(|(_, mode)| (*mode, name.span))
        });
        let mut wrong = |why, span| problems.add(Problem::BadSweep { why }, span);
        head.mode = match (named, &points, draws) {
            (None, Some(_), _) => Mode::Points,
            (None, None, Some(_)) => Mode::Random,
            (None, None, None) => Mode::Grid,
            (Some((mode, span)), ..) => {
                if mode == Mode::Points && points.is_none() {
                    wrong("the mode `points` needs `points`", span);
                }
                if mode == Mode::Random && draws.is_none() {
                    wrong(
                        "the mode `random` needs `random`, the number of points to draw",
                        span,
                    );
                }
                mode
            }
        };
        if let Some((points, span)) = points {
            if head.mode != Mode::Points {
                wrong("`points` belongs to the mode `points`", span);
            } else if !head.axes.is_empty() {
                wrong(
                    "`points` name their axes themselves: `axes` can't stand beside them",
                    span,
                );
            }
            head.points = points;
        }
        if let Some((draws, span)) = draws {
            if head.mode != Mode::Random {
                wrong("`random` belongs to the mode `random`", span);
            }
            head.draws = draws;
        }
        head
    }

    /// The seeds.
    pub fn seeds(&mut self, problems: &mut Problems) -> Seeds {
        const MOST: i64 = 1000;
        let Some(node) = self.seeds.take() else {
            return Seeds::Count(1);
        };
        let reader = &mut Reader { problems };
        let items = match &node.value {
            NodeValue::Array(items) => items,
            NodeValue::Integer(count) if (1..=MOST).contains(count) => {
                return Seeds::Count(count.unsigned_abs());
            }
            NodeValue::Integer(count) => {
                let (found, most) = (*count, MOST);
                reader
                    .problems
                    .add(Problem::SeedCount { found, most }, node.span);
                return Seeds::Count(1);
            }
            other => {
                let wanted = "a number of seeds, or a list of them";
                reader.wrong_type("`seeds`", wanted, other, node.span);
                return Seeds::Count(1);
            }
        };
        let mut seeds = Vec::new();
        for item in items {
            let seed = reader.integer("a seed", item, 0, i64::MAX);
            let Some(seed) = seed.map(i64::unsigned_abs) else {
                continue;
            };
            seeds.push(seed);
        }
        reader.distinct("seeds", items);
        if items.is_empty() {
            let axis = "seeds".into();
            reader.problems.add(Problem::EmptyAxis { axis }, node.span);
        }
        Seeds::Listed(seeds)
    }

    /// The goal: `{ maximise = "stage.metric" }` or `{ minimise = … }`.
    pub fn goal(&mut self, root: &Entries, problems: &mut Problems) -> Option<Goal> {
        let node = self.goal.take()?;
        let span = node.span;
        let reader = &mut Reader { problems };
        let mut goals = Vec::new();
        for (key, node) in reader.table("`goal`", node) {
            let maximise = match key.value.as_str() {
                "maximise" => true,
                "minimise" => false,
                _ => {
                    reader.unknown(&key, "`goal`", &["maximise", "minimise"]);
                    return None;
                }
            };
            let metric = reader.string("a goal", node)?;
            goals.push((metric, maximise));
        }
        let [(metric, maximise)] = &goals[..] else {
            let why = "a goal is one of { maximise = \"stage.metric\" } and { minimise = \"stage.metric\" }";
            problems.add(Problem::BadSweep { why }, span);
            return None;
        };
        let reference: Result<Reference, Problem> = metric.value.parse();
        let Some(reference) = reference.ok().filter(|r| r.output.is_some()) else {
            let text = metric.value.clone();
            problems.add(Problem::MalformedGoal { text }, metric.span);
            return None;
        };
        let stages = inside(find(root, "stages"));
        if find(stages, &reference.stage).is_none() {
            let (stage, known) = (reference.stage, names(stages));
            problems.add(Problem::UnknownStage { stage, known }, metric.span);
            return None;
        }
        Some(Goal {
            metric: metric.value.clone(),
            maximise: *maximise,
        })
    }
}

/// Tables in tables as dotted names: TOML reads `stages.umap.uses = […]` as the former.
fn flat(entries: Entries) -> Named<Node> {
    let mut named = Vec::new();
    for (name, node) in entries {
        match node.value {
            NodeValue::Table(inner) if !inner.is_empty() => {
                named.extend(flat(inner).into_iter().map(|(rest, node)| {
                    let value = format!("{}.{}", name.value, rest.value);
                    let name = Located {
                        value,
                        span: name.span,
                    };
                    (name, node)
                }));
            }
            value => named.push((
                name,
                Located {
                    value,
                    span: node.span,
                },
            )),
        }
    }
    named
}
