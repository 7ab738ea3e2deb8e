//! How long stages take, by what records say of the last time.

use std::collections::HashMap;

use flow_cache::{Error, Store};
use flow_plan::plan::Instance;
use serde::Deserialize;

/// Seconds by instance, and by stage where the instance itself never ran.
#[derive(Debug, Default)]
pub struct Durations {
    instances: HashMap<String, f64>,
    stages: HashMap<String, f64>,
}

/// What a record says of it.
#[derive(Deserialize)]
struct Brief {
    provenance: Made,
    seconds: f64,
    finished: String,
}

#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    label: String,
    #[serde(default)]
    stage: String,
}

impl Durations {
    /// What the records of a store say.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn of(store: &Store) -> Result<Durations, Error> {
        let mut briefs: Vec<Brief> = store.read_records()?;
        // The newest has the last word. RFC 3339 in UTC sorts as text, but for the digits of a second.
        briefs.sort_by_cached_key(|brief| brief.finished.parse::<jiff::Timestamp>().ok());
        let mut durations = Durations::default();
        for Brief {
            provenance,
            seconds,
            ..
        } in briefs
        {
            durations.instances.insert(provenance.label, seconds);
            durations.stages.insert(provenance.stage, seconds);
        }
        Ok(durations)
    }

    /// How long an instance took when it last ran, else another of its stage; none where nothing is known of either.
    pub fn seconds(&self, instance: &Instance) -> Option<f64> {
        let own = self.instances.get(&instance.label);
        own.or_else(|| self.stages.get(&instance.stage)).copied()
    }
}
