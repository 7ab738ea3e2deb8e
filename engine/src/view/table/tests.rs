use std::collections::BTreeMap;

use flow_cache::{Digest, Key};
use flow_plan::plan::sweep::{Goal, Mode};
use flow_results::table::{Cell, Lead, SeedValue};
use serde_json::{Value, json};

use super::*;

const ACCURACY: &str = "finetune.test_accuracy";
const CLUSTERS: &str = "labels[way=a].clusters";
const COARSE: &str = "coarse.test_accuracy";

fn cell(values: &[Value]) -> Cell {
    let numbers: Vec<f64> = values
        .iter()
        .map(|v| v.as_f64().unwrap_or(f64::NAN))
        .collect();
    Cell {
        n: values.len(),
        mean: flow_results::statistics::mean(&numbers),
        half_width: flow_results::statistics::half_width(&numbers),
        values: values
            .iter()
            .zip(42..)
            .map(|(value, seed)| SeedValue {
                seed,
                value: value.as_number().cloned(),
                stage: format!("stage[seed={seed}]"),
                key: Key(Digest::of_bytes(b"")),
            })
            .collect(),
        lead: None,
    }
}

fn row(point: Value, cells: &[(&str, Cell)]) -> Row {
    let cells = cells
        .iter()
        .map(|(name, cell)| (name.to_string(), cell.clone()));
    Row {
        point: serde_json::from_value(point).unwrap(),
        base: false,
        best: false,
        status: Status::Complete,
        n: 2,
        reason: None,
        cells: cells.collect::<BTreeMap<_, _>>(),
    }
}

/// Three points: the base, the best, one that failed.
fn table() -> Table {
    let coarse = cell(&[json!(0.9), json!(0.91)]);
    let base = Row {
        base: true,
        ..row(
            json!({"keep": 0.9, "way": "a"}),
            &[
                (ACCURACY, cell(&[json!(0.9), json!(0.92)])),
                (CLUSTERS, cell(&[json!(10), json!(11)])),
                (COARSE, coarse.clone()),
            ],
        )
    };
    let mut ahead = cell(&[json!(0.93), json!(0.95)]);
    ahead.lead = Some(Lead {
        difference: 0.03,
        p: Some(0.01),
        p_holm: Some(0.02),
        significant: true,
    });
    let best = Row {
        best: true,
        ..row(
            json!({"keep": 0.8, "way": "b_c"}),
            &[
                (ACCURACY, ahead),
                (CLUSTERS, cell(&[json!(14), json!(14)])),
                (COARSE, coarse.clone()),
            ],
        )
    };
    let failed = Row {
        status: Status::Failed,
        n: 0,
        reason: Some("finetune (seeds 42, 43): it ended with exit status 3".into()),
        ..row(
            json!({"keep": 1.0, "way": null}),
            &[
                (ACCURACY, Cell::default()),
                (CLUSTERS, cell(&[json!(9)])),
                (COARSE, coarse),
            ],
        )
    };
    Table {
        workflow: "w".into(),
        mode: Some(Mode::Grid),
        axes: vec!["keep".into(), "way".into()],
        seeds: vec![42, 43],
        metrics: [ACCURACY, CLUSTERS, COARSE].map(String::from).to_vec(),
        goal: Some(Goal {
            metric: ACCURACY.into(),
            maximise: true,
        }),
        rows: vec![base, best, failed],
    }
}

/// The table in a form is what is written in `golden/`; `FLOW_BLESS=1` writes that down anew.
#[track_caller]
fn is(format: Format, name: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/view/table/golden");
    let path = folder.join(name);
    let found = print(&table(), format, true).unwrap() + "\n";
    if std::env::var_os("FLOW_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, expected, "\n{found}\n\n{expected}");
}

#[test]
fn text_has_a_line_a_point_and_says_below_what_it_means() {
    is(Format::Text, "table.txt");
}

#[test]
fn markdown_is_escaped() {
    is(Format::Markdown, "table.md");
}

#[test]
fn latex_is_a_tabular_with_booktabs() {
    is(Format::Latex, "table.tex");
}

#[test]
fn csv_has_all_digits() {
    is(Format::Csv, "table.csv");
}

#[test]
fn json_is_one_object_a_line_with_the_documented_fields() {
    let text = print(&table(), Format::Json, true).unwrap();
    assert_eq!(text.lines().count(), 1);
    let found: Value = serde_json::from_str(&text).unwrap();
    let names = |value: &Value| -> Vec<String> {
        let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&found),
        [
            "axes", "goal", "metrics", "mode", "rows", "seeds", "workflow"
        ]
    );
    assert_eq!(found["mode"], "grid");
    assert_eq!(found["goal"], json!({"metric": ACCURACY, "maximise": true}));
    let row = &found["rows"][1];
    assert_eq!(
        names(row),
        ["base", "best", "cells", "n", "point", "reason", "status"]
    );
    assert_eq!(row["status"], "complete");
    let cell = &row["cells"][ACCURACY];
    assert_eq!(names(cell), ["half_width", "lead", "mean", "n", "values"]);
    assert_eq!(
        cell["lead"],
        json!({"difference": 0.03, "p": 0.01, "p_holm": 0.02, "significant": true})
    );
    assert_eq!(names(&cell["values"][0]), ["key", "seed", "stage", "value"]);
    // Counts stay counts.
    assert_eq!(
        row["cells"][CLUSTERS]["values"][0]["value"].to_string(),
        "14"
    );
    assert_eq!(found["rows"][2]["cells"][ACCURACY]["mean"], Value::Null);
}

#[test]
fn what_is_the_same_everywhere_is_a_column_where_it_was_asked_for() {
    let text = print(&table(), Format::Text, false).unwrap();
    assert!(!text.contains("The same in every row"), "{text}");
    assert_eq!(text.matches("0.9050 ± 0.0635").count(), 3, "{text}");
}

/// Each form shows hostile names as what they are, and nothing of them acts.
#[test]
fn hostile_names_are_nothing_but_text() {
    const HOSTILE: &str = "[x]{y}$1%&_#~^\\|<b>*`\"',--\u{202e}\u{1b}[2J\nend";
    let mut table = table();
    table.axes = vec![HOSTILE.into()];
    table.goal = None;
    let metric = format!("stage.{HOSTILE}");
    table.metrics = vec![metric.clone()];
    table.rows.truncate(1);
    let cells = [(metric.as_str(), cell(&[json!(0.5), json!(null)]))];
    table.rows[0] = Row {
        status: Status::Partial,
        reason: Some(HOSTILE.into()),
        ..row(json!({HOSTILE: HOSTILE}), &cells)
    };
    let printed = |format| print(&table, format, true).unwrap();
    for format in [Format::Text, Format::Markdown, Format::Latex] {
        let text = printed(format);
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(acts), "{format:?}: {text:?}");
        assert!(text.contains("NaN"), "{text}");
    }
    let markdown = printed(Format::Markdown);
    let rows: Vec<&str> = markdown.lines().take(3).collect();
    for row in rows {
        // Three columns and the remark: no pipe of the names is one of the table's.
        assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
        assert!(!row.contains("<b>"));
    }
    let latex = printed(Format::Latex);
    assert!(
        latex.contains(
            "{[}x]\\{y\\}\\$1\\%\\&\\_\\#\\textasciitilde{}\\textasciicircum{}\\textbackslash{}\\textbar{}\\textless{}b\\textgreater{}{*}\
             \\textasciigrave{}{\\char34}',-{-}\\textbackslash{}u\\{202e\\}"
        ),
        "{latex}"
    );
    let csv = printed(Format::Csv);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap().get(0), Some(HOSTILE));
    let record = reader.records().next().unwrap().unwrap();
    assert_eq!(
        (record.get(0), record.get(5)),
        (Some(HOSTILE), Some(HOSTILE))
    );
    assert_eq!(record.get(6), Some("NaN"));
}

#[test]
fn a_table_without_a_sweep_is_one_row() {
    let mut table = table();
    table.rows.truncate(1);
    table.rows[0].n = 1;
    table.rows[0].cells.values_mut().for_each(|cell| {
        *cell = self::cell(&[json!(0.5)]);
    });
    (table.mode, table.goal, table.seeds) = (None, None, vec![42]);
    (table.axes, table.rows[0].point) = (Vec::new(), BTreeMap::new());
    table.metrics.truncate(1);
    let text = print(&table, Format::Text, true).unwrap();
    assert_eq!(
        text,
        "     finetune\ntest_accuracy\n─────────────\n       0.5000\n─────────────"
    );
    // One that no screen is wide enough for stands from top to bottom.
    table.metrics = (0..12).map(|i| format!("{ACCURACY}_{i}")).collect();
    let text = print(&table, Format::Text, true).unwrap();
    assert_eq!(text.lines().count(), 12, "{text}");
    assert!(text.starts_with("finetune.test_accuracy_0   -\n"), "{text}");
}

#[test]
fn one_seed_is_said_to_be_one() {
    let mut table = table();
    table.seeds = vec![42];
    for row in &mut table.rows {
        row.n = row.n.min(1);
        for cell in row.cells.values_mut() {
            cell.half_width = None;
            cell.n = cell.n.min(1);
            cell.values.truncate(1);
            if let Some(lead) = &mut cell.lead {
                (lead.p, lead.p_holm, lead.significant) = (None, None, false);
            }
        }
    }
    let text = print(&table, Format::Text, true).unwrap();
    assert!(!text.contains('±') && !text.contains('*'), "{text}");
    assert!(text.contains("One seed: there is no interval"), "{text}");
    assert!(
        text.contains("The lead over the base, +0.0300, is that of one seed."),
        "{text}"
    );
}

/// The last but one note: what is said of the best.
fn verdict(table: &Table) -> String {
    let text = print(table, Format::Text, true).unwrap();
    let mut lines = text
        .lines()
        .filter(|line| line.contains("best") || line.starts_with("Best"));
    lines
        .rfind(|line| line.contains(" by "))
        .unwrap()
        .to_string()
}

#[test]
fn the_best_is_told_with_what_is_known_of_its_lead() {
    let by = "by finetune.test_accuracy, the largest";
    let mut changed = table();
    changed.rows[1].cells.get_mut(ACCURACY).unwrap().lead = Some(Lead {
        difference: 0.03,
        p: Some(0.2),
        p_holm: Some(0.2),
        significant: false,
    });
    assert_eq!(
        verdict(&changed),
        format!(
            "Best {by}: keep=0.8,way=b_c. The lead over the base, +0.0300, does not exceed the seeds' noise (p 0.200)."
        )
    );
    // Two that are equally good, by the same results.
    changed.rows[2] = changed.rows[1].clone();
    assert_eq!(
        verdict(&changed),
        format!(
            "Best {by}: keep=0.8,way=b_c and keep=0.8,way=b_c, equally good. The lead over the base, +0.0300, does not \
             exceed the seeds' noise (p 0.200)."
        )
    );
    // And by others.
    changed.rows[2].cells.get_mut(ACCURACY).unwrap().lead = None;
    assert_eq!(
        verdict(&changed),
        format!("Best {by}: keep=0.8,way=b_c and keep=0.8,way=b_c, equally good.")
    );
    let mut base = table();
    (base.rows[0].best, base.rows[1].best) = (true, false);
    assert_eq!(
        verdict(&base),
        format!("Best {by}: keep=0.9,way=a; the base.")
    );
    base.rows[0].best = false;
    base.goal.as_mut().unwrap().maximise = false;
    assert_eq!(
        verdict(&base),
        "No point is the best by finetune.test_accuracy, the smallest: none has it for every seed."
    );
}
