//! The plan of a sweep against the plans of its points, one by one, over random workflows: every point's instances do
//! what they do in a plan of their own, and no two instances of the union do the same.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{self, Origin, Plan, Task};
use flow_plan::workflow::{self, Overrides};
use petgraph::graph::NodeIndex;
use proptest::prelude::*;

const AXES: [&str; 3] = ["a", "b", "c"];

/// For each stage: the params it names, and earlier stages that it reads, by how far back they are.
type Stages = Vec<(BTreeSet<usize>, BTreeSet<usize>)>;

fn workflow(stages: &Stages, variant: usize) -> String {
    let mut text = "[params]\na = 1\nb = 1\nc = 1\n".to_string();
    for (i, (params, back)) in stages.iter().enumerate() {
        let sources: BTreeSet<usize> = back.iter().filter_map(|n| i.checked_sub(*n)).collect();
        let inputs: Vec<String> = sources.iter().map(|s| format!("i{s} = \"s{s}\"")).collect();
        let values: Vec<String> = params
            .iter()
            .map(|p| format!("${{{}}}", AXES[*p]))
            .collect();
        let read: Vec<String> = sources
            .iter()
            .map(|s| format!("${{inputs.i{s}}}"))
            .collect();
        text += &format!(
            "[stages.s{i}]\nrun = \"echo {i} {} {} > ${{outputs.o}}\"\ninputs = {{ {} }}\noutputs = {{ o = \"o\" }}\n",
            values.join(" "),
            read.join(" "),
            inputs.join(", ")
        );
    }
    let touched = variant % stages.len();
    text + &format!(
        "[variants.v.other]\nreplace.stages.s{touched} = {{ run = \"echo ${{c}} > ${{outputs.o}}\", inputs = {{}} }}\n"
    )
}

fn plan_of(text: &str, overrides: &Overrides) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(&path, text).unwrap();
    let mut loaded = workflow::load(&path, overrides).unwrap_or_else(|report| panic!("{report}"));
    let plan = plan::expand(
        &loaded.workflow,
        &Catalogue::default(),
        &mut loaded.problems,
    );
    assert_eq!(loaded.problems.count(), 0);
    plan
}

/// What each instance does, with all that it reads from, as text.
fn deeds(plan: &Plan) -> HashMap<NodeIndex, String> {
    let mut deeds: HashMap<NodeIndex, String> = HashMap::new();
    for &node in &plan.order {
        let instance = &plan.graph[node];
        let Task::Command(program) = &instance.task else {
            unreachable!("there are only commands");
        };
        let inputs: Vec<String> = instance
            .inputs
            .iter()
            .map(|input| match &input.origin {
                Origin::Instance { node, output } => {
                    format!("{}={output} of ({})", input.role, deeds[node])
                }
                _ => unreachable!("there are only instances"),
            })
            .collect();
        deeds.insert(
            node,
            format!(
                "{} {:?} {:?} {inputs:?}",
                instance.stage, program.command, program.values
            ),
        );
    }
    deeds
}

fn stages() -> impl Strategy<Value = Stages> {
    let stage = (
        prop::collection::btree_set(0usize..3, 0..3),
        prop::collection::btree_set(1usize..4, 0..3),
    );
    prop::collection::vec(stage, 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sweep_is_the_union_of_its_points(stages in stages(), variant in any::<usize>(), with_variant in any::<bool>()) {
        let text = workflow(&stages, variant);
        let mut sweep = vec!["a=1,2".to_string(), "b=1,2,3".into(), "c=1,2".into()];
        if with_variant {
            sweep.push("v=base,other".into());
        }
        let all = Overrides { sweep, ..Overrides::default() };
        let text = format!("{text}\n[stages.all]\nrun = \"echo ${{a}} ${{b}} ${{c}} > ${{outputs.o}}\"\noutputs = {{ o = \"o\" }}\n");
        let union = plan_of(&text, &all);
        let of_union = deeds(&union);
        let sweep = union.sweep.as_ref().unwrap();
        prop_assert_eq!(sweep.points.len(), if with_variant { 24 } else { 12 });
        let mut distinct = BTreeSet::new();
        for point in &sweep.points {
            let (variants, set): (Vec<_>, Vec<_>) = point
                .coordinates
                .iter()
                .map(|(axis, value)| format!("{axis}={}", plan::plain_text(value)))
                .partition(|text| text.starts_with('v'));
            let single = plan_of(&text, &Overrides { set, variants, ..Overrides::default() });
            let of_single = deeds(&single);
            let expected: Vec<&String> = single.order.iter().map(|node| &of_single[node]).collect();
            let found: Vec<&String> = point.nodes.iter().map(|node| &of_union[node]).collect();
            prop_assert_eq!(&found, &expected);
            // What an instance is called by is true of the point.
            for node in &point.nodes {
                for (axis, value) in &union.graph[*node].coordinates {
                    prop_assert_eq!(&point.coordinates[axis], value);
                }
            }
            distinct.extend(expected.into_iter().cloned());
        }
        prop_assert_eq!(union.order.len(), distinct.len());
        // Names tell them apart, and sources come first.
        let labels: BTreeMap<&str, NodeIndex> =
            union.order.iter().map(|n| (union.graph[*n].label.as_str(), *n)).collect();
        prop_assert_eq!(labels.len(), union.order.len());
        let rank: HashMap<NodeIndex, usize> = union.order.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        for node in &union.order {
            prop_assert!(union.sources(*node).all(|source| rank[&source] < rank[node]));
        }
        let mut urgency = union.urgency(|_| None);
        urgency.sort();
        let mut order = union.order.clone();
        order.sort();
        prop_assert_eq!(urgency, order);
    }
}
