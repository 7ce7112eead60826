//! The behaviour of the runtime, room by room; each test is a sentence.

mod failures;
mod mailbox;
mod observing;
mod registry;
mod stopping;
mod supervision;
mod tasks;
mod tidy;
