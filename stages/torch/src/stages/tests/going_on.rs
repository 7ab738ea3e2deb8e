//! Trainings that were interrupted, and longer ones: they end with the bits of one that was left alone.

use super::*;
use crate::checkpoint::Identity;
use crate::net::{Choice, Head, Network};
use crate::recipe::Recipe;
use crate::task::{Goal, Task};
use crate::train::Training;
use std::time::Duration;

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
fn the_weights_of_groups_go_on_as_well() {
    let place = Place::new();
    let with = |max| {
        small(
            max,
            json!({ "step": 0.3, "adjustment": 1.0, "patience": 9 }),
        )
    };
    place.run::<Groupdro>("whole", &[DATA], with(4)).unwrap();
    place.interrupt::<Groupdro>("resumed", &[DATA], with(4), 3);
    place.run::<Groupdro>("resumed", &[DATA], with(4)).unwrap();
    assert_eq!(place.bytes("whole"), place.bytes("resumed"));
    place.run::<Groupdro>("short", &[DATA], with(2)).unwrap();
    place
        .go_on::<Groupdro>("longer", &[DATA], with(4), "short")
        .unwrap();
    assert_eq!(place.bytes("whole"), place.bytes("longer"));
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

/// In the file's header, its middle and its end: all over tensors and numbers.
#[test]
fn a_checkpoint_with_a_flipped_bit_is_not_used() {
    let place = Place::new();
    let with = || small(3, json!({}));
    place.run::<Train>("fresh", &[DATA], with()).unwrap();
    place.interrupt::<Train>("flipped", &[DATA], with(), 2);
    let path = place.path("flipped.work/checkpoint.safetensors");
    let whole = fs::read(&path).unwrap();
    for at in [20, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        let events = place.run::<Train>("flipped", &[DATA], with()).unwrap();
        assert!(
            events.contains("the training starts anew"),
            "{at}: {events}"
        );
        assert_eq!(place.bytes("fresh"), place.bytes("flipped"), "{at}");
    }
}

#[test]
fn augmentation_goes_on_as_well() {
    let place = Place::new();
    let with = || {
        let augment = json!({ "hflip": 0.5, "crop": 1, "contrast": 0.3 });
        small(
            3,
            json!({ "augment": augment, "patience": 9, "lr": "auto" }),
        )
    };
    place.run::<Train>("whole", &[DATA], with()).unwrap();
    place.interrupt::<Train>("resumed", &[DATA], with(), 2);
    let events = place.run::<Train>("resumed", &[DATA], with()).unwrap();
    assert!(!events.contains("learning-rate range test"), "{events}");
    assert_eq!(place.bytes("whole"), place.bytes("resumed"));
}

#[test]
fn an_epoch_goes_on_in_its_middle() {
    let place = Place::new();
    let data = Data::read(&place.path("data"), Device::Cpu).unwrap();
    let task = Task {
        train: (0..160).collect(),
        val: (160..200).collect(),
        goals: vec![Goal {
            labels: data.labels(data.coarse()),
            classes: data.meta.coarse_names.clone(),
            weight: 1.0,
        }],
        groups: None,
    };
    let with = small(
        3,
        json!({ "optimiser": "adamw", "lr": 0.01, "augment": { "crop": 1 } }),
    );
    let recipe: Recipe = serde_json::from_value(with.clone()).unwrap();
    let choice: Choice = serde_json::from_value(with.clone()).unwrap();
    tch::set_num_threads(1);
    // 160 rows are five batches of 32. A checkpoint is written after each, and the run breaks off where it says so.
    let run = |name: &str, fatal: Option<&str>| {
        let events = Events {
            fatal: fatal.map(String::from),
            ..Events::default()
        };
        let context = Context::new(place.request(name, &[], &[]), events.clone());
        let training = Training::new(&context, &recipe, &data, &task, Duration::ZERO).unwrap();
        let spec = choice
            .spec(data.input(), vec![Head::linear("fc", 2)])
            .unwrap();
        let mut net = Network::new(spec, 1, Device::Cpu);
        let identity = Identity::of(&context, &with, Device::Cpu).unwrap();
        let work = std::panic::AssertUnwindSafe(|| training.run(&mut net, &identity).unwrap());
        let end = std::panic::catch_unwind(work).ok();
        let text = String::from_utf8(events.bytes.lock().unwrap().clone()).unwrap();
        (end.map(|end| (end.history, end.model, end.optimiser)), text)
    };
    let (whole, _) = run("whole", None);
    for fatal in ["batch 1 of 5", "batch 3 of 5", "batch 5 of 5"] {
        let name = fatal.replace(' ', "-");
        assert!(run(&name, Some(fatal)).0.is_none());
        let (resumed, text) = run(&name, None);
        assert!(
            text.contains(&format!("going on after {}", &fatal[..7])),
            "{text}"
        );
        assert!(whole == resumed, "{fatal}");
    }
}

#[test]
fn a_longer_training_goes_on_from_a_shorter_one() {
    let place = Place::new();
    let with = |max: u32, more: Value| {
        let mut with = small(max, json!({ "patience": 9, "t0": 3 }));
        merge(&mut with, more);
        with
    };
    place
        .run::<Train>("short", &[DATA], with(4, json!({})))
        .unwrap();
    for (name, with) in [
        ("longer", with(7, json!({}))),
        (
            "later",
            with(7, json!({ "epochs": { "min": 6, "max": 7 } })),
        ),
        ("patient", with(4, json!({ "patience": 12 }))),
    ] {
        place.run::<Train>("whole", &[DATA], with.clone()).unwrap();
        let events = place.go_on::<Train>(name, &[DATA], with, "short").unwrap();
        assert!(
            events.contains("going on after epoch 4 of a shorter training"),
            "{events}"
        );
        assert!(place.bytes("whole") == place.bytes(name), "{name}");
    }
}

#[test]
fn what_ended_early_ends_there_again_unless_it_may_go_on() {
    let place = Place::new();
    // The validation loss can't fall at such a learning rate: it stops as soon as it may.
    let with = |min: u32, max: u32, patience: u32| {
        let epochs = json!({ "min": min, "max": max });
        small(
            1,
            json!({ "epochs": epochs, "patience": patience, "lr": 1e-9, "eta_min": 0.0, "momentum": 0.0 }),
        )
    };
    place.run::<Train>("short", &[DATA], with(1, 6, 1)).unwrap();
    let epochs = |name: &str| place.metrics(name)["epochs"].as_u64().unwrap();
    assert!(epochs("short") < 6);
    for (name, with) in [
        ("same", with(1, 9, 1)),
        ("later", with(6, 9, 1)),
        ("patient", with(1, 9, 3)),
    ] {
        place.run::<Train>("whole", &[DATA], with.clone()).unwrap();
        place.go_on::<Train>(name, &[DATA], with, "short").unwrap();
        assert!(place.bytes("whole") == place.bytes(name), "{name}");
    }
    assert_eq!(epochs("same"), epochs("short"));
    assert!(epochs("later") > epochs("short") && epochs("patient") > epochs("short"));
    // Where it would have ended before, it is not gone on from.
    let sooner = with(1, 2, 1);
    place
        .run::<Train>("whole", &[DATA], sooner.clone())
        .unwrap();
    place.run::<Train>("long", &[DATA], with(5, 6, 1)).unwrap();
    let events = place
        .go_on::<Train>("sooner", &[DATA], sooner, "long")
        .unwrap();
    assert!(events.contains("would have ended before"), "{events}");
    assert!(place.bytes("whole") == place.bytes("sooner"));
}

#[test]
fn a_shorter_training_of_something_else_is_not_gone_on_from() {
    let place = Place::new();
    place
        .run::<Train>("short", &[DATA], small(1, json!({})))
        .unwrap();
    let two = Place {
        threads: 2,
        ..place
    };
    two.run::<Train>("whole", &[DATA], small(2, json!({})))
        .unwrap();
    let events = two
        .go_on::<Train>("longer", &[DATA], small(2, json!({})), "short")
        .unwrap();
    assert!(
        events.contains("it was made with 1 thread(s), and now there are 2"),
        "{events}"
    );
    assert_eq!(two.bytes("whole"), two.bytes("longer"));
}
