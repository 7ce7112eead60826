//! Which devices does a zigbee2mqtt installation have?

use std::fmt;

use serde_json::Value;

use super::{Definition, text};

/// One device of a zigbee2mqtt installation, as its retained `bridge/devices` lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// The address of the radio, which never changes: `0x00158d0001a2b3c4`.
    pub ieee_address: String,
    /// The name that people gave it, and its topic: `kitchen/climate`. May contain slashes.
    pub friendly_name: String,
    /// What it exposes; `None` for the coordinator and for models that zigbee2mqtt does not know.
    pub definition: Option<Definition>,
}

impl Device {
    /// Reads the retained message of `zigbee2mqtt/bridge/devices`, of any installation.
    ///
    /// Works for every model, in the catalogue or not. Lenient, because each version of zigbee2mqtt
    /// adds fields: unknown ones are ignored, and an entry that is no device is left out.
    ///
    /// # Errors
    ///
    /// If the message is not a JSON array at all.
    ///
    /// # Examples
    ///
    /// ```
    /// use home_devices::Device;
    ///
    /// let message = br#"[{"ieee_address": "0x01", "friendly_name": "attic/fan", "definition":
    ///     {"vendor": "V", "model": "M", "exposes":
    ///         [{"type": "fan", "features": [{"type": "binary", "name": "state", "property": "state",
    ///           "access": 7, "value_on": "ON", "value_off": "OFF"}]}]}}]"#;
    /// let devices = Device::list(message)?;
    /// let definition = devices[0].definition.as_ref().expect("it has one");
    /// assert!(definition.property("state").is_some_and(|state| state.access.is_settable()));
    /// # Ok::<(), home_devices::NotDevices>(())
    /// ```
    pub fn list(message: &[u8]) -> Result<Vec<Device>, NotDevices> {
        match serde_json::from_slice(message) {
            Ok(Value::Array(entries)) => {
                Ok(entries.iter().filter_map(Device::from_value).collect())
            }
            Ok(_) => Err(NotDevices { source: None }),
            Err(source) => Err(NotDevices {
                source: Some(source),
            }),
        }
    }

    /// Reads one entry; `None` if it is not an object with a friendly name.
    #[must_use]
    pub fn from_value(entry: &Value) -> Option<Device> {
        let friendly_name = text(entry, "friendly_name");
        if friendly_name.is_empty() {
            return None;
        }
        let mut definition = entry.get("definition").and_then(Definition::from_value);
        if let Some(definition) = &mut definition {
            // Here the id that the device gave is beside the definition, not in it.
            if definition.zigbee_model.is_empty() {
                definition.zigbee_model = Some(text(entry, "model_id"))
                    .filter(|id| !id.is_empty())
                    .into_iter()
                    .collect();
            }
        }
        Some(Device {
            ieee_address: text(entry, "ieee_address"),
            friendly_name,
            definition,
        })
    }
}

/// The message is not a list of devices.
#[derive(Debug)]
pub struct NotDevices {
    source: Option<serde_json::Error>,
}

impl fmt::Display for NotDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some(_) => f.write_str("the list of devices is not JSON"),
            None => f.write_str("the list of devices is JSON, but not an array"),
        }
    }
}

impl std::error::Error for NotDevices {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
