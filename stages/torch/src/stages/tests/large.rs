//! A data set that is larger than memory.

use flow_stage::dataset::Writer;

use super::*;

/// The machine's memory in bytes.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|l| l.starts_with("MemTotal:")).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Images of 256x256 that take twice the memory, in a file without content, which takes no place on the disk. From the
/// first to the last, a few rows far apart are learnt from and judged by.
#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "only Linux says in /proc/meminfo how much memory there is"
)]
fn a_data_set_larger_than_memory_trains() {
    let n = usize::try_from(2 * memory() / (256 * 256)).unwrap();
    let place = Place::new();
    let folder = place.path("large");
    drop(Writer::new(&folder, [n, 1, 256, 256]).unwrap());
    let size = fs::metadata(folder.join("images.npy")).unwrap().len();
    assert!(size > memory() + memory() / 2);
    let coarse: Array1<i32> = (0..n).map(|row| (row % 2) as i32).collect();
    array::write(&folder.join("coarse.npy"), &coarse).unwrap();
    let test = |row| matches!(row % (n / 20), 8 | 9);
    let split: Array1<u8> = (0..n).map(|row| if test(row) { 2 } else { 0 }).collect();
    array::write(&folder.join("split.npy"), &split).unwrap();
    let mut meta = dataset().meta;
    meta.fine_names.clear();
    let meta = serde_json::to_string(&meta).unwrap();
    fs::write(folder.join("dataset.json"), meta).unwrap();
    let learnt = |row| row % (n / 50) < 2 && !test(row);
    let labels: Array1<i32> = (0..n)
        .map(|row| if learnt(row) { (row % 2) as i32 } else { -1 })
        .collect();
    array::write(&place.path("labels.npy"), &labels).unwrap();
    let with = small(2, json!({ "labels": "fine", "width": 1 }));
    place
        .run::<Train>("fine", &[("data", "large"), LABELS], with)
        .unwrap();
    // Black images tell nothing apart.
    let metrics = place.metrics("fine");
    assert_eq!(metrics["test_accuracy"], json!(0.5));
    assert_eq!(metrics["test_auroc"], json!(0.5));
}
