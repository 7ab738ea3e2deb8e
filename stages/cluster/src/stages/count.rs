//! The parameter `k`: how many clusters each coarse class has.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classes::Class;

/// One number for all classes, or one for each.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Count {
    Same(#[schemars(range(min = 1))] u32),
    ByClass(BTreeMap<String, u32>),
}

impl Count {
    /// The number for a class.
    ///
    /// # Errors
    /// Where the table does not name it.
    pub fn of(&self, class: &Class) -> Result<usize> {
        match self {
            Count::Same(k) => Ok(*k as usize),
            Count::ByClass(table) => match table.get(&class.name) {
                Some(k) => Ok(*k as usize),
                None => bail!(
                    "k names no number for this class; it names {}",
                    table
                        .keys()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            },
        }
    }

    /// Refuses a table that names other classes than these.
    ///
    /// # Errors
    /// The first such name.
    pub fn check(&self, classes: &[Class]) -> Result<()> {
        if let Count::ByClass(table) = self
            && let Some(unknown) = table.keys().find(|&k| classes.iter().all(|c| c.name != *k))
        {
            let known: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
            bail!(
                "k names the class {unknown}, which has no rows; there are {}",
                known.join(", ")
            );
        }
        Ok(())
    }
}
