//! Tests of actors: virtual time, probes, faults, and whole systems simulated from a seed.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod checks;
mod dice;
mod faults;
mod kit;
mod probe;
mod shrink;
mod simulate;
mod stage;
#[doc(hidden)]
pub mod storm;
mod time;
mod trace;

pub use checks::Checks;
pub use faults::Faults;
pub use greenroom::simulation::Fault;
pub use kit::{Kit, KitSetup};
pub use probe::{Asked, Probe, Script, StandIn};
pub use simulate::{Found, Sim, Simulation, simulate};
pub use stage::Crash;
pub use time::{in_virtual_time, pass, settle};
pub use trace::Trace;

pub mod from_a_failing_seed {
    #![doc = include_str!("../FROM_A_FAILING_SEED.md")]
}
