//! What only Greenroom is asked: restarts, and actors that wait for timers and sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenroom::SupervisorRef;
use greenroom::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::bare::{self, ECHO_BYTES, ECHO_PAIRS, SLEEP, SLEEPERS};
use crate::node::{Latch, lost};
use crate::workloads::{Measured, scaled, warmed_up};

/// Starts an actor under a name of its own; those of the warm-up are still there.
async fn start<A: Actor>(nodes: &SupervisorRef, args: A::Args) -> ActorRef<A> {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let name = format!("actor{}", STARTED.fetch_add(1, Ordering::Relaxed));
    let started = nodes.start_child(A::spec(name, args)).await;
    started.unwrap_or_else(|error| lost(error))
}

async fn tell<A, M>(to: &ActorRef<A>, message: M)
where
    A: Handler<M>,
    M: Message<Reply = ()>,
{
    to.tell(message).await.unwrap_or_else(|error| lost(error));
}

// ===== restart =====

/// An actor that panics when it is told to; what it counted is with its arguments, which outlive it.
struct Fragile {
    handled: Arc<Handled>,
}

struct Handled {
    count: AtomicU64,
    target: u64,
    latch: Arc<Latch>,
}

impl Actor for Fragile {
    type Args = Arc<Handled>;
    type Error = BoxError;
    async fn start(handled: Arc<Handled>, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Fragile { handled })
    }
}

struct Break;
impl Message for Break {
    type Reply = ();
}
impl Handler<Break> for Fragile {
    async fn handle(&mut self, Break: Break, _: &mut Context<Self>) -> Result<(), BoxError> {
        panic!("on purpose")
    }
}

struct Count;
impl Message for Count {
    type Reply = ();
}
impl Handler<Count> for Fragile {
    async fn handle(&mut self, Count: Count, _: &mut Context<Self>) -> Result<(), BoxError> {
        if self.handled.count.fetch_add(1, Ordering::Relaxed) + 1 == self.handled.target {
            self.handled.latch.hit();
        }
        Ok(())
    }
}

/// Panic, rebuild and next message, with a queue behind it that must stay.
pub(super) async fn restart(nodes: &SupervisorRef, system: &System, scale: f64) -> Measured {
    warmed_up(scale, |scale| async move {
        let restarts = scaled(20_000, scale, 500);
        let handled = Arc::new(Handled {
            count: AtomicU64::new(0),
            target: restarts,
            latch: Latch::new(1),
        });
        let failed_before = system.ledger().failed;
        let fragile = start::<Fragile>(nodes, Arc::clone(&handled)).await;
        let began = Instant::now();
        for _ in 0..restarts {
            tell(&fragile, Break).await;
            tell(&fragile, Count).await;
        }
        handled.latch.wait().await;
        let elapsed = began.elapsed();
        let failed = system.ledger().failed - failed_before;
        if failed != restarts {
            lost(format_args!("{restarts} were to fail, {failed} failed"));
        }
        Measured::new(restarts, elapsed)
    })
    .await
}

// ===== sleep =====

struct Sleeper {
    done: Arc<Latch>,
}

impl Actor for Sleeper {
    type Args = Arc<Latch>;
    type Error = BoxError;
    async fn start(done: Arc<Latch>, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Sleeper { done })
    }
}

/// How many more times to sleep.
struct Sleep(u64);
impl Message for Sleep {
    type Reply = ();
}
impl Handler<Sleep> for Sleeper {
    async fn handle(&mut self, Sleep(left): Sleep, cx: &mut Context<Self>) -> Result<(), BoxError> {
        tokio::time::sleep(SLEEP).await;
        match left {
            1 => self.done.hit(),
            _ => cx.me().tell(Sleep(left - 1)).await?,
        }
        Ok(())
    }
}

/// Each sleep is a message of its own, so that a handler pends and ends each time.
pub(super) async fn sleep(nodes: &SupervisorRef, scale: f64) -> Measured {
    warmed_up(scale, |scale| async move {
        let times = scaled(100, scale, 5);
        let done = Latch::new(SLEEPERS);
        let mut sleepers = Vec::with_capacity(SLEEPERS);
        for _ in 0..SLEEPERS {
            sleepers.push(start::<Sleeper>(nodes, Arc::clone(&done)).await);
        }
        let began = Instant::now();
        for sleeper in &sleepers {
            tell(sleeper, Sleep(times)).await;
        }
        done.wait().await;
        Measured::new(SLEEPERS as u64 * times, began.elapsed())
    })
    .await
}

// ===== echo =====

/// One end of a connection.
struct End {
    stream: Option<TcpStream>,
    done: Arc<Latch>,
}

impl Actor for End {
    type Args = Arc<Latch>;
    type Error = BoxError;
    async fn start(done: Arc<Latch>, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(End { stream: None, done })
    }
}

struct Connect(TcpStream);
impl Message for Connect {
    type Reply = ();
}
impl Handler<Connect> for End {
    async fn handle(
        &mut self,
        Connect(stream): Connect,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        self.stream = Some(stream);
        Ok(())
    }
}

/// What one end does, each time once: read and write back.
struct Answer;
impl Message for Answer {
    type Reply = ();
}
impl Handler<Answer> for End {
    async fn handle(&mut self, Answer: Answer, cx: &mut Context<Self>) -> Result<(), BoxError> {
        let stream = self.stream.as_mut().ok_or("not connected")?;
        let mut bytes = [0; ECHO_BYTES];
        // The other end goes when it has had enough.
        if stream.read_exact(&mut bytes).await.is_ok() {
            stream.write_all(&bytes).await?;
            cx.me().tell(Answer).await?;
        }
        Ok(())
    }
}

/// What the other end does so many times: write and read back.
struct Call(u64);
impl Message for Call {
    type Reply = ();
}
impl Handler<Call> for End {
    async fn handle(&mut self, Call(left): Call, cx: &mut Context<Self>) -> Result<(), BoxError> {
        let stream = self.stream.as_mut().ok_or("not connected")?;
        let sent = bare::line(left);
        let mut bytes = [0; ECHO_BYTES];
        stream.write_all(&sent).await?;
        stream.read_exact(&mut bytes).await?;
        if bytes != sent {
            lost("an echo differs");
        }
        match left {
            1 => {
                self.stream = None;
                self.done.hit();
            }
            _ => cx.me().tell(Call(left - 1)).await?,
        }
        Ok(())
    }
}

pub(super) async fn echo(nodes: &SupervisorRef, scale: f64) -> Measured {
    warmed_up(scale, |scale| async move {
        let trips = scaled(3_000, scale, 50);
        let done = Latch::new(ECHO_PAIRS);
        let mut ends = Vec::with_capacity(ECHO_PAIRS);
        for (near, far) in bare::connections().await {
            let caller = start::<End>(nodes, Arc::clone(&done)).await;
            let answerer = start::<End>(nodes, Arc::clone(&done)).await;
            tell(&caller, Connect(near)).await;
            tell(&answerer, Connect(far)).await;
            ends.push((caller, answerer));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let began = Instant::now();
        for (caller, answerer) in &ends {
            tell(answerer, Answer).await;
            tell(caller, Call(trips)).await;
        }
        done.wait().await;
        Measured::new(ECHO_PAIRS as u64 * trips, began.elapsed())
    })
    .await
}
