//! What the tests share: a look into an exposition, and actors to look at.

#![allow(
    dead_code,
    reason = "each test binary compiles this file and uses a part of it"
)]

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{Subscription, System};
pub(crate) use greenroom_it::web::*;
use greenroom_telemetry::{Address, Telemetry};

// ===== exposition =====

/// Returns the value of the one series that begins so: a name, or a name with its labels.
pub(crate) fn value(body: &str, series: &str) -> Outcome<f64> {
    let mut found = body
        .lines()
        .filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(value.parse()?),
        (None, _) => Err(format!("no {series} in:\n{body}").into()),
        _ => Err(format!("{series} is there twice").into()),
    }
}

/// Returns how many series a body has.
pub(crate) fn series(body: &str) -> usize {
    body.lines().filter(|line| !line.starts_with('#')).count()
}

// ===== actors =====

/// An actor that does what it is told.
#[derive(Debug)]
pub(crate) struct Worker;

/// The error of a [`Worker`].
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken as ordered")
    }
}

impl Actor for Worker {
    type Args = ();
    type Error = Broken;

    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Broken> {
        cx.subscribe::<Rang>();
        // One with a name has metrics of its own; this one's key is nobody's.
        let named = Subscription::<Rang>::new("back door").key("back");
        cx.subscribe_with(named).map_err(|_| Broken)?;
        Ok(Worker)
    }
}

/// Is handled at once.
#[derive(Clone, Debug)]
pub(crate) struct Work;
impl Message for Work {
    type Reply = ();
}
impl Handler<Work> for Worker {
    async fn handle(&mut self, _: Work, _: &mut Context<Self>) -> Result<(), Broken> {
        Ok(())
    }
}

/// Makes the worker fail.
#[derive(Clone, Debug)]
pub(crate) struct Fail;
impl Message for Fail {
    type Reply = ();
}
impl Handler<Fail> for Worker {
    async fn handle(&mut self, _: Fail, _: &mut Context<Self>) -> Result<(), Broken> {
        Err(Broken)
    }
}

/// Blocks the thread of the worker until the other end of the channel is dropped.
#[derive(Debug)]
pub(crate) struct Block(pub(crate) Receiver<()>);
impl Message for Block {
    type Reply = ();
}
impl Handler<Block> for Worker {
    async fn handle(&mut self, Block(until): Block, _: &mut Context<Self>) -> Result<(), Broken> {
        // It ends with an error when the test has dropped its end, which is the signal.
        let _ = until.recv();
        Ok(())
    }
}

/// The door bell rang.
#[derive(Clone, Debug)]
pub(crate) struct Rang(pub(crate) Arc<str>);
impl Event for Rang {}
impl Handler<Rang> for Worker {
    async fn handle(&mut self, _: Rang, _: &mut Context<Self>) -> Result<(), Broken> {
        Ok(())
    }
}

/// Returns where `app/telemetry` listens.
pub(crate) async fn address(system: &System) -> Outcome<SocketAddr> {
    Ok(system
        .find::<Telemetry>("app/telemetry")?
        .ask(Address)
        .await?)
}

/// A tree of one telemetry actor on any port, to which children are added.
pub(crate) fn app() -> Supervisor {
    Supervisor::one_for_one("app")
        .restart_limit(1000, Duration::from_secs(1))
        .child(Telemetry::spec("telemetry", ANY_PORT))
}
