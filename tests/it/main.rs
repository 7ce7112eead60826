//! The behaviour of the runtime, room by room; each test is a sentence.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall fail where it stands"
)]

mod failures;
mod mailbox;
mod observing;
mod races;
mod registry;
mod stopping;
mod supervision;
mod tasks;
mod tidy;
