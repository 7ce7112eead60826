//! What the tests share: a plain HTTP client, a way to wait, and actors to look at.

#![allow(
    dead_code,
    reason = "each test binary compiles this file and uses a part of it"
)]

use std::error::Error;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use greenroom::System;
use greenroom::prelude::*;
use greenroom_telemetry::{Address, Telemetry};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Any free port of this machine.
pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

// ===== HTTP =====

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Outcome<Answer> {
    request(address, "GET", path)
}

pub(crate) fn request(address: SocketAddr, method: &str, path: &str) -> Outcome<Answer> {
    let limit = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    // 1.0, so that no body comes in chunks.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("the answer has no end of its head")?;
    let status = head.get(9..12).ok_or("the answer has no status")?.parse()?;
    Ok(Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// Returns a port that is free now.
pub(crate) fn free_port() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind(ANY_PORT)?.local_addr()?)
}

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

// ===== waiting =====

/// Tries again until `probe` succeeds; after `limit` its last error is the verdict.
pub(crate) fn eventually<T>(limit: Duration, mut probe: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let deadline = Instant::now() + limit;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(format!("after {limit:?} still: {error}").into());
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
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
