//! Supervision as OTP and Elixir have it, line by line: each test is named after the behaviour that it shows.
//!
//! A file is one list of behaviours. What does not apply in Rust is in `CONFORMANCE.md`, with the reason.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall fail where it stands"
)]
#![allow(clippy::duplicate_mod, reason = "a suite is run on several drivers")]

/// Makes the suites of a module start their systems on one driver.
macro_rules! drive {
    ($driver:expr) => {
        use greenroom::{Builder, StartError, Supervisor, System};
        use greenroom_it::Driver;

        const DRIVER: Driver = $driver;

        fn builder() -> Builder {
            DRIVER.builder()
        }

        async fn start(tree: Supervisor) -> Result<System, StartError> {
            builder().start(tree).await
        }
    };
}

mod doubles;

#[path = "."]
mod on_tasks {
    drive!(Driver::Tasks);

    mod admin;
    mod calls;
    mod crash_reports;
    mod dynamic;
    mod endings;
    mod failing;
    mod groups;
    mod live;
    mod messages;
    mod model;
    mod monitors;
    mod names;
    mod partitions;
    mod pausing;
    mod reports;
    mod restart_types;
    mod significant;
    mod starting;
    mod stop;
    mod strategies;
    mod tasks;
}

#[path = "."]
mod simulated {
    drive!(Driver::Simulated);

    mod admin;
    mod calls;
    mod crash_reports;
    mod dynamic;
    mod endings;
    mod failing;
    mod groups;
    mod live;
    mod messages;
    mod model;
    mod monitors;
    mod names;
    mod partitions;
    mod pausing;
    mod reports;
    mod restart_types;
    mod significant;
    mod starting;
    mod stop;
    mod strategies;
    mod tasks;
}

mod application;
mod at_once;
mod coverage;
mod look;
mod messages_on_workers;
mod names_on_workers;
mod reports_on_workers;
mod scale;
mod workers;
