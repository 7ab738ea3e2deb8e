//! The points of a stage: what its inputs offer, joined, times the axes that it has by itself.

use std::collections::HashMap;

use super::axes::Axes;
use super::coordinates::{self, Row};
use super::expand::Expander;
use super::offers::{Offer, Pins, references};
use crate::workflow::problem::Problem;
use crate::workflow::{Axis, Stage, Template};

impl<'a> Expander<'a> {
    /// The points of a stage: its inputs' joined, times its own matrix; then those inputs whose pins name axes of these.
    pub fn rows(&mut self, stage: &'a Stage) -> Option<Vec<Row>> {
        let mut rows = vec![Row::new(stage.inputs.len())];
        let mut later = Vec::new();
        for (at, input) in stage.inputs.iter().enumerate() {
            let pins = references(&input.origin).map(|(reference, _)| reference.selectors.clone());
            let pins: Vec<Pins> = pins.collect();
            if pins.is_empty() {
                continue;
            }
            let mut texts = pins.iter().flatten().map(|(_, text)| text);
            if self.workflow.by_name && texts.any(|text| text.contains("${")) {
                later.push(at);
                continue;
            }
            let offered = self.offers(&input.origin, &pins)?;
            self.note_empty(stage, &input.origin, &offered);
            rows = self.joined(stage, rows, at, &offered)?;
        }
        rows = self.multiplied(stage, rows)?;
        for at in later {
            rows = self.pinned(stage, rows, at)?;
        }
        Some(rows)
    }

    fn joined(
        &mut self,
        stage: &Stage,
        rows: Vec<Row>,
        at: usize,
        offered: &[Offer],
    ) -> Option<Vec<Row>> {
        let before = rows.len();
        let joined = coordinates::join(rows, at, offered);
        if joined.is_err() {
            self.too_many(stage, &[before, offered.len()]);
        }
        joined.ok()
    }

    /// Rows times the stage's own matrix, but for axes that they have.
    fn multiplied(&mut self, stage: &'a Stage, mut rows: Vec<Row>) -> Option<Vec<Row>> {
        let by_name = self.workflow.by_name;
        let mut own: Vec<&Axis> = Vec::new();
        for axis in &stage.matrix {
            let name = &axis.name.value;
            let mut known = rows.iter().flat_map(|row| row.coordinates.keys());
            let known = known.find(|(_, known)| known == name);
            match known {
                Some(_) if by_name => {}
                Some((other_stage, _)) => {
                    let other_stage = other_stage.clone();
                    self.axis_twice(stage, axis, &other_stage);
                    return None;
                }
                None => own.push(axis),
            }
        }
        let mut sizes = vec![rows.len()];
        sizes.extend(own.iter().map(|axis| axis.rows.len()));
        let product = sizes
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        if product.is_none_or(|product| product > coordinates::LIMIT) {
            self.too_many(stage, &sizes);
            return None;
        }
        for axis in own {
            if axis.rows.is_empty() {
                let why = axis.why_empty();
                if !self.may_be_empty.contains(&*stage.name.value) {
                    let name = axis.name.value.clone();
                    let problem = Problem::NoValues { axis: name, why };
                    self.problems.add(problem, axis.span);
                    return None;
                }
                self.empty.insert(&stage.name.value, why);
            }
            let key = Axes::key(stage, &axis.name.value, by_name);
            rows = rows
                .iter()
                .flat_map(|row| {
                    let key = &key;
                    axis.rows.iter().map(move |value| {
                        let mut row = row.clone();
                        row.coordinates.insert(key.clone(), value.key.value.json());
                        row
                    })
                })
                .collect();
        }
        Some(rows)
    }

    /// Notes an axis that one of the stages that a stage reads from has too, where that would be another one.
    fn axis_twice(&mut self, stage: &Stage, axis: &Axis, other_stage: &str) {
        let mut all = self.workflow.stages.iter();
        let other = all.find(|stage| stage.name.value == other_stage);
        let mut declared = other.iter().flat_map(|stage| &stage.matrix);
        let declared = declared.find(|other| other.name.value == axis.name.value);
        let problem = Problem::AxisTwice {
            axis: axis.name.value.clone(),
            stage: stage.name.value.clone(),
            other_stage: other_stage.into(),
            other: declared.map_or(stage.name.span, |axis| axis.name.span),
        };
        self.problems.add(problem, axis.name.span);
    }

    /// Rows joined with an input whose pins stand for something else at each of them.
    fn pinned(&mut self, stage: &'a Stage, rows: Vec<Row>, at: usize) -> Option<Vec<Row>> {
        let origin = &stage.inputs[at].origin;
        // Most rows differ in what they pin; some don't.
        let mut known: HashMap<Vec<Pins>, Vec<Offer>> = HashMap::new();
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let mut pins = Vec::new();
            for (reference, span) in references(origin) {
                let mut own = Pins::new();
                for (axis, text) in &reference.selectors {
                    let value = Template::parse(text).and_then(|template| {
                        template.render(|name| {
                            let value = self.names.value(stage, &row.coordinates, name)?;
                            Ok(value.value.text())
                        })
                    });
                    match value {
                        Ok(value) => own.push((axis.clone(), value)),
                        Err(problem) => {
                            let names = &self.names;
                            names.unresolved(stage, problem, span, self.problems);
                            return None;
                        }
                    }
                }
                pins.push(own);
            }
            if !known.contains_key(&pins) {
                let offered = self.offers(origin, &pins)?;
                self.note_empty(stage, origin, &offered);
                known.insert(pins.clone(), offered);
            }
            all.extend(self.joined(stage, vec![row], at, &known[&pins])?);
            if all.len() > coordinates::LIMIT {
                self.too_many(stage, &[all.len()]);
                return None;
            }
        }
        Some(all)
    }

    fn too_many(&mut self, stage: &Stage, sizes: &[usize]) {
        let arithmetic = sizes
            .iter()
            .filter(|&&size| size > 1)
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(" × ");
        let problem = Problem::TooManyInstances {
            stage: stage.name.value.clone(),
            arithmetic,
            limit: coordinates::LIMIT,
        };
        self.problems.add(problem, stage.name.span);
    }
}
