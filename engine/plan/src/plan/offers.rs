//! What a stage's inputs offer it: instances of other stages, and gathers of them; pins take axes away.

use std::collections::HashMap;
use std::rc::Rc;

use petgraph::graph::NodeIndex;

use super::coordinates::{self, Coordinates};
use super::expand::Expander;
use super::{Gathered, plain_text, point};
use crate::workflow::problem::Problem;
use crate::workflow::{self, Collect, Located, Reference, Span, Stage};

/// What one input takes at a point.
#[derive(Debug, Clone)]
pub(super) enum Pick {
    /// Nothing of other stages.
    Own,
    /// An instance.
    Node(NodeIndex),
    /// Outputs of several.
    Gather(Rc<Vec<Gathered>>),
}

/// What an input takes, and the coordinates that come with it.
pub(super) type Offer = (Coordinates, Pick);

/// Axes that are given a value, as text.
pub(super) type Pins = Vec<(String, String)>;

/// By stage and axes: which of its instances have which values.
pub(super) type Pinned = HashMap<(String, Vec<String>), HashMap<Vec<String>, Vec<usize>>>;

/// The places of instances, by what these axes are. One that has two axes of a name stands at the values of both.
fn by_values(
    all: &[(Coordinates, NodeIndex)],
    axes: &[String],
) -> HashMap<Vec<String>, Vec<usize>> {
    let mut found: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
    for (at, (coordinates, _)) in all.iter().enumerate() {
        let mut values: Vec<Vec<String>> = vec![Vec::new()];
        for axis in axes {
            let own = coordinates.iter().filter(|((_, name), _)| name == axis);
            let own: Vec<String> = own.map(|(_, value)| plain_text(value)).collect();
            let with = |before: &Vec<String>, value: &String| {
                [&before[..], std::slice::from_ref(value)].concat()
            };
            let with = values
                .iter()
                .flat_map(|b| own.iter().map(move |v| with(b, v)));
            values = with.collect();
        }
        values.sort();
        values.dedup();
        for values in values {
            found.entry(values).or_default().push(at);
        }
    }
    found
}

impl<'a> Expander<'a> {
    /// What an input offers, with its axes pinned so.
    pub fn offers(&mut self, origin: &workflow::Origin, pins: &[Pins]) -> Option<Vec<Offer>> {
        match origin {
            workflow::Origin::Stage(reference) => {
                let offered = self.offered(reference, pins.first()?)?.into_iter();
                Some(offered.map(|(at, node)| (at, Pick::Node(node))).collect())
            }
            workflow::Origin::Collect(collect) => self.gathers(collect, pins),
            workflow::Origin::Path { .. } => None,
        }
    }

    /// Remembers why a stage will have no instances, where an input offers it none.
    pub fn note_empty(&mut self, stage: &'a Stage, origin: &workflow::Origin, offered: &[Offer]) {
        if let (true, Some((reference, _))) = (offered.is_empty(), references(origin).next()) {
            let why = self.why_empty(&reference.stage);
            self.empty.insert(&stage.name.value, why);
        }
    }

    /// Why a stage has no instances.
    pub fn why_empty(&self, stage: &str) -> String {
        self.empty.get(stage).cloned().unwrap_or_default()
    }

    /// The instances that a reference means where its axes are pinned so, without these coordinates.
    pub fn offered(
        &mut self,
        reference: &Located<Reference>,
        pins: &Pins,
    ) -> Option<Vec<(Coordinates, NodeIndex)>> {
        let all = self.instances.get(reference.value.stage.as_str())?;
        if all.is_empty() {
            return Some(Vec::new());
        }
        let fixed = |(_, axis): &(String, String)| pins.iter().any(|(name, _)| name == axis);
        let found: Vec<usize> = match pins.is_empty() {
            true => (0..all.len()).collect(),
            false => {
                let (axes, values): (Vec<String>, Vec<String>) = pins.iter().cloned().unzip();
                let stage = reference.value.stage.clone();
                let known = self.pinned.entry((stage, axes.clone()));
                let known = known.or_insert_with(|| by_values(all, &axes));
                known.get(&values).cloned().unwrap_or_default()
            }
        };
        let chosen = found.into_iter().map(|at| {
            let (coordinates, node) = &all[at];
            let mut free = coordinates.clone();
            free.retain(|axis, _| !fixed(axis));
            (free, *node)
        });
        let chosen: Vec<_> = chosen.collect();
        if chosen.is_empty() {
            // Something is wrong with an axis of its, which is said already.
            if self.workflow.incomplete.contains(&reference.value.stage) {
                return None;
            }
            let selector: Vec<_> = pins.iter().map(|(a, v)| format!("{a}={v}")).collect();
            let problem = Problem::NoInstance {
                stage: reference.value.stage.clone(),
                selector: selector.join(", "),
                known: all
                    .iter()
                    .map(|(_, node)| self.plan.graph[*node].label.clone())
                    .collect(),
            };
            self.problems.add(problem, reference.span);
            return None;
        }
        Some(chosen)
    }

    /// The gathers of an input: one, or one for each combination of what it gathers by.
    fn gathers(&mut self, collect: &Collect, pins: &[Pins]) -> Option<Vec<Offer>> {
        let mut groups: Vec<(Coordinates, Vec<Gathered>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        if collect.by.is_empty() {
            places.insert(String::new(), 0);
            groups.push((Coordinates::new(), Vec::new()));
        }
        for (reference, pins) in collect.from.iter().zip(pins) {
            let offered = self.offered(reference, pins)?;
            if offered.is_empty() && !collect.allow_empty {
                let stage = reference.value.stage.clone();
                let why = self.why_empty(&stage);
                let problem = Problem::EmptyGather { stage, why };
                self.problems.add(problem, reference.span);
                return None;
            }
            let mut own: Vec<(usize, Gathered)> = Vec::with_capacity(offered.len());
            for (coordinates, node) in offered {
                let (group, rest) = self.group(collect, &reference.value.stage, coordinates)?;
                let name = match collect.by.is_empty() {
                    true => String::new(),
                    false => format!("{group:?}"),
                };
                let place = *places.entry(name).or_insert_with(|| {
                    groups.push((group, Vec::new()));
                    groups.len() - 1
                });
                let instance = &self.plan.graph[node];
                let output = reference.value.output.clone();
                let output = output.or_else(|| instance.outputs.first().map(|o| o.role.clone()))?;
                let point = match self.workflow.by_name {
                    true => point(&coordinates::named(&rest)),
                    false => instance.point(),
                };
                own.push((
                    place,
                    Gathered {
                        point,
                        node,
                        output,
                    },
                ));
            }
            own.sort_by(|(_, a), (_, b)| (&a.point, a.node).cmp(&(&b.point, b.node)));
            for (place, gathered) in own {
                groups[place].1.push(gathered);
            }
        }
        let offers = groups.into_iter();
        let offers = offers.map(|(point, all)| (point, Pick::Gather(Rc::new(all))));
        Some(offers.collect())
    }

    /// The group that an instance belongs to, and the coordinates that it has beside.
    fn group(
        &mut self,
        collect: &Collect,
        stage: &str,
        mut rest: Coordinates,
    ) -> Option<(Coordinates, Coordinates)> {
        let mut group = Coordinates::new();
        for by in &collect.by {
            let at = (String::new(), by.value.axis.clone());
            let Some(key) = rest.get(&at).cloned() else {
                let known = rest.keys().map(|(_, axis)| axis.clone()).collect();
                let problem = Problem::NoAxisToGatherBy {
                    stage: stage.into(),
                    axis: by.value.axis.clone(),
                    known,
                };
                self.problems.add(problem, by.span);
                return None;
            };
            if !self.names.axes.derive(by, self.problems) {
                return None;
            }
            let value = self.names.axes.gathered_by(&by.value, &key)?;
            group.insert((String::new(), by.value.name().to_string()), value);
        }
        // What is the same in all of a gather tells none of it from the others.
        for by in collect.by.iter().filter(|by| by.value.column.is_none()) {
            rest.remove(&(String::new(), by.value.axis.clone()));
        }
        Some((group, rest))
    }
}

/// The stages that an input names, with the places.
pub(super) fn references(origin: &workflow::Origin) -> impl Iterator<Item = (&Reference, Span)> {
    let references = match origin {
        workflow::Origin::Stage(reference) => std::slice::from_ref(reference),
        workflow::Origin::Collect(collect) => &collect.from[..],
        workflow::Origin::Path { .. } => &[],
    };
    references
        .iter()
        .map(|reference| (&reference.value, reference.span))
}
