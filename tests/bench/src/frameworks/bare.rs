//! Tokio tasks without any actors: what waiting for timers and sockets costs at least.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::on_tokio_runtime;
use crate::node::{Latch, lost};
use crate::workloads::{Measured, Workload, scaled, warmed_up};

pub(super) const SLEEPERS: usize = 10_000;
pub(super) const SLEEP: Duration = Duration::from_millis(1);
pub(super) const ECHO_PAIRS: usize = 64;
pub(super) const ECHO_BYTES: usize = 64;

pub(crate) fn tasks(workload: Workload, threads: usize, scale: f64) -> ! {
    on_tokio_runtime(threads, async move {
        match workload {
            Workload::Sleep => warmed_up(scale, sleep).await,
            Workload::Echo => warmed_up(scale, echo).await,
            _ => lost("bare tasks have no such workload"),
        }
    })
}

async fn sleep(scale: f64) -> Measured {
    let times = scaled(100, scale, 5);
    let done = Latch::new(SLEEPERS);
    let began = Instant::now();
    for _ in 0..SLEEPERS {
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            for _ in 0..times {
                tokio::time::sleep(SLEEP).await;
            }
            done.hit();
        });
    }
    done.wait().await;
    Measured::new(SLEEPERS as u64 * times, began.elapsed())
}

/// Returns the pairs of ends, with nothing held back to be sent together.
pub(super) async fn connections() -> Vec<(TcpStream, TcpStream)> {
    match connect().await {
        Ok(pairs) => pairs,
        Err(error) => lost(error),
    }
}

async fn connect() -> std::io::Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut pairs = Vec::with_capacity(ECHO_PAIRS);
    for _ in 0..ECHO_PAIRS {
        let (near, far) = tokio::try_join!(TcpStream::connect(address), listener.accept())?;
        near.set_nodelay(true)?;
        far.0.set_nodelay(true)?;
        pairs.push((near, far.0));
    }
    Ok(pairs)
}

/// Returns what is sent in a round trip: another text each time.
pub(super) fn line(trip: u64) -> [u8; ECHO_BYTES] {
    let mut bytes = [b'.'; ECHO_BYTES];
    bytes[..8].copy_from_slice(&trip.to_be_bytes());
    bytes
}

async fn echo(scale: f64) -> Measured {
    let trips = scaled(3_000, scale, 50);
    let done = Latch::new(ECHO_PAIRS);
    let pairs = connections().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let began = Instant::now();
    for (near, far) in pairs {
        tokio::spawn(answer(far));
        tokio::spawn(call(near, trips, Arc::clone(&done)));
    }
    done.wait().await;
    Measured::new(ECHO_PAIRS as u64 * trips, began.elapsed())
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; ECHO_BYTES];
    // The other end goes when it has had enough.
    while stream.read_exact(&mut bytes).await.is_ok() {
        stream.write_all(&bytes).await?;
    }
    Ok(())
}

async fn call(mut stream: TcpStream, trips: u64, done: Arc<Latch>) {
    for trip in 0..trips {
        let sent = line(trip);
        let mut bytes = [0; ECHO_BYTES];
        let round = async {
            stream.write_all(&sent).await?;
            stream.read_exact(&mut bytes).await
        };
        if let Err(error) = round.await {
            lost(error);
        }
        if bytes != sent {
            lost("an echo differs");
        }
    }
    done.hit();
}
