//! What the lists share: a child that starts and ends as it is told, and short looks at a supervisor.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{ActorState, AutoShutdown, SupervisorRef};
use greenroom_it::{Log, settle};
use parking_lot::Mutex;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const RESTARTS: [Restart; 3] =
    [Restart::Permanent, Restart::Transient, Restart::Temporary];
pub(crate) const AUTO: [AutoShutdown; 3] = [
    AutoShutdown::Never,
    AutoShutdown::AnySignificant,
    AutoShutdown::AllSignificant,
];

/// How a start of a [`Double`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starts {
    Well,
    Ignored,
    Fails,
    Panics,
    /// It fails after so long.
    FailsAfter(Duration),
}

/// What a [`Double`] is built from; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) log: Log,
    /// The next starts, one after the other; what comes then goes well.
    next: Arc<Mutex<VecDeque<Starts>>>,
    /// How each start goes beyond those.
    always: Arc<Mutex<Option<Starts>>>,
}

impl Plan {
    /// The first starts go so; all others go well.
    pub(crate) fn starts<const N: usize>(how: [Starts; N]) -> Self {
        let plan = Plan::default();
        *plan.next.lock() = how.into();
        plan
    }

    /// All starts go so from here on.
    pub(crate) fn hereafter(&self, how: Starts) {
        *self.always.lock() = Some(how);
    }
}

/// A child that does as it is told.
#[derive(Debug)]
pub(crate) struct Double;

impl Actor for Double {
    type Args = Plan;
    type Error = BoxError;

    async fn start(plan: Plan, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        let name = cx.path().name().to_owned();
        let next = plan.next.lock().pop_front().or(*plan.always.lock());
        plan.log.add(format!("{name} {}", cx.incarnation()));
        match next.unwrap_or(Starts::Well) {
            Starts::Well => {}
            Starts::Ignored => return cx.ignore().await,
            Starts::Fails => return Err("no luck".into()),
            Starts::Panics => panic!("no way"),
            Starts::FailsAfter(time) => {
                tokio::time::sleep(time).await;
                return Err("no luck".into());
            }
        }
        Ok(Double)
    }
}

/// How a [`Double`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Normally,
    Failing,
    Panicking,
    Killed,
}

impl Message for Ends {
    type Reply = ();
}

impl Handler<Ends> for Double {
    async fn handle(&mut self, ends: Ends, cx: &mut Context<Self>) -> Result<(), BoxError> {
        match ends {
            Ends::Normally => cx.stop(),
            Ends::Failing => return Err("died".into()),
            Ends::Panicking => panic!("died"),
            Ends::Killed => {
                cx.me().kill();
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }
}

/// Never ends by itself.
#[derive(Debug)]
pub(crate) struct Forever;

impl Message for Forever {
    type Reply = ();
}

impl Handler<Forever> for Double {
    async fn handle(&mut self, _: Forever, _: &mut Context<Self>) -> Result<(), BoxError> {
        std::future::pending().await
    }
}

/// Which life it is.
#[derive(Debug)]
pub(crate) struct WhichLife;

impl Message for WhichLife {
    type Reply = u64;
}

impl Handler<WhichLife> for Double {
    async fn handle(&mut self, _: WhichLife, cx: &mut Context<Self>) -> Result<u64, BoxError> {
        Ok(cx.incarnation())
    }
}

/// A child whose starts all go well.
pub(crate) fn child(name: &str) -> Spec<Double> {
    Double::spec(name, Plan::default())
}

/// A supervisor that may restart often, and at once.
pub(crate) fn lenient(strategy: fn(&'static str) -> Supervisor, name: &'static str) -> Supervisor {
    strategy(name)
        .restart_limit(100, HOUR)
        .backoff(Backoff::none())
}

/// Specs, active, supervisors, workers.
#[track_caller]
pub(crate) fn counts(supervisor: &SupervisorRef) -> [usize; 4] {
    let counts = supervisor.count_children().unwrap();
    [
        counts.specs,
        counts.active,
        counts.supervisors,
        counts.workers,
    ]
}

/// The children in the order of their start, and what each is doing.
#[track_caller]
pub(crate) fn states(supervisor: &SupervisorRef) -> Vec<(String, ActorState)> {
    let children = supervisor.children().unwrap();
    let states = children
        .iter()
        .map(|child| (child.path.name().to_owned(), child.state));
    states.collect()
}

/// The same for an expectation.
pub(crate) fn are<const N: usize>(states: [(&str, ActorState); N]) -> Vec<(String, ActorState)> {
    states.map(|(name, state)| (name.to_owned(), state)).into()
}

#[track_caller]
pub(crate) fn state(supervisor: &SupervisorRef, name: &str) -> ActorState {
    supervisor.child(name).unwrap().state
}

#[track_caller]
pub(crate) fn life(supervisor: &SupervisorRef, name: &str) -> u64 {
    supervisor.child(name).unwrap().incarnation
}

/// Has a child end, and lets its supervisor see to it.
pub(crate) async fn end(system: &System, path: &str, how: Ends) {
    let child = system.find::<Double>(path).unwrap();
    child.tell(how).await.unwrap();
    settle().await;
}
