//! `train`, `finetune` and `multihead`: what they learn, and that they are repeatable.

use std::time::Duration;

use super::*;
use crate::net::{Head, Network};
use crate::recipe::Recipe;
use crate::stages::training::{self, Uncertain};
use crate::task::{Goal, Task};
use crate::train::Training;

#[test]
fn a_coarse_training_learns_and_tells_what_it_did() {
    let place = Place::new();
    let events = place
        .run::<Train>("coarse", &[DATA], small(8, json!({ "patience": 9 })))
        .unwrap();
    let metrics = place.metrics("coarse");
    assert!(
        metrics["test_accuracy"].as_f64().unwrap() > 0.9,
        "{metrics}"
    );
    assert!(metrics["test_loss"].as_f64().unwrap() < 0.4, "{metrics}");
    assert_eq!(metrics["epochs"], 8);
    assert!(metrics["test_fine_accuracy"].is_null());
    // 40 test rows, 20 of each class: the confusion matrix says the same as the accuracies.
    let confusion: Vec<Vec<f64>> = serde_json::from_value(metrics["confusion"].clone()).unwrap();
    assert_eq!(confusion.concat().iter().sum::<f64>(), 40.0);
    assert_eq!(
        metrics["test_accuracy"],
        json!((confusion[0][0] + confusion[1][1]) / 40.0)
    );
    assert_eq!(
        metrics["classes"]["left"]["test_accuracy"],
        json!(confusion[0][0] / 20.0)
    );
    let subclasses = metrics["subclass_accuracy"].as_object().unwrap();
    let worst = subclasses
        .values()
        .map(|v| v.as_f64().unwrap())
        .fold(1.0, f64::min);
    assert_eq!(metrics["worst_subclass_accuracy"], json!(worst));
    // Accuracy is the mean of the classes' recalls where these are of one size.
    assert_eq!(metrics["test_recall"], metrics["test_accuracy"]);
    for name in ["test_auroc", "test_precision", "test_f1"] {
        assert!(metrics[name].as_f64().unwrap() > 0.9, "{metrics}");
    }
    assert!(metrics["test_ece"].as_f64().unwrap() < 0.4, "{metrics}");
    let log = fs::read(place.path("coarse/tensorboard/events.out.tfevents.0.flow")).unwrap();
    let log = String::from_utf8_lossy(&log);
    let count = |tag| log.matches(tag).count();
    assert_eq!((count("loss/validation"), count("test/auroc")), (8, 1));
    let history = fs::read_to_string(place.path("coarse/history")).unwrap();
    let mut lines = history.lines();
    assert_eq!(
        lines.next(),
        Some("epoch,train_loss,train_accuracy,val_loss,val_accuracy,lr")
    );
    assert_eq!(lines.count(), 8);
    assert!(events.contains(r#""name":"val_accuracy""#) && events.contains(r#""unit":"epoch""#));
}

#[test]
fn the_same_training_gives_the_same_bytes() {
    for threads in [1, 2] {
        let place = Place {
            threads,
            ..Place::new()
        };
        for name in ["one", "two"] {
            place
                .run::<Train>(
                    name,
                    &[DATA],
                    small(2, json!({ "arch": "resnet", "depth": 8 })),
                )
                .unwrap();
        }
        assert_eq!(place.bytes("one"), place.bytes("two"), "{threads} threads");
    }
}

#[test]
fn a_fine_training_is_scored_on_the_coarse_task() {
    let place = Place::new();
    let with = || small(8, json!({ "labels": "fine", "patience": 9 }));
    place.run::<Train>("oracle", &[DATA], with()).unwrap();
    let oracle = place.metrics("oracle");
    assert!(oracle["test_accuracy"].as_f64() >= oracle["test_fine_accuracy"].as_f64());
    assert!(
        oracle["test_fine_accuracy"].as_f64().unwrap() > 0.8,
        "{oracle}"
    );
    // Discovered classes in another order, five rows left out; labels on other rows than training ones are no help.
    place.labels(|row| {
        if !(5..160).contains(&row) {
            -1
        } else {
            3 - (row % 4) as i32
        }
    });
    place
        .run::<Train>("found", &[DATA, LABELS], with())
        .unwrap();
    let found = place.metrics("found");
    assert!(found["test_accuracy"].as_f64().unwrap() > 0.8, "{found}");
    assert!(found["test_fine_accuracy"].is_null());
    let model = Model::read(&place.path("found/model"), Device::Cpu).unwrap();
    assert_eq!(model.meta.fine_to_coarse, [1, 0, 1, 0]);
}

#[test]
fn fine_tuning_and_both_heads_learn_the_coarse_task() {
    let place = Place::new();
    place.labels(|row| if row >= 150 { -1 } else { (row % 4) as i32 });
    place
        .run::<Train>(
            "fine",
            &[DATA, LABELS],
            small(6, json!({ "labels": "fine" })),
        )
        .unwrap();
    let inputs = [DATA, ("model", "fine/model")];
    for head in ["linear", "deep"] {
        place
            .run::<Finetune>(head, &inputs, small_finetune(4, json!({ "head": head })))
            .unwrap();
        let metrics = place.metrics(head);
        assert!(
            metrics["test_accuracy"].as_f64().unwrap() > 0.9,
            "{head}: {metrics}"
        );
    }
    let names: Vec<String> = tensors::read(&place.path("deep/model"))
        .unwrap()
        .0
        .into_keys()
        .collect();
    assert!(
        names.contains(&"fc.1.weight".into()) && names.contains(&"fc.2.bias".into()),
        "{names:?}"
    );
    let with = || small(8, json!({ "alpha": 0.5, "patience": 9 }));
    place
        .run::<Multihead>("both", &[DATA, LABELS], with())
        .unwrap();
    assert!(place.metrics("both")["test_accuracy"].as_f64().unwrap() > 0.9);
    assert!(place.metrics("both")["test_fine_accuracy"].is_null());
    place.run::<Multihead>("oracle", &[DATA], with()).unwrap();
    assert!(place.metrics("oracle")["test_fine_accuracy"].is_f64());
}

#[test]
fn group_dro_learns_a_rare_group_that_the_mean_passes_over() {
    let place = Place::new();
    // Of 40 images of `a` two are left; those of the other fine classes stay.
    place.labels(|row| match row % 4 {
        0 if row >= 8 => -1,
        label => label as i32,
    });
    let with = |more| {
        let mut with = small(10, json!({ "patience": 19, "lr": 0.01 }));
        merge(&mut with, more);
        with
    };
    let inputs = [DATA, LABELS];
    place
        .run::<Multihead>("mean", &inputs, with(json!({ "alpha": 1.0 })))
        .unwrap();
    let events = place
        .run::<Groupdro>("worst", &inputs, with(json!({ "step": 0.1 })))
        .unwrap();
    let worst = |name: &str| {
        place.metrics(name)["worst_subclass_accuracy"]
            .as_f64()
            .unwrap()
    };
    let (mean, groups) = (worst("mean"), worst("worst"));
    assert!(groups > mean + 0.5, "{groups} {mean}");
    assert!(
        events.contains(r#""name":"largest_group_weight""#),
        "{events}"
    );
    let model = Model::read(&place.path("worst/model"), Device::Cpu).unwrap();
    assert_eq!(model.meta.coarse_names, ["left", "right"]);
}

#[test]
fn a_frozen_body_keeps_its_convolutions() {
    let place = Place::new();
    place
        .run::<Train>("fine", &[DATA], small(1, json!({ "labels": "fine" })))
        .unwrap();
    let inputs = [DATA, ("model", "fine/model")];
    place
        .run::<Finetune>(
            "frozen",
            &inputs,
            small_finetune(2, json!({ "freeze": true })),
        )
        .unwrap();
    place
        .run::<Finetune>("free", &inputs, small_finetune(2, json!({})))
        .unwrap();
    let read = |name| tensors::read(&place.path(name)).unwrap().0;
    let (before, frozen, free) = (read("fine/model"), read("frozen/model"), read("free/model"));
    assert_eq!(before["conv2.weight"], frozen["conv2.weight"]);
    assert_ne!(before["conv2.weight"], free["conv2.weight"]);
    assert_ne!(before["bn2.weight"], frozen["bn2.weight"]);
    assert_ne!(before["bn2.running_mean"], frozen["bn2.running_mean"]);
}

#[test]
fn a_range_test_chooses_the_learning_rate_and_changes_nothing_else() {
    let place = Place::new();
    place
        .run::<Train>("auto", &[DATA], small(2, json!({ "lr": "auto" })))
        .unwrap();
    let mut table = csv::Reader::from_path(place.path("auto/lr_range")).unwrap();
    assert_eq!(
        table.headers().unwrap(),
        vec!["step", "lr", "loss", "smoothed_loss", "chosen"]
    );
    let records: Vec<csv::StringRecord> = table.records().map(|record| record.unwrap()).collect();
    let chosen: Vec<f64> = records
        .iter()
        .filter(|record| &record[4] == "1")
        .map(|record| record[1].parse().unwrap())
        .collect();
    assert_eq!(chosen.len(), 1, "{records:?}");
    assert!((1e-5..1.0).contains(&chosen[0]), "{chosen:?}");
    assert_eq!(records[0][1].parse::<f64>().unwrap(), 1e-8);
    // The training is the one with that number from the start.
    let given = small(2, json!({ "lr": chosen[0] }));
    place.run::<Train>("given", &[DATA], given).unwrap();
    let (auto, given) = (place.bytes("auto"), place.bytes("given"));
    for name in ["model", "history", "metrics"] {
        assert_eq!(auto[name], given[name], "{name}");
    }
    assert_eq!(given["lr_range"], b"step,lr,loss,smoothed_loss,chosen\n");
}

#[test]
fn pinned_threads_count_for_the_threads_of_the_machine() {
    let place = Place::new();
    let with = |threads: Option<u32>| {
        small(
            2,
            json!({ "arch": "resnet", "depth": 8, "threads": threads }),
        )
    };
    place.run::<Train>("one", &[DATA], with(None)).unwrap();
    let two = Place {
        threads: 2,
        ..place
    };
    two.run::<Train>("pinned", &[DATA], with(Some(1))).unwrap();
    two.run::<Train>("two", &[DATA], with(None)).unwrap();
    let model = |name: &str| tensors::read(&two.path(name).join("model")).unwrap().0;
    assert_eq!(model("one"), model("pinned"));
    assert_ne!(model("one"), model("two"));
}

#[test]
fn augmentation_is_drawn_from_the_seed() {
    let place = Place::new();
    let augment = json!({ "hflip": 0.5, "crop": 1, "brightness": 0.2, "contrast": 0.2 });
    for name in ["one", "two"] {
        let with = small(2, json!({ "augment": augment }));
        place.run::<Train>(name, &[DATA], with).unwrap();
    }
    place
        .run::<Train>("plain", &[DATA], small(2, json!({})))
        .unwrap();
    assert_eq!(place.bytes("one"), place.bytes("two"));
    assert_ne!(
        place.bytes("one")["history"],
        place.bytes("plain")["history"]
    );
}

#[test]
fn the_loss_is_the_weighted_and_smoothed_cross_entropy() {
    let place = Place::new();
    let data = Data::read(&place.path("data"), Device::Cpu).unwrap();
    let context = Context::new(place.request("loss", &[], &[]), std::io::sink());
    // Class 0 twice as often as class 1.
    let train: Vec<usize> = (0..120).filter(|row| row % 4 != 3).collect();
    let goal = |weight| Goal {
        labels: data.labels(data.coarse()),
        classes: data.meta.coarse_names.clone(),
        weight,
    };
    let task = Task {
        train: train.clone(),
        val: vec![],
        goals: vec![goal(0.3), goal(0.7)],
        groups: None,
    };
    let choice: crate::net::Choice =
        serde_json::from_value(json!({ "arch": "cnn", "width": 4 })).unwrap();
    let heads = vec![Head::linear("fc", 2), Head::linear("fc_fine", 2)];
    let net = Network::new(choice.spec(data.input(), heads).unwrap(), 5, Device::Cpu);
    for (class_weights, weights) in [
        (Value::Null, [[1.0, 1.0], [1.0, 1.0]]),
        (json!("balanced"), [[0.75, 1.5], [0.75, 1.5]]),
        (json!([3.0, 0.5]), [[3.0, 0.5], [1.0, 1.0]]),
    ] {
        let recipe: Recipe = serde_json::from_value(
            json!({ "class_weights": class_weights, "label_smoothing": 0.2 }),
        )
        .unwrap();
        let training = Training::new(&context, &recipe, &data, &task, Duration::MAX).unwrap();
        let rows = &train[..20];
        let groups = &mut training.group_weights();
        let (loss, _) = training.forward(&net, rows, "0", groups).unwrap();
        let logits = net.forward_training(&data.batch(&data.index(rows)), None);
        let mut expected = 0.0;
        for ((logits, weights), share) in logits.iter().zip(weights).zip([0.3, 0.7]) {
            let logs = crate::measure::to_array(&logits.log_softmax(1, tch::Kind::Double));
            let (mut sum, mut total) = (0.0, 0.0);
            for (log, row) in logs.rows().into_iter().zip(rows) {
                let class = row % 2;
                // 0.8 of the label, and 0.1 of each class; PyTorch weighs every term by its own class.
                sum -= 0.8 * weights[class] * log[class];
                sum -= 0.1 * (weights[0] * log[0] + weights[1] * log[1]);
                total += weights[class];
            }
            expected += share * sum / total;
        }
        let found = loss.double_value(&[]);
        assert!(
            (found - expected).abs() < 1e-6,
            "{class_weights}: {found} {expected}"
        );
    }
}

#[test]
fn uncertain_images_are_kept_with_the_label_of_the_nearest_cluster() {
    let place = Place::new();
    // The first twenty are uncertain; the others have their true class, with b and d in one cluster and none of a.
    place.labels(|row| match (row, row % 4) {
        (..20, _) => -1,
        (_, 0) => -1,
        (_, 2) => 0,
        _ => 1,
    });
    // Two features that tell the fine class. Fine class 1 is far off, and belongs to the cluster of its coarse class.
    let mut features = Array2::from_elem((240, 2), f32::NAN);
    for row in 0..160 {
        let (x, y) = [(0.0, 0.0), (9.0, 9.0), (1.0, 0.0), (0.0, 1.0)][row % 4];
        features[[row, 0]] = x;
        features[[row, 1]] = y;
    }
    array::write(&place.path("features.npy"), &features).unwrap();
    let data = Data::read(&place.path("data"), Device::Cpu).unwrap();
    let request = place.request("keep", &[LABELS, FEATURES], &[]);
    let context = Context::new(request, std::io::sink());
    let (fine, rows) = training::fine_labels(&context, &data, Uncertain::Keep).unwrap();
    assert_eq!(rows, (0..160).collect::<Vec<_>>());
    assert!((0..160).all(|row| fine.labels[row] == (row % 2) as i32));
    assert!((160..240).step_by(4).all(|row| fine.labels[row] == -1));
    let with = |uncertain| small(1, json!({ "labels": "fine", "uncertain": uncertain }));
    place
        .run::<Train>("kept", &[DATA, LABELS, FEATURES], with("keep"))
        .unwrap();
    let more = small(1, json!({ "uncertain": "keep" }));
    place
        .run::<Multihead>("both", &[DATA, LABELS, FEATURES], more)
        .unwrap();
    place
        .run::<Train>("dropped", &[DATA, LABELS], with("drop"))
        .unwrap();
    assert_ne!(
        place.bytes("kept")["model"],
        place.bytes("dropped")["model"]
    );
    // Without a label in its coarse class an image stays out.
    place.labels(|row| if row % 4 == 0 && row < 80 { 0 } else { -1 });
    let events = place
        .run::<Train>("half", &[DATA, LABELS, FEATURES], with("keep"))
        .unwrap();
    assert!(
        events.contains("80 training images are left out"),
        "{events}"
    );
}

#[test]
fn bf16_learns_as_well_and_an_evaluation_in_f32_agrees() {
    let place = Place::new();
    let accuracy = |name: &str, more: Value| {
        place.run::<Train>(name, &[DATA], small(8, more)).unwrap();
        place.metrics(name)["test_accuracy"].as_f64().unwrap()
    };
    let fp32 = accuracy("fp32", json!({}));
    let bf16 = accuracy("bf16", json!({ "precision": "bf16" }));
    assert!(fp32 > 0.9 && bf16 > 0.9, "{fp32} {bf16}");
    assert_ne!(place.bytes("fp32")["model"], place.bytes("bf16")["model"]);
    let inputs = [DATA, ("model", "bf16/model")];
    for (name, precision) in [("in_f32", "fp32"), ("in_bf16", "bf16")] {
        let with = json!({ "precision": precision });
        place.run::<Evaluate>(name, &inputs, with).unwrap();
        let difference = place.metrics(name)["test_loss"].as_f64().unwrap()
            - place.metrics("bf16")["test_loss"].as_f64().unwrap();
        assert!(difference.abs() < 0.02, "{name}: {difference}");
    }
    assert_eq!(
        place.metrics("in_bf16")["test_loss"],
        place.metrics("bf16")["test_loss"]
    );
}
