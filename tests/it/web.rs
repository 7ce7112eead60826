//! A plain HTTP client and a way to wait, for tests of what listens.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// What a test of real sockets and processes ends with.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Any free port of this machine.
pub const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// As in `200`.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// What follows them.
    pub body: String,
}

impl Answer {
    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Gets a path.
///
/// # Errors
///
/// As [`request`].
pub fn get(address: SocketAddr, path: &str) -> Outcome<Answer> {
    request(address, "GET", path)
}

/// Sends a request without a body.
///
/// # Errors
///
/// When there is no connection, or no answer within ten seconds.
pub fn request(address: SocketAddr, method: &str, path: &str) -> Outcome<Answer> {
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
///
/// # Errors
///
/// When this machine has none.
pub fn free_port() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind(ANY_PORT)?.local_addr()?)
}

/// Tries again until `probe` succeeds; after `limit` its last error is the verdict.
///
/// For what another process does, which no virtual clock reaches.
///
/// # Errors
///
/// The last one of `probe`.
pub fn eventually<T>(limit: Duration, mut probe: impl FnMut() -> Outcome<T>) -> Outcome<T> {
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
