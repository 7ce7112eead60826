//! Real zigbee2mqtt device models, and a virtual home whose devices publish as the real ones do.
//!
//! Two parts, which know each other only through the catalogue:
//!
//! - [`catalogue()`]: what some sixty real models expose, [`check`] for payloads, and
//!   [`Device::list`] to learn the devices of any zigbee2mqtt installation;
//! - [`World`]: a home of eight rooms with a family in it, deterministic from a seed, that
//!   publishes and takes commands in zigbee2mqtt's topics and payloads.
//!
//! It is not: an MQTT client, an actor, or a clock. Everything here is a pure function of its
//! arguments; time passes when [`World::advance`] says so.

#![forbid(unsafe_code)]

pub mod catalogue;
pub mod world;

mod random;

pub use crate::catalogue::{Catalogue, Definition, Device, Mismatch, NotDevices, catalogue, check};
pub use crate::world::{
    CAMERA, DEFAULT_SEED, DEFAULT_START_MS, HOME, Installed, Published, Role, Room, SetError, World,
};
