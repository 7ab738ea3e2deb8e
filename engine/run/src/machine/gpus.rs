//! The GPUs of this machine: by names that `CUDA_VISIBLE_DEVICES` takes, and that mean the same to every process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where NVIDIA's driver tells of its devices.
const DRIVER: &str = "/proc/driver/nvidia";

/// The GPUs that this process may use: those that `CUDA_VISIBLE_DEVICES` names, else all, by UUID where the driver tells it.
pub fn here() -> Vec<String> {
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(names) => names
            .split(',')
            .map(|name| name.trim().to_string())
            .filter(|name| !name.is_empty())
            .collect(),
        Err(_) => all(Path::new(DRIVER), Path::new("/dev")),
    }
}

/// What each name means: the UUID of a number or of the beginning of a UUID, where the driver tells them. The numbers count in
/// the order of the bus, which is CUDA's for GPUs of one model.
pub fn identities(names: &[String]) -> Vec<String> {
    let numbered = |name: &String| name.parse::<usize>().is_ok();
    let whole = |name: &String| name.len() >= "GPU-".len() + 36;
    if names.iter().all(|name| !numbered(name) && whole(name)) {
        return names.to_vec();
    }
    let known = cards(Path::new(DRIVER));
    let identity = |name: &String| {
        let by_number = name.parse().ok().and_then(|i: usize| known.get(i));
        let by_name = || {
            known
                .iter()
                .find(|(_, uuid)| uuid.starts_with(name.as_str()))
        };
        let found = by_number.or_else(by_name);
        found.map_or_else(|| name.clone(), |(_, uuid)| uuid.clone())
    };
    names.iter().map(identity).collect()
}

fn all(driver: &Path, devices: &Path) -> Vec<String> {
    if is_divided(driver)
        && let Some(parts) = parts()
    {
        return parts;
    }
    // A container has the driver's word of all cards, and the device files of its own.
    let cards = cards(driver);
    let own = cards.iter();
    let own = own.filter(|(minor, _)| devices.join(format!("nvidia{minor}")).exists());
    let uuids: Vec<String> = own.map(|(_, uuid)| uuid.clone()).collect();
    if uuids.is_empty() {
        numbers(devices)
    } else {
        uuids
    }
}

/// Minor number and UUID of each card, in the order of the bus.
fn cards(driver: &Path) -> Vec<(u32, String)> {
    let entries = fs::read_dir(driver.join("gpus")).into_iter().flatten();
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let card = |folder: &PathBuf| {
        let text = fs::read_to_string(folder.join("information")).ok()?;
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches(':').trim()))
        };
        let uuid = field("GPU UUID").filter(|uuid| uuid.starts_with("GPU-"))?;
        Some((field("Device Minor")?.parse().ok()?, uuid.to_string()))
    };
    folders.iter().filter_map(card).collect()
}

/// Whether a card is divided (MIG): then its parts are what can be used, and only `nvidia-smi` names them.
fn is_divided(driver: &Path) -> bool {
    let cards = fs::read_dir(driver.join("capabilities"))
        .into_iter()
        .flatten();
    cards.flatten().any(|card| {
        let parts = fs::read_dir(card.path().join("mig")).into_iter().flatten();
        parts
            .flatten()
            .any(|part| part.file_name().to_string_lossy().starts_with("gi"))
    })
}

/// The parts of divided cards, and the cards that are whole.
fn parts() -> Option<Vec<String>> {
    let output = Command::new("nvidia-smi").arg("-L").output().ok()?;
    let found = listed(&String::from_utf8_lossy(&output.stdout));
    (output.status.success() && !found.is_empty()).then_some(found)
}

/// What `nvidia-smi -L` lists: a card that has parts is left out.
fn listed(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        let uuid = line
            .split_once("UUID: ")
            .map(|(_, rest)| rest.trim_end_matches(')'));
        let Some(uuid) = uuid else { continue };
        if uuid.starts_with("MIG-") && found.last().is_some_and(|last| last.starts_with("GPU-")) {
            found.pop();
        }
        found.push(uuid.into());
    }
    found
}

/// The numbers of NVIDIA's device files.
fn numbers(devices: &Path) -> Vec<String> {
    let entries = fs::read_dir(devices).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("nvidia")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers.iter().map(u32::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_named_by_uuid_where_the_driver_tells_it_and_the_device_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (driver, devices) = (folder.path().join("driver"), folder.path().join("dev"));
        fs::create_dir(&devices).unwrap();
        for name in ["nvidia0", "nvidia1", "nvidiactl"] {
            fs::write(devices.join(name), "").unwrap();
        }
        assert_eq!(all(&driver, &devices), ["0", "1"]);
        for (bus, minor, uuid) in [
            ("0000:0a:00.0", 1, "GPU-b"),
            ("0000:05:00.0", 7, "GPU-c"),
            ("0000:0b:00.0", 0, "GPU-a"),
        ] {
            let card = driver.join("gpus").join(bus);
            fs::create_dir_all(&card).unwrap();
            let text = format!("Model: \t X\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n");
            fs::write(card.join("information"), text).unwrap();
        }
        assert_eq!(all(&driver, &devices), ["GPU-b", "GPU-a"]);
        assert!(!is_divided(&driver));
        fs::create_dir_all(driver.join("capabilities/gpu0/mig/gi3")).unwrap();
        assert!(is_divided(&driver));
    }

    #[test]
    fn parts_stand_for_their_card() {
        let text = "GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-2)\n  MIG 1g.5gb Device 1: (UUID: MIG-3)\n\
                    GPU 1: NVIDIA A100 (UUID: GPU-4)\n";
        assert_eq!(listed(text), ["MIG-2", "MIG-3", "GPU-4"]);
        assert!(listed("No devices found.\n").is_empty());
    }
}
