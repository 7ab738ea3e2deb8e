//! TensorBoard's event files: curves by step.
//!
//! A file is a sequence of records (TensorFlow's `TFRecord`): the length of the content as u64, its checksum, the content,
//! its checksum; the checksum is a masked CRC-32C, numbers are little-endian. The content is a protocol buffer, `Event` of
//! TensorFlow's `event.proto`, of which the fields that a curve has stand here.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use prost::Message;

/// What was measured at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its number, such as the epoch.
    pub step: i64,
    /// Names and values. A name `group/name` is shown in its group. Values that are not finite are left out.
    pub values: Vec<(String, f64)>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// Writes a log folder that TensorBoard opens.
///
/// The same steps give the same bytes: there is no clock in them, a step's number stands for its time in seconds.
///
/// # Errors
/// Where the folder can't be written.
pub fn write(folder: &Path, steps: &[Step]) -> Result<()> {
    let mut file = record(&Event {
        file_version: Some("brain.Event:2".into()),
        ..Event::default()
    });
    for Step { step, values } in steps {
        let values = values
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|(name, value)| Scalar {
                tag: name.clone(),
                simple_value: Some(*value as f32),
            })
            .collect();
        file.extend(record(&Event {
            wall_time: *step as f64,
            step: *step,
            file_version: None,
            summary: Some(Summary { values }),
        }));
    }
    let wrong = || format!("{} can't be written", folder.display());
    fs::create_dir_all(folder).with_context(wrong)?;
    // TensorBoard looks for `tfevents` in the name.
    fs::write(folder.join("events.out.tfevents.0.flow"), file).with_context(wrong)
}

fn record(event: &Event) -> Vec<u8> {
    let content = event.encode_to_vec();
    let length = (content.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(checksum(&length).to_le_bytes());
    record.extend(&content);
    record.extend(checksum(&content).to_le_bytes());
    record
}

/// TensorFlow's mask: a checksum of bytes that hold checksums is a poor one.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_tensorboard_writes() {
        let event = Event {
            file_version: Some("brain.Event:2".into()),
            ..Event::default()
        };
        assert_eq!(event.encode_to_vec(), b"\x1a\x0dbrain.Event:2");
        let event = Event {
            wall_time: 1.5,
            step: 3,
            file_version: None,
            summary: Some(Summary {
                values: vec![Scalar {
                    tag: "loss/train".into(),
                    simple_value: Some(0.25),
                }],
            }),
        };
        let hex: String = record(&event).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, RECORD);
    }

    /// By TensorBoard 2.21.0: `RecordWriter(file).write(Event(wall_time=1.5, step=3, summary=Summary(value=[Summary.Value(
    /// tag="loss/train", simple_value=0.25)])).SerializeToString())`.
    const RECORD: &str = "200000000000000029eda95009000000000000f83f10032a130a110a0a6c6f73732f747261696e150000803e4a2d8635";

    #[test]
    fn the_checksum_is_masked_crc32c() {
        // RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 0x8a9136aa.
        let crc: u32 = 0x8a91_36aa;
        let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(checksum(&[0; 32]), masked);
    }

    #[test]
    fn a_folder_is_written_the_same_way_each_time_and_without_what_is_not_finite() {
        let folder = tempfile::tempdir().unwrap();
        let steps = [Step {
            step: 1,
            values: vec![("a".into(), 0.5), ("b".into(), f64::NAN)],
        }];
        let read = |name: &str| {
            let folder = folder.path().join(name);
            write(&folder, &steps).unwrap();
            fs::read(folder.join("events.out.tfevents.0.flow")).unwrap()
        };
        let bytes = read("x");
        assert_eq!(bytes, read("y"));
        // The first record is 15 bytes in 16 of a frame.
        let event = &bytes[31..];
        let length = u64::from_le_bytes(event[..8].try_into().unwrap()) as usize;
        assert_eq!(event.len(), length + 16);
        let event = Event::decode(&event[12..12 + length]).unwrap();
        let values = event.summary.unwrap().values;
        assert_eq!((values.len(), values[0].simple_value), (1, Some(0.5)));
    }
}
