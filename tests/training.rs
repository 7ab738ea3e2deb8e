//! Trainings with the real plugin: killed at any moment, made longer, and read by Python.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flow_tests::{Test, skip, store};
use serde_json::Value;

fn workflow(epochs: u32, more: &str) -> String {
    format!(
        "[workflow]\nname = 'training'\nseed = 7\n[stages.data]\nuses = 'digits'\n\
         [stages.coarse]\nuses = 'train'\ninputs = {{ data = 'data' }}\n\
         with = {{ arch = 'resnet', width = 4, depth = 8, lr = 0.05, batch_size = 64, threads = 1, patience = {epochs}, \
         epochs = {{ min = 1, max = {epochs} }}{more} }}\n"
    )
}

/// What the stage `coarse` logged in the last call.
fn log(test: &Test) -> String {
    let run = test.last().run.as_ref().unwrap()["run"].as_str().unwrap();
    test.read(&format!(".flow/runs/{run}/logs/coarse.log"))
}

/// The JSON that a `.safetensors` file begins with, and what follows: the format as its page describes it, without the
/// library that wrote the file.
fn safetensors(bytes: &[u8]) -> (BTreeMap<String, Value>, &[u8]) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    (header, &bytes[8 + length..])
}

/// The epochs that a checkpoint has; none where there is none.
fn epochs_in(checkpoint: &Path) -> Option<u64> {
    let bytes = std::fs::read(checkpoint).ok()?;
    safetensors(&bytes).0["history"]["shape"][0].as_u64()
}

/// The output function of SplitMix64.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn killed_at_random_epochs_it_ends_with_the_same_bytes() {
    let seed = match std::env::var("FLOW_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    };
    eprintln!("FLOW_TEST_SEED={seed}");
    let more = ", augment = { hflip = 0.5, crop = 1 }, optimiser = 'adamw'";
    let text = workflow(8, more).replace("lr = 0.05", "lr = 0.01");
    let began = Instant::now();
    let undisturbed = Test::new()
        .workflow(&text)
        .run("")
        .ran("data coarse")
        .check();
    let whole = began.elapsed();
    let key = undisturbed.last().stages["coarse"].key.clone().unwrap();
    let checkpoint = format!(".flow/work/{key}/scratch/checkpoint.safetensors");
    let mut went_on = 0;
    for round in 0..4u64 {
        let mut test = Test::new().workflow(&text);
        // Three times each: at a random moment of an epoch, and the epochs that must be there before are drawn too.
        for kill in 0..3u64 {
            let dice = mix(seed ^ (round * 3 + kill));
            let running = test.run("").start();
            let deadline = Instant::now() + Duration::from_secs(120);
            let mut known = 0;
            while known < 2 * kill + dice % 3 {
                match epochs_in(&running.path(&checkpoint)) {
                    Some(epochs) => known = epochs,
                    // It has gone with the end of the training: too late to be in its way.
                    None if known > 0 => break,
                    None => assert!(Instant::now() < deadline, "no epoch ends"),
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep((whole / 8).mul_f64((dice % 1000) as f64 / 1000.0));
            test = running.kill();
            store::assert_sound(&test.path(".flow"));
        }
        let epochs = epochs_in(&test.path(&checkpoint));
        let test = test
            .flow("run flow.toml --json")
            .stdout_has("\"status\":\"ok\"")
            .check();
        assert_eq!(
            test.last().stages["coarse"].outputs,
            undisturbed.last().stages["coarse"].outputs,
            "round {round}"
        );
        if let Some(epochs) = epochs {
            let words = format!("going on after epoch {epochs} of an interrupted run");
            assert!(log(&test).contains(&words), "{}", log(&test));
            went_on += 1;
        }
        // What was left of the killed ones is gone.
        assert!(!test.has(&format!(".flow/work/{key}")));
    }
    assert!(
        went_on > 0,
        "no kill came between the first epoch and the last"
    );
}

#[test]
fn a_longer_training_goes_on_from_a_shorter_one_with_the_bits_of_one_from_scratch() {
    let test = Test::new()
        .workflow(&workflow(2, ""))
        .run("")
        .ran("data coarse")
        .check()
        .workflow(&workflow(5, ""))
        .flow("run flow.toml")
        .stdout_has("coarse")
        .stderr_has("continues coarse, from epochs.max = 2, patience = 2\n")
        .stderr_has("1 ran, 1 cached")
        .check();
    let test = test.run("").cached("data coarse").check();
    let continued = test.last().stages["coarse"].outputs.clone();
    let test = test
        .run("--force coarse")
        .ran("coarse")
        .cached("data")
        .check();
    assert!(!log(&test).contains("going on"), "{}", log(&test));
    assert_eq!(test.last().stages["coarse"].outputs, continued);
    // And once more, from the longest of the shorter ones.
    let test = test
        .workflow(&workflow(6, ""))
        .run("")
        .ran("coarse")
        .cached("data")
        .check();
    let words = "going on after epoch 5 of a shorter training";
    assert!(log(&test).contains(words), "{}", log(&test));
    // Another seed, learning rate or network is another training.
    for (from, to) in [("seed = 7", "seed = 8"), ("lr = 0.05", "lr = 0.04")] {
        let test = test
            .beside()
            .workflow(&workflow(7, "").replace(from, to))
            .flow("run flow.toml --json")
            .stdout_has("\"status\":\"ok\"")
            .check();
        assert!(!log(&test).contains("going on"), "{}", log(&test));
    }
}

#[test]
fn the_provenance_names_what_libtorch_computed_with() {
    let text = workflow(1, "") + "env = ['ATEN_CPU_CAPABILITY', 'ONEDNN_MAX_CPU_ISA']\n";
    let variables = |test: Test| {
        test.env("ATEN_CPU_CAPABILITY", "default")
            .env("ONEDNN_MAX_CPU_ISA", "SSE41")
    };
    let test = variables(Test::new().workflow(&text).run(""))
        .ran("data coarse")
        .check();
    let said = "computes with ATen DEFAULT, libtorch 2.13.0, ";
    assert!(log(&test).starts_with(said), "{}", log(&test));
    let test = variables(test.flow("show flow.toml coarse"))
        .stdout_has("  with        ATen DEFAULT, libtorch 2.13.0, ")
        .check();
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let named = "libtorch 2.13.0, oneDNN SSE41, processor x86_64";
        assert!(test.last().stdout.contains(named), "{}", test.last().stdout);
    }
    // A kind that says nothing has no such line.
    let test = test.flow("show flow.toml data").stdout_has("made ").check();
    assert!(
        !test.last().stdout.contains("  with "),
        "{}",
        test.last().stdout
    );
}

/// A Python that has `safetensors` and NumPy: this machine's, or one with them from the package index; none where
/// there is neither.
fn python() -> Option<PathBuf> {
    let imports = |python: &Path| {
        let mut command = Command::new(python);
        command.args(["-c", "import numpy, safetensors.numpy"]);
        command.output().is_ok_and(|output| output.status.success())
    };
    let own = PathBuf::from("python3");
    if imports(&own) {
        return Some(own);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("safetensors");
    let python = folder.join("bin/python");
    if imports(&python) {
        return Some(python);
    }
    let done = |command: &mut Command| command.output().is_ok_and(|o| o.status.success());
    let made = done(Command::new(&own).args(["-m", "venv"]).arg(&folder))
        && done(Command::new(&python).args(["-m", "pip", "install", "numpy", "safetensors"]));
    (made && imports(&python)).then_some(python)
}

#[test]
fn a_model_opens_in_python_under_torchvisions_names() {
    let arch =
        workflow(1, "").replace("arch = 'resnet', width = 4, depth = 8", "arch = 'resnet18'");
    // One epoch of few images: it is the names that count.
    let test = Test::new()
        .workflow(&arch.replace("batch_size = 64", "batch_size = 500"))
        .run("")
        .ran("data coarse")
        .check();
    let bytes = test.output("coarse", "model");
    let (header, data) = safetensors(&bytes);
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut end = 0;
    for (name, tensor) in &header {
        if name == "__metadata__" {
            continue;
        }
        assert_eq!(tensor["dtype"], "F32", "{name}");
        let shape: Vec<u64> = serde_json::from_value(tensor["shape"].clone()).unwrap();
        let offsets: [u64; 2] = serde_json::from_value(tensor["data_offsets"].clone()).unwrap();
        assert_eq!(
            offsets[1] - offsets[0],
            4 * shape.iter().product::<u64>(),
            "{name}"
        );
        end = end.max(offsets[1]);
        found.insert(name.clone(), shape);
    }
    assert_eq!(data.len() as u64, end);
    // torchvision's own names and shapes, as the reference script wrote them; the images have one channel, and there are
    // two classes.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let reference = std::fs::read(root.join("stages/torch/tests/reference/pytorch.json")).unwrap();
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let mut expected: BTreeMap<String, Vec<u64>> =
        serde_json::from_value(reference["shapes"].clone()).unwrap();
    expected.insert("conv1.weight".into(), vec![64, 1, 3, 3]);
    expected.insert("fc.weight".into(), vec![2, 512]);
    expected.insert("fc.bias".into(), vec![2]);
    assert_eq!(found, expected);

    let Some(python) = python() else {
        skip!(
            "no `safetensors` for Python, which can't be installed here: the model was not opened there"
        );
    };
    let path = test.path("model.safetensors");
    let test = test
        .flow("get flow.toml coarse.model -o model.safetensors")
        .stdout("model.safetensors\n")
        .check();
    let script = "
import json, sys, safetensors.numpy
tensors = safetensors.numpy.load_file(sys.argv[1])
print(json.dumps({name: [list(x.shape), str(x.dtype), float(x.astype('f8').sum())] for name, x in tensors.items()}))
";
    let output = Command::new(python)
        .args(["-c", script])
        .arg(&path)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let opened: BTreeMap<String, (Vec<u64>, String, f64)> =
        serde_json::from_slice(&output.stdout).unwrap();
    for (name, (shape, kind, sum)) in &opened {
        assert_eq!(
            (shape, kind.as_str()),
            (&expected[name], "float32"),
            "{name}"
        );
        let offsets: [usize; 2] =
            serde_json::from_value(header[name]["data_offsets"].clone()).unwrap();
        let own: f64 = data[offsets[0]..offsets[1]]
            .chunks(4)
            .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())))
            .sum();
        assert!((own - sum).abs() <= 1e-6 * (1.0 + own.abs()), "{name}");
    }
    assert_eq!(opened.len(), expected.len());
    drop(test);
}

/// The real plugin in too small an address space; its `train` is called `limited`.
#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "only on Linux is the size of the address space a limit that holds"
)]
fn where_memory_runs_out_the_error_names_batch_and_image() {
    let plugin = flow_tests::binaries::find("flow-stages-torch");
    let limited = format!(
        "#!/bin/sh\nplugin='{}'\nif [ \"$1\" = describe ]; then \"$plugin\" describe | sed 's/\"train\"/\"limited\"/'; exit; fi\n\
         ulimit -v 4000000; exec \"$plugin\" run train\n",
        plugin.display()
    );
    let text = workflow(1, "")
        .replace("'train'", "'limited'")
        .replace(
            "arch = 'resnet', width = 4, depth = 8",
            "arch = 'resnet', width = 256, depth = 50",
        )
        .replace("batch_size = 64", "batch_size = 1200");
    let test = Test::new()
        .executable("limited", &limited)
        .workflow(&format!("{text}[plugins]\nlimited = 'limited'\n"))
        .run("")
        .status(1)
        .stages("ran", "data")
        .stages("failed", "coarse")
        .check();
    let (message, _) = test.last().stages["coarse"].failure.clone().unwrap();
    let words = "memory ran out on batches of 1200 images of 1x8x8; take a smaller batch";
    assert!(message.starts_with(words), "{message}");
    assert!(!log(&test).contains("frame #"), "{}", log(&test));
}
