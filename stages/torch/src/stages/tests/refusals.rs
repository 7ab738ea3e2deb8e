//! What does not fit is refused, in words.

use super::*;

#[test]
fn what_does_not_fit_is_refused_before_the_first_epoch() {
    let place = Place::new();
    let train = |with| place.error::<Train>(&[DATA], with);
    let fine = |labels: &dyn Fn(usize) -> i32| {
        place.labels(labels);
        place.error::<Train>(&[DATA, LABELS], small(1, json!({ "labels": "fine" })))
    };
    for (error, words) in [
        (
            train(small(1, json!({ "epochs": { "min": 3, "max": 2 } }))),
            "`min` must not exceed `max`",
        ),
        (
            train(small(1, json!({ "eta_min": 1.0 }))),
            "`eta_min` is 1 and `lr` is 0.05",
        ),
        (
            train(small(1, json!({ "arch": "resnet18" }))),
            "leave them out",
        ),
        (fine(&|_| -1), "leaves out every training row"),
        (
            fine(&|row| row as i32 * 1000),
            "holds the label 239000, and there are 240 rows",
        ),
        (
            fine(&|row| if row < 4 { row as i32 } else { -1 }),
            "too few to set a tenth",
        ),
        (
            fine(&|row| if row % 2 == 0 { 0 } else { 2 }),
            "1 of 3 classes have no training image (label 1): a network can't learn them",
        ),
        (
            train(small(1, json!({ "class_weights": [1.0, 2.0, 3.0] }))),
            "`class_weights` holds 3 weights, and there are 2 classes: left, right",
        ),
        (
            train(small(1, json!({ "class_weights": [1.0, -2.0] }))),
            "may not be negative",
        ),
        (
            train(small(1, json!({ "augment": { "saturation": 0.5 } }))),
            "for images in colour, and these have 1 channel(s)",
        ),
        (
            train(small(1, json!({ "augment": { "crop": 50 } }))),
            "`augment.crop` is 50 and the images are 8x8: some pieces would hold nothing but the black around the image. Take 7",
        ),
        (
            train(small(1, json!({ "device": "cuda:7" }))),
            "the device `cuda:7` is not there",
        ),
        (
            train(small(1, json!({ "labels": "fine", "uncertain": "keep" }))),
            "needs the input `features`",
        ),
    ] {
        assert!(error.contains(words), "{error}");
    }
    place.labels(|_| 0);
    let error = place.error::<Train>(&[DATA, LABELS], small(1, json!({})));
    assert!(error.contains("set `labels = \"fine\"`"), "{error}");
    array::write(&place.path("features.npy"), &Array2::<f32>::zeros((7, 2))).unwrap();
    let inputs = [DATA, LABELS, FEATURES];
    let fine = |more: Value| {
        let mut with = small(1, json!({ "labels": "fine" }));
        merge(&mut with, more);
        place.error::<Train>(&inputs, with)
    };
    let error = fine(json!({}));
    assert!(error.contains("set `uncertain = \"keep\"`"), "{error}");
    let error = fine(json!({ "uncertain": "keep" }));
    assert!(error.contains("`features` has 7 rows"), "{error}");
    let gaps = Array2::from_shape_fn((240, 2), |(row, _)| if row == 9 { f32::NAN } else { 0.0 });
    array::write(&place.path("features.npy"), &gaps).unwrap();
    let error = fine(json!({ "uncertain": "keep" }));
    assert!(error.contains("no value for the training row 9"), "{error}");
    array::write(&place.path("labels.npy"), &Array1::<i32>::zeros(7)).unwrap();
    let error = place.error::<Multihead>(&[DATA, LABELS], small(1, json!({})));
    assert!(
        error.contains("`labels` has 7 rows, and the data set `quadrants` has 240"),
        "{error}"
    );
    let error = place.error::<Evaluate>(&[DATA, ("model", "labels.npy")], json!({}));
    assert!(
        error.contains("labels.npy is not a .safetensors file"),
        "{error}"
    );
    assert!(!place.path("wrong/model").exists());
}

#[test]
fn what_makes_no_sense_beside_the_data_is_said() {
    let place = Place::new();
    let warnings = |name: &str, with: Value| -> Vec<String> {
        let events = place.run::<Train>(name, &[DATA], with).unwrap();
        let events = events
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let warnings = events.filter(|event| event["event"] == "warning");
        warnings
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect()
    };
    // A short trial with the defaults of what is counted in epochs, and the largest crop.
    let with = small(1, json!({ "batch_size": 160, "augment": { "crop": 7 } }));
    assert_eq!(warnings("short", with), Vec::<String>::new());
    let with = small(2, json!({ "batch_size": 500, "patience": 9, "t0": 30 }));
    assert_eq!(
        warnings("odd", with),
        [
            "`batch_size` is 500 and there are 160 training images: each epoch is a single step of the optimiser",
            "`patience` is 9 and `epochs.max` is 2: the training never stops early",
            "`t0` is 30 and `epochs.max` is 2: the training ends before the learning rate has fallen to `eta_min`",
        ]
    );
    let with = small(2, json!({ "lr": "auto" }));
    assert_eq!(
        warnings("auto", with),
        [
            "the range test for `lr = \"auto\"` takes 100 steps and the training 10 at most: give `lr` a number"
        ]
    );
}

#[test]
fn a_data_set_that_lacks_something_is_refused() {
    let without = |change: &dyn Fn(&mut Dataset)| {
        let mut data = dataset();
        change(&mut data);
        Place::with(&data)
    };
    for (change, with, words) in [
        (
            (&|data: &mut Dataset| data.rows.coarse = None) as &dyn Fn(&mut Dataset),
            json!({}),
            "has no coarse labels; give its stage a `coarse` map",
        ),
        (
            &|data| data.rows.fine = None,
            json!({ "labels": "fine" }),
            "has no fine labels of its own",
        ),
        (
            &|data| data.rows.split = vec![Split::Train; 240],
            json!({}),
            "has no validation rows",
        ),
        (
            &|data| data.rows.split[200..].fill(Split::Val),
            json!({}),
            "has no test rows",
        ),
    ] {
        let error = without(change).error::<Train>(&[DATA], small(1, with));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_model_of_other_images_or_classes_is_refused() {
    let place = Place::new();
    place
        .run::<Train>("coarse", &[DATA], small(1, json!({})))
        .unwrap();
    let mut data = dataset();
    data.meta.coarse_names[1] = "middle".into();
    data.write(&place.path("renamed")).unwrap();
    let pixels = Array4::zeros((240, 1, 8, 6));
    let narrow = Dataset {
        images: pixels,
        ..dataset()
    };
    narrow.write(&place.path("narrow")).unwrap();
    for (data, words) in [
        (
            "renamed",
            "for the coarse classes left, right, and the data set has left, middle",
        ),
        (
            "narrow",
            "images of 1 channel(s), 8x8, and the data set has 1 channel(s), 6x8",
        ),
    ] {
        let error =
            place.error::<Evaluate>(&[("data", data), ("model", "coarse/model")], json!({}));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_loss_that_is_lost_says_what_to_try() {
    let place = Place::new();
    let error = place.error::<Train>(
        &[DATA],
        small(9, json!({ "lr": 1e15, "arch": "resnet", "depth": 8 })),
    );
    assert!(
        error.contains("in epoch 1 with learning rate 1000000000000000"),
        "{error}"
    );
    assert!(error.contains("try a smaller `lr`"), "{error}");
}
