//! How an output differs from another of the same stage: file by file, in the terms of their formats.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The file, inside an output that is a folder; empty for an output that is a file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// How it differs.
    #[serde(flatten)]
    pub how: How,
}

/// How two files of one name differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum How {
    /// The stored result has it and the new one has not.
    Gone,
    /// The new result has it and the stored one has not.
    New,
    /// Arrays of one type and shape.
    Elements(Elements),
    /// Arrays of another type or shape.
    Form {
        /// The stored one's.
        stored: String,
        /// The new one's.
        made: String,
    },
    /// JSON: the first value that differs.
    Value {
        /// Its JSON pointer.
        at: String,
        /// The stored value; none where there is none.
        stored: Option<Value>,
        /// The new value; none where there is none.
        made: Option<Value>,
    },
    /// Text: the first line that differs.
    Line {
        /// Its number, from 1.
        line: u64,
        /// The stored line; none after the end.
        stored: Option<String>,
        /// The new line; none after the end.
        made: Option<String>,
    },
    /// Anything else: the first byte that differs.
    Byte {
        /// How many bytes before it are the same.
        at: u64,
        /// The stored file's size.
        stored: u64,
        /// The new file's size.
        made: u64,
    },
}

/// How the elements of two arrays differ. Elements are equal only if they are the same bits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Elements {
    /// How many there are.
    pub elements: u64,
    /// How many differ.
    pub differing: u64,
    /// The largest `|a - b|` among those that are finite in both.
    pub largest_absolute: f64,
    /// The largest `|a - b| / max(|a|, |b|)` among those; at most 2.
    pub largest_relative: f64,
    /// How many of those that differ are NaN or infinite in one of the two.
    pub not_finite: u64,
    /// The tensor with the largest absolute difference, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
}
