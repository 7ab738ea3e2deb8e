//! `features`, `uncertainty` and `evaluate`: what a trained network is used for.

use super::*;

#[test]
fn features_stand_in_training_rows_and_are_nan_elsewhere() {
    let place = Place::new();
    place
        .run::<Train>("coarse", &[DATA], small(1, json!({})))
        .unwrap();
    let inputs = [DATA, ("model", "coarse/model")];
    place.run::<Features>("pool", &inputs, json!({})).unwrap();
    place
        .run::<Features>("conv3", &inputs, json!({ "layer": "conv3" }))
        .unwrap();
    let read = |name: &str| -> Array2<f32> { array::read(&place.path(name)).unwrap() };
    let (pool, conv3) = (read("pool/features"), read("conv3/features"));
    assert_eq!((pool.dim(), conv3.dim()), ((240, 16), (240, 16 * 4)));
    assert!(
        pool.rows()
            .into_iter()
            .skip(160)
            .all(|row| row.iter().all(|x| x.is_nan()))
    );
    for row in 0..160 {
        // Each channel of 2x2 values, averaged, is the global average pool.
        for (channel, values) in conv3.row(row).to_vec().chunks(4).enumerate() {
            let mean = values.iter().sum::<f32>() / 4.0;
            assert!((mean - pool[[row, channel]]).abs() < 1e-5);
        }
    }
    // Of all images: what the training images have is the same to the bit.
    let all = json!({ "layer": "conv3", "rows": "all" });
    place.run::<Features>("all", &inputs, all).unwrap();
    let all = read("all/features");
    assert_eq!(all.slice(s![..160, ..]), conv3.slice(s![..160, ..]));
    assert!(all.iter().all(|x| x.is_finite()));
    let train = json!({ "layer": "conv3", "rows": "train" });
    place.run::<Features>("train", &inputs, train).unwrap();
    assert_eq!(
        fs::read(place.path("train/features")).unwrap(),
        fs::read(place.path("conv3/features")).unwrap()
    );
    let error = place.error::<Features>(&inputs, json!({ "layer": "layer4" }));
    assert_eq!(
        error,
        "the network has no layer `layer4`; it has conv1, conv2, conv3, avgpool"
    );
}

#[test]
fn uncertainty_does_not_depend_on_the_batch() {
    let place = Place::new();
    place
        .run::<Train>("coarse", &[DATA], small(3, json!({})))
        .unwrap();
    let inputs = [DATA, ("model", "coarse/model")];
    place.run::<Uncertainty>("all", &inputs, json!({})).unwrap();
    let all: Array1<f32> = array::read(&place.path("all/scores")).unwrap();
    assert!(all.iter().take(160).all(|u| (0.0..=2.0).contains(u)));
    assert!(all.iter().skip(160).all(|u| u.is_nan()));
    let data = Data::read(&place.path("data"), Device::Cpu).unwrap();
    let model = Model::read(&place.path("coarse/model"), Device::Cpu).unwrap();
    let stage: Uncertainty = serde_json::from_value(json!({})).unwrap();
    let context = Context::new(place.request("single", &[], &[]), std::io::sink());
    let rows: Vec<usize> = (0..160).collect();
    for size in [1, 7] {
        let scores = stage.scores(&context, &model, &data, &rows, size);
        for (a, b) in all.iter().zip(&scores).take(160) {
            assert!((a - b).abs() < 1e-5, "batches of {size}: {a} {b}");
        }
    }
}

#[test]
fn without_flips_uncertainty_is_one_minus_or_plus_the_confidence() {
    let place = Place::new();
    place
        .run::<Train>("coarse", &[DATA], small(1, json!({})))
        .unwrap();
    let inputs = [DATA, ("model", "coarse/model")];
    let with = json!({ "hflip": 0.0, "vflip": 0.0 });
    place.run::<Uncertainty>("plain", &inputs, with).unwrap();
    let scores: Array1<f32> = array::read(&place.path("plain/scores")).unwrap();
    let data = Data::read(&place.path("data"), Device::Cpu).unwrap();
    let model = Model::read(&place.path("coarse/model"), Device::Cpu).unwrap();
    let answers = crate::measure::answers(&model, &data, (0..160).collect(), |_| {});
    for row in 0..160 {
        let confidence = answers
            .probabilities
            .row(row)
            .iter()
            .copied()
            .fold(0.0, f64::max) as f32;
        let expected = if answers.coarse[row] == row % 2 {
            1.0 - confidence
        } else {
            1.0 + confidence
        };
        assert!((scores[row] - expected).abs() < 1e-6);
    }
}

#[test]
fn an_evaluation_gives_the_trainings_own_metrics_and_a_row_for_each_image() {
    let place = Place::new();
    place
        .run::<Train>("fine", &[DATA], small(3, json!({ "labels": "fine" })))
        .unwrap();
    place
        .run::<Evaluate>("scored", &[DATA, ("model", "fine/model")], json!({}))
        .unwrap();
    let (trained, scored) = (place.metrics("fine"), place.metrics("scored"));
    for name in scored.as_object().unwrap().keys() {
        assert_eq!(trained[name], scored[name], "{name}");
    }
    for name in [Train::HEADLINE, Evaluate::HEADLINE].concat() {
        assert!(scored[name].is_f64(), "{name}");
    }
    let mut table = csv::Reader::from_path(place.path("scored/predictions")).unwrap();
    assert_eq!(
        table.headers().unwrap(),
        vec!["row", "true", "predicted", "p_left", "p_right"]
    );
    let records: Vec<csv::StringRecord> = table.records().map(|record| record.unwrap()).collect();
    assert_eq!(
        (records.len(), &records[0][0], &records[39][0]),
        (40, "200", "239")
    );
    let right = records
        .iter()
        .filter(|record| record[1] == record[2])
        .count();
    assert_eq!(scored["test_accuracy"], json!(right as f64 / 40.0));
    for record in &records {
        let sum = record[3].parse::<f64>().unwrap() + record[4].parse::<f64>().unwrap();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}

#[test]
fn one_image_alone_is_judged_as_among_others() {
    let place = Place::new();
    place
        .run::<Train>("coarse", &[DATA], small(1, json!({})))
        .unwrap();
    let data = Data::read(&place.path("data"), Device::Cpu).unwrap();
    let model = Model::read(&place.path("coarse/model"), Device::Cpu).unwrap();
    let answer = |rows| crate::measure::answers(&model, &data, rows, |_| {}).probabilities;
    let (all, one) = (answer((0..240).collect()), answer(vec![17]));
    let distance =
        |a: ArrayView1<f64>, b: ArrayView1<f64>| (&a - &b).fold(0.0, |m: f64, d| m.max(d.abs()));
    assert!(distance(all.row(17), one.row(0)) < 1e-6);
}
