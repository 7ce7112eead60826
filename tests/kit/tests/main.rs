//! What the test kit promises to those who test with it; each test is a sentence.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall fail where it stands"
)]

mod contracts;
mod faults;
mod lamp;
mod one_actor;
#[cfg(greenroom_planted)]
mod planted;
mod probes;
mod simulations;
