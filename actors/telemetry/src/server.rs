//! The HTTP server: threads of its own, so that no actor can hold it up and it holds up none.
//!
//! ```text
//! start ──> thread "telemetry": actix system ──> accept thread ──> one worker thread
//!  stop ──>        │ ends when told to, or when it fails
//!  drop <──────────┘ its end of the channel goes: the port is free
//! ```

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::body::None as NoBody;
use actix_web::dev::ServerHandle;
use actix_web::http::{Method, StatusCode};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use greenroom::System;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::text;

/// How many connections are open at most; the next one waits to be accepted.
///
/// A scraper or two, a probe and a person at a browser are ten.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send a request, and how long an idle connection is kept.
///
/// Short, so that clients which say nothing do not use up [`CONNECTIONS_MAX`].
/// A scraper that comes less often connects anew, which costs it a millisecond.
const CLIENT_WITHIN: Duration = Duration::from_secs(5);

/// How long a client may take to close its side after an answer.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long the server may take to begin or to end; both take milliseconds.
///
/// Less than the five seconds that an actor may take to stop, so that what goes
/// wrong here is reported here.
const THREAD_WITHIN: Duration = Duration::from_secs(4);

const PLAIN: &str = "text/plain; charset=utf-8";

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) system: System,
    /// The application's own metrics.
    pub(crate) app: Option<PrometheusHandle>,
}

/// A running server; dropping it stops it and waits until the port is free.
pub(crate) struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    /// Disconnected when the server has ended.
    ended: Receiver<io::Result<ServerHandle>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` and serves; it blocks the thread until the server is up.
    pub(crate) fn open(address: SocketAddr, sources: Sources) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (news, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(move || {
                // Kept by this frame, so that it goes after everything else of the server has gone.
                let news = news;
                let served = actix_web::rt::System::new().block_on(serve(listener, sources, &news));
                if let Err(error) = served {
                    tracing::error!(%error, "The metrics server ended.");
                }
            })?;
        let handle = match ended.recv_timeout(THREAD_WITHIN) {
            Ok(handle) => handle?,
            Err(_) => return Err(io::Error::other("the server did not come up")),
        };
        Ok(Server {
            address,
            handle,
            ended,
            thread: Some(thread),
        })
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The order is given by the call; the future only waits for it to be carried out.
        drop(self.handle.stop(false));
        match self.ended.recv_timeout(THREAD_WITHIN) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!(address = %self.address, "The metrics server does not stop and is left behind.");
            }
            Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                if let Some(thread) = self.thread.take() {
                    // It has said why in the log.
                    let _ = thread.join();
                }
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.address)
    }
}

async fn serve(
    listener: TcpListener,
    sources: Sources,
    news: &Sender<io::Result<ServerHandle>>,
) -> io::Result<()> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(sources.clone()))
            .default_service(web::to(answer))
    })
    .workers(1)
    .disable_signals()
    .max_connections(CONNECTIONS_MAX)
    .client_request_timeout(CLIENT_WITHIN)
    .client_disconnect_timeout(DISCONNECT_WITHIN)
    .keep_alive(CLIENT_WITHIN)
    .listen(listener);
    let server = match server {
        Ok(server) => server.run(),
        Err(error) => {
            // Reported by whoever waits for the server; nobody else wants it.
            let _ = news.send(Err(error));
            return Ok(());
        }
    };
    match news.send(Ok(server.handle())) {
        Ok(()) => server.await,
        // Whoever was to stop it does not wait for it any more.
        Err(_) => Ok(()),
    }
}

/// Answers every request. Reading the metrics takes this thread's time and no actor's.
async fn answer(request: HttpRequest, sources: web::Data<Sources>) -> HttpResponse {
    let head = *request.method() == Method::HEAD;
    let (status, content_type, body) = match request.path() {
        _ if !head && *request.method() != Method::GET => nothing_here(),
        // A look at the headers is no scrape: it would use up the deepest levels since the last one.
        "/metrics" if head => (StatusCode::OK, text::CONTENT_TYPE, String::new()),
        "/metrics" => (StatusCode::OK, text::CONTENT_TYPE, sources.metrics()),
        "/livez" => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/readyz" => match sources.system.ready() {
            Ok(()) => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
        },
        _ => nothing_here(),
    };
    let mut response = HttpResponse::build(status);
    response
        .content_type(content_type)
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header(("Cache-Control", "no-store"));
    if head {
        response
            .finish()
            .set_body(NoBody::new())
            .map_into_boxed_body()
    } else {
        response.body(body)
    }
}

fn nothing_here() -> (StatusCode, &'static str, String) {
    let list = "there is only GET or HEAD of /metrics, /livez and /readyz\n";
    (StatusCode::NOT_FOUND, PLAIN, list.to_owned())
}

impl Sources {
    fn metrics(&self) -> String {
        let mut text = text::render(&self.system.scrape());
        if let Some(app) = &self.app {
            for line in text::without_ours(&app.render()) {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use greenroom::prelude::*;

    use super::*;

    #[test]
    fn a_server_that_ends_by_itself_is_noticed() -> Result<(), Box<dyn std::error::Error>> {
        greenroom::block_on(async {
            let system = greenroom::System::start(Supervisor::one_for_one("app")).await?;
            let sources = Sources {
                system: system.clone(),
                app: None,
            };
            let server = Server::open(([127, 0, 0, 1], 0).into(), sources)?;
            assert!(!server.has_ended());
            server.handle.stop(false).await;
            let deadline = std::time::Instant::now() + THREAD_WITHIN;
            while !server.has_ended() {
                assert!(std::time::Instant::now() < deadline, "it still runs");
                thread::yield_now();
            }
            system.stop().await;
            Ok(())
        })
    }
}
