//! The kinds that the method is compared with: `gmm`, `george`, `shuffle-labels`.

use flow_stage::array::{read, write};
use flow_stage::view::Item;
use ndarray::{Array1, Array2};
use serde_json::json;

use super::folder::{Folder, ROWS, TRAIN, fine};

const INPUTS: [(&str, &str); 2] = [("embedding", "embedding.npy"), ("data", "data")];

#[test]
fn gmm_gives_labels_and_membership_of_each_shape() {
    let folder = Folder::new();
    let outputs = ["labels", "membership", "metrics"];
    for covariance in ["full", "tied", "diag", "spherical"] {
        let parameters = json!({"k": {"round": 2, "flat": 3}, "covariance": covariance});
        let warnings = folder.run("gmm", parameters, &INPUTS, &outputs).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let labels = folder.labels("labels.out");
        let membership: Array2<f64> = read(&folder.path("membership.out")).unwrap();
        assert_eq!(membership.dim(), (ROWS, 5));
        for row in 0..ROWS {
            let own = membership.row(row);
            if row >= TRAIN {
                assert_eq!(labels[row], -1);
                assert!(own.iter().all(|x| x.is_nan()));
                continue;
            }
            assert_eq!(labels[row], fine(row), "{covariance}: row {row}");
            assert!((own.sum() - 1.0).abs() < 1e-12);
            assert!(own.iter().all(|&x| x <= own[labels[row] as usize]));
            let others = if fine(row) < 2 { 2..5 } else { 0..2 };
            assert!(others.into_iter().all(|column| own[column] == 0.0));
        }
        let metrics = folder.metrics();
        assert_eq!(metrics["clusters"], 5);
        let number = |name: &str| metrics[name].as_f64().unwrap();
        assert!(number("silhouette") > 0.7);
        // Penalties: ln 120 > 2 for each free number.
        assert!(number("bic") > number("aic"));
        let of = |class: &str| metrics["groups"][class]["log_likelihood"].as_f64().unwrap();
        assert!((number("log_likelihood") - (of("round") + of("flat")) / 2.0).abs() < 1e-12);
        let (_, points) = folder.points("flat");
        let strong = points.colour.iter().find_map(|colour| match colour {
            flow_stage::view::Colour::Number { name, value } if name == "probability" => {
                Some(value)
            }
            _ => None,
        });
        assert!(strong.unwrap().iter().all(|x| x.is_some_and(|x| x > 0.5)));
    }
}

#[test]
fn gmm_refuses_what_it_can_not_compute_with() {
    let folder = Folder::new();
    let outputs = ["labels", "membership", "metrics"];
    let refusal = |parameters| {
        folder
            .run("gmm", parameters, &INPUTS, &outputs)
            .unwrap_err()
    };
    let error = refusal(json!({"k": {"oval": 2}}));
    assert!(
        error.contains("k names the class oval, which has no rows"),
        "{error}"
    );
    let error = refusal(json!({"k": 2, "reg_covar": -1.0}));
    assert!(
        error.contains("reg_covar is -1.0; it has to be a number of at least 0"),
        "{error}"
    );
    write(&folder.path("equal.npy"), &Array2::<f32>::ones((ROWS, 2))).unwrap();
    let inputs = [("embedding", "equal.npy"), INPUTS[1]];
    let error = folder
        .run("gmm", json!({"k": 2, "reg_covar": 0.0}), &inputs, &outputs)
        .unwrap_err();
    assert!(
        error.contains(
            "class round: a mixture of 2 component(s) failed: the covariance of one has no inverse"
        ),
        "{error}"
    );
}

#[test]
fn george_finds_how_many_fine_labels_each_class_has() {
    let folder = Folder::new();
    let outputs = ["labels", "search", "metrics"];
    for model in ["kmeans", "gmm"] {
        let parameters = json!({"model": model, "max_k": 5});
        folder.run("george", parameters, &INPUTS, &outputs).unwrap();
        let labels = folder.labels("labels.out");
        assert!((0..ROWS).all(|row| labels[row] == if row < TRAIN { fine(row) } else { -1 }));
        let metrics = folder.metrics();
        assert_eq!(
            (&metrics["clusters"], &metrics["split"]),
            (&json!(5), &json!(0))
        );
        let table = folder.text("search.out");
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split(',').collect())
            .collect();
        assert_eq!(lines[0], ["class", "k", "silhouette", "chosen"]);
        let chosen: Vec<[&str; 2]> = lines
            .iter()
            .filter(|line| line[3] == "true")
            .map(|line| [line[0], line[1]])
            .collect();
        assert_eq!(chosen, [["round", "2"], ["flat", "3"]]);
        assert_eq!(lines.len(), 1 + 2 * 4);
    }
    let parameters = json!({"min_k": 4, "max_k": 3});
    let error = folder
        .run("george", parameters, &INPUTS, &outputs)
        .unwrap_err();
    assert!(
        error.contains("min_k is 4 and max_k 3: there is no number between them"),
        "{error}"
    );
}

/// Labels of unequal sizes: of `flat` one in four rows has label 2, of `round` one in three label 0.
fn unequal() -> Array1<i32> {
    let label = |row: usize| match (row % 2, row) {
        _ if row >= TRAIN || row == 17 => -1,
        (0, row) => i32::from(row % 3 != 0),
        (_, row) => 2 + i32::from(row % 8 > 2),
    };
    (0..ROWS).map(label).collect()
}

#[test]
fn shuffled_labels_keep_their_classes_and_say_nothing_of_the_rows() {
    let folder = Folder::new();
    let labels = unequal();
    write(&folder.path("labels.npy"), &labels).unwrap();
    let inputs = [("labels", "labels.npy"), INPUTS[1]];
    let outputs = ["labels", "metrics"];
    let size = |labels: &Array1<i32>, label: i32| labels.iter().filter(|&&l| l == label).count();
    for how in ["permuted", "even"] {
        let parameters = json!({"how": how});
        folder
            .run("shuffle-labels", parameters.clone(), &inputs, &outputs)
            .unwrap();
        let dealt = folder.labels("labels.out");
        for row in 0..ROWS {
            // The coarse class is still told by the label, and who had none has none.
            assert_eq!(labels[row] < 0, dealt[row] < 0, "row {row}");
            assert_eq!(labels[row] < 2, dealt[row] < 2, "row {row}");
        }
        let sizes: Vec<usize> = (0..4).map(|label| size(&dealt, label)).collect();
        match how {
            "permuted" => {
                assert!((0..4).all(|label| sizes[label as usize] == size(&labels, label)))
            }
            _ => assert_eq!(sizes, [60, 60, 60, 59]),
        }
        let metrics = folder.metrics();
        assert_eq!(metrics["clusters"], 4);
        let ari = metrics["ari"].as_f64().unwrap();
        assert!(ari.abs() < 0.05, "{how}: {ari}");
        let same = (0..TRAIN)
            .filter(|&row| labels[row] >= 0 && labels[row] == dealt[row])
            .count();
        let told = metrics["same"].as_f64().unwrap();
        assert!((told - same as f64 / 239.0).abs() < 1e-12, "{how}");
        let Item::Table(table) = &folder.view().items[0] else {
            panic!("{how}")
        };
        let shown: Vec<u64> = table
            .rows
            .iter()
            .map(|row| row[3].as_u64().unwrap())
            .collect();
        assert_eq!(
            shown,
            sizes.iter().map(|&size| size as u64).collect::<Vec<_>>()
        );

        // Without a data set labels cross the classes.
        folder
            .run("shuffle-labels", parameters, &inputs[..1], &outputs)
            .unwrap();
        let free = folder.labels("labels.out");
        assert!((0..TRAIN).any(|row| labels[row] >= 0 && (labels[row] < 2) != (free[row] < 2)));
    }
    let one = Array1::<i32>::zeros(ROWS);
    write(&folder.path("labels.npy"), &one).unwrap();
    let warnings = folder
        .run("shuffle-labels", json!({}), &inputs, &outputs)
        .unwrap();
    assert_eq!(
        warnings[0],
        "class round: all of its 120 row(s) have one label, and keep it"
    );
}
