//! `train`, `finetune` and `multihead`: what they learn, and that they are repeatable.

use super::*;

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
fn an_interrupted_training_ends_as_if_it_had_not_been() {
    for more in [
        json!({ "patience": 9 }),
        json!({ "patience": 9, "optimiser": "adamw", "lr": 0.01 }),
    ] {
        let place = Place::new();
        place
            .run::<Train>("whole", &[DATA], small(4, more.clone()))
            .unwrap();
        place.interrupt::<Train>("resumed", &[DATA], small(4, more.clone()), 3);
        let events = place
            .run::<Train>("resumed", &[DATA], small(4, more))
            .unwrap();
        assert!(events.contains("going on after epoch 2"), "{events}");
        assert_eq!(place.bytes("whole"), place.bytes("resumed"));
    }
}

#[test]
fn an_interrupted_deep_head_goes_on_with_the_same_dropout() {
    let place = Place::new();
    place
        .run::<Train>("fine", &[DATA], small(1, json!({ "labels": "fine" })))
        .unwrap();
    let inputs = [DATA, ("model", "fine/model")];
    let with = || small_finetune(3, json!({ "head": "deep", "freeze": true, "patience": 9 }));
    place.run::<Finetune>("whole", &inputs, with()).unwrap();
    place.interrupt::<Finetune>("resumed", &inputs, with(), 2);
    place.run::<Finetune>("resumed", &inputs, with()).unwrap();
    assert_eq!(place.bytes("whole"), place.bytes("resumed"));
}

#[test]
fn a_checkpoint_of_something_else_is_not_used() {
    let place = Place::new();
    place
        .run::<Train>("fresh", &[DATA], small(3, json!({ "momentum": 0.5 })))
        .unwrap();
    place.interrupt::<Train>("other", &[DATA], small(3, json!({})), 2);
    let events = place
        .run::<Train>("other", &[DATA], small(3, json!({ "momentum": 0.5 })))
        .unwrap();
    assert!(
        events.contains("it belongs to other parameters"),
        "{events}"
    );
    assert_eq!(place.bytes("fresh"), place.bytes("other"));
    fs::create_dir_all(place.path("damaged.work")).unwrap();
    fs::write(place.path("damaged.work/checkpoint.safetensors"), "half").unwrap();
    let events = place
        .run::<Train>("damaged", &[DATA], small(3, json!({ "momentum": 0.5 })))
        .unwrap();
    assert!(events.contains("the training starts anew"), "{events}");
    assert_eq!(place.bytes("fresh"), place.bytes("damaged"));
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
