//! Shows a Greenroom system to operators: its metrics and its health, over HTTP.
//!
//! - **Is:** one actor, [`Telemetry`], with a small HTTP server on threads of its
//!   own, so that it answers also when every worker of the system is blocked.
//! - **Handles:** [`Address`], answered with where the server really listens.
//! - **Subscribes to:** nothing.
//! - **Publishes:** nothing.
//! - **Crashes when:** the address cannot be listened on, or the server ends by
//!   itself; see [`TelemetryError`].
//!
//! It is not a metrics library: what an actor is measured by is the runtime's
//! affair ([`greenroom::Metric`]), and applications name their own metrics
//! through the `metrics` facade.
//!
//! # What is served
//!
//! | path       | answer                                                                        |
//! |------------|-------------------------------------------------------------------------------|
//! | `/metrics` | Prometheus text 0.0.4: the runtime's metrics, then those of the application    |
//! | `/livez`   | 200 `ok` as long as the process answers at all                                 |
//! | `/readyz`  | 200 `ready`, or 503 and the sentence of [`System::ready`](greenroom::System::ready) |
//!
//! `GET` and `HEAD` are answered, everything else is 404. There is no
//! authentication and no encryption: keep it on a loopback or a private address.
//!
//! # Metrics of the application
//!
//! The first life of a `Telemetry` in a process installs a recorder for the
//! `metrics` facade, so a counter, gauge or histogram made anywhere in the
//! process appears. Histograms have fixed buckets, which can be added up over
//! instances (summaries cannot): 1 ms to 10 s where the name ends with `_seconds`,
//! powers of four from 1 to 16,777,216 elsewhere. Names that begin with
//! `greenroom_` are the runtime's and are left out. Where the process has
//! another recorder already, that one stays and only the runtime's metrics are
//! served.
//!
//! # Examples
//!
//! ```
//! use greenroom::prelude::*;
//! use greenroom_telemetry::{Address, Telemetry};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # greenroom::block_on(async {
//! // Port 0 is any free one; a service takes `DEFAULT_ADDR` or what its operator says.
//! let tree = Supervisor::one_for_one("app")
//!     .child(Telemetry::spec("telemetry", ([127, 0, 0, 1], 0).into()));
//! let system = System::start(tree).await?;
//! let address = system.find::<Telemetry>("app/telemetry")?.ask(Address).await?;
//! println!("curl http://{address}/metrics");
//! # system.stop().await;
//! # Ok(())
//! # })
//! # }
//! ```

#![forbid(unsafe_code)]

mod app;
mod server;
mod text;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{fmt, io};

use greenroom::{Actor, Context, Handler, Message};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::server::{Server, Sources};

/// Where a [`Telemetry`] listens unless the application says otherwise: port 9464 of this machine only.
///
/// Loopback, because there is no authentication; 9464, because it is what
/// OpenTelemetry's exporters for Prometheus use.
pub const DEFAULT_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// How often samples of the application's histograms are moved into their buckets.
///
/// The recorder keeps each sample until then or until a scrape; five seconds is
/// its own default.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// An actor that serves the metrics and the health of its system over HTTP.
///
/// Its argument is the address to listen on; port 0 takes any free port, maybe
/// another one after a restart (ask for the [`Address`]). An address that is
/// not a loopback one is served too, with a warning in the log.
#[derive(Debug)]
pub struct Telemetry {
    server: Option<Server>,
    address: SocketAddr,
    app: Option<PrometheusHandle>,
}

/// Asks where the server listens; with port 0 as argument, that is the port it was given.
#[derive(Clone, Copy, Debug)]
pub struct Address;

impl Message for Address {
    type Reply = SocketAddr;
}

/// Why a [`Telemetry`] crashes.
#[derive(Debug)]
#[non_exhaustive]
pub enum TelemetryError {
    /// Nothing can be served on the address.
    CannotListen {
        /// The address as it was given.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The server stopped although nobody asked it to.
    ServerEnded {
        /// The address on which it listened.
        address: SocketAddr,
    },
}

impl Actor for Telemetry {
    type Args = SocketAddr;
    type Error = TelemetryError;

    async fn start(address: SocketAddr, cx: &mut Context<Self>) -> Result<Self, TelemetryError> {
        let app = app::recorder();
        let sources = Sources {
            system: cx.system(),
            app: app.clone(),
        };
        let server = greenroom::blocking(move || Server::open(address, sources))
            .await
            .map_err(|error| TelemetryError::CannotListen { address, error })?;
        let address = server.address();
        if !address.ip().to_canonical().is_loopback() {
            tracing::warn!(actor = %cx.path(), %address, "Serving metrics without authentication to whoever can reach this address.");
        }
        tracing::info!(actor = %cx.path(), %address, "Serving metrics.");
        cx.every(UPKEEP_EVERY, Upkeep);
        Ok(Telemetry {
            server: Some(server),
            address,
            app,
        })
    }

    async fn stop(&mut self, _: &mut Context<Self>) -> Result<(), TelemetryError> {
        // Dropping waits for the server's threads. After a failure, when this is not called, that
        // holds up a worker for the moment it takes; an orderly stop need not.
        let server = self.server.take();
        greenroom::blocking(move || drop(server)).await;
        Ok(())
    }
}

impl Handler<Address> for Telemetry {
    async fn handle(
        &mut self,
        _: Address,
        _: &mut Context<Self>,
    ) -> Result<SocketAddr, TelemetryError> {
        Ok(self.address)
    }
}

/// Time to look after the recorder and the server.
#[derive(Clone, Copy)]
struct Upkeep;

impl Message for Upkeep {
    type Reply = ();
}

impl Handler<Upkeep> for Telemetry {
    async fn handle(&mut self, _: Upkeep, _: &mut Context<Self>) -> Result<(), TelemetryError> {
        if let Some(app) = &self.app {
            app.run_upkeep();
        }
        match &self.server {
            Some(server) if server.has_ended() => Err(TelemetryError::ServerEnded {
                address: self.address,
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TelemetryError::CannotListen { address, error } => {
                write!(f, "cannot serve metrics on {address}: ")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => f.write_str(
                        "address in use; choose another address or stop what listens there",
                    ),
                    io::ErrorKind::AddrNotAvailable => f.write_str(
                        "this machine has no such address; choose one of its own, or 127.0.0.1",
                    ),
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("permission denied; choose a port above 1023")
                    }
                    _ => write!(f, "{error}; choose another address or free what is missing"),
                }
            }
            TelemetryError::ServerEnded { address } => write!(
                f,
                "the metrics server on {address} ended by itself; the log says why"
            ),
        }
    }
}

impl Error for TelemetryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TelemetryError::CannotListen { error, .. } => Some(error),
            TelemetryError::ServerEnded { .. } => None,
        }
    }
}
