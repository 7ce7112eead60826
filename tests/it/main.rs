//! The behaviour of the runtime, room by room; each test is a sentence.
//!
//! What an author can rely on holds whoever runs the actors, so most suites are run on several drivers.

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

#[path = "."]
mod on_tasks {
    drive!(Driver::Tasks);

    mod calls;
    mod causes;
    mod contracts;
    mod envelopes;
    mod failures;
    mod flow;
    mod limits;
    mod mailbox;
    mod observing;
    mod overflow;
    mod pending;
    mod races;
    mod registry;
    mod sources;
    mod stopping;
    mod supervision;
    mod tasks;
}

#[path = "."]
mod simulated {
    drive!(Driver::Simulated);

    mod calls;
    mod causes;
    mod contracts;
    mod envelopes;
    mod failures;
    mod flow;
    mod limits;
    mod mailbox;
    mod observing;
    mod overflow;
    mod pending;
    mod races;
    mod registry;
    mod sources;
    mod stopping;
    mod supervision;
    mod tasks;
}

#[path = "."]
mod on_one_worker {
    drive!(Driver::Workers(1));

    mod calls;
    mod causes;
    mod mailbox;
    mod overflow;
    mod pending;
}

#[path = "."]
mod on_workers {
    drive!(Driver::Workers(4));

    mod calls;
    mod causes;
    mod envelopes;
    mod mailbox;
    mod overflow;
    mod pending;
    mod sources;
}

mod contended;
mod hail;
mod latecomers;
mod left_behind;
mod on_the_spot;
mod simulation;
mod tidy;
mod waiting;
mod workers;
