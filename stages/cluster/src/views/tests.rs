//! The parts of views that can be looked at by hand; `tests/stages.rs` has the views of the kinds.

use flow_stage::view::Colour;
use ndarray::{Array2, array};

use super::nearest;
use super::plane::{category, plane};

#[test]
fn two_dimensions_stay_and_more_are_turned() {
    let flat = plane(&array![[1f32, 2.0], [3.0, 4.0]]).unwrap();
    assert_eq!((flat.x, flat.y), (vec![1.0, 3.0], vec![2.0, 4.0]));
    assert_eq!(flat.note, "the two dimensions as they are");
    // A line in three dimensions: all of its variance lies along the first component.
    let line = Array2::from_shape_fn((5, 3), |(row, axis)| (row * (axis + 1)) as f32);
    let turned = plane(&line).unwrap();
    assert!(turned.y.iter().all(|y| y.abs() < 1e-5), "{:?}", turned.y);
    let length = turned.x[4] - turned.x[0];
    assert!((length.abs() - 4.0 * 14f64.sqrt()).abs() < 1e-4, "{length}");
    assert_eq!(
        turned.note,
        "the first two principal components of 3 dimensions, with 100 % of the variance"
    );
    for (n, d) in [(1, 3), (2, 5), (3, 1), (1, 1)] {
        let plane = plane(&Array2::from_shape_fn((n, d), |(i, j)| (i * d + j) as f32)).unwrap();
        assert_eq!((plane.x.len(), plane.y.len()), (n, n));
        assert!(plane.x.iter().chain(&plane.y).all(|x| x.is_finite()));
    }
}

#[test]
fn the_nearest_to_any_anchor_come_first() {
    let points = array![[0.0], [1.0], [5.0], [5.5], [-1.0], [100.0]];
    let order = nearest(points.view(), &[0, 1, 2, 3, 4], array![[0.0], [5.4]].view());
    assert_eq!(order, [0, 3, 2, 1, 4]);
}

#[test]
fn only_the_labels_that_occur_are_named() {
    let labels = [7, -1, 3, 7];
    let colour = category(
        "label",
        &[0, 1, 3, 2],
        |row| labels[row],
        |label| format!("l{label}"),
    );
    let expected = Colour::Category {
        name: "label".into(),
        names: vec!["l3".into(), "l7".into()],
        value: vec![1, -1, 1, 0],
    };
    assert_eq!(colour, expected);
}
