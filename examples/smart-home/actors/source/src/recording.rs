//! A recording: MQTT traffic from a file or standard input, one JSON object a line.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context as Poller, Poll};

use futures_core::Stream;
use greenroom::prelude::*;
use home_protocol::LINE_MAX;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{FindSink, Sink, SourceError, pace};

/// How many lines may be on their way before the home comes to rest.
///
/// It bounds what piles up in the gateway's mailbox, so that commands to
/// devices always find room there beside the lines.
const BETWEEN_RESTS: u64 = 128;

/// The actor that reads a recording, and tells the gateway its lines at their pace.
#[derive(Debug)]
pub struct Recording {
    args: RecordingArgs,
    sink: Sink,
    first: Option<(Instant, i64)>,
    lines: u64,
}

/// What a recording is read from, and how fast.
#[derive(Clone, Debug)]
pub struct RecordingArgs {
    /// Finds the gateway.
    pub gateway: FindSink,
    /// Where the lines are.
    pub origin: Origin,
    /// How much event time passes in a second, above 0; infinite for as fast as possible.
    pub speed: f64,
}

/// Where a recording is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Stdin => f.write_str("standard input"),
        }
    }
}

/// What comes out of a recording.
#[derive(Debug)]
enum Read {
    Line(Vec<u8>),
    End,
    Failed(String),
}

impl Message for Read {
    type Reply = ();
}

impl Actor for Recording {
    type Args = RecordingArgs;
    type Error = SourceError;

    async fn start(args: RecordingArgs, cx: &mut Context<Self>) -> Result<Self, SourceError> {
        let sink = Sink::find(args.gateway, cx)?;
        let reader: Box<dyn BufRead + Send> = match &args.origin {
            Origin::File(path) => Box::new(BufReader::new(File::open(path).map_err(|error| {
                SourceError::Unreadable(format!(
                    "cannot read devices from {}: {error}",
                    path.display()
                ))
            })?)),
            Origin::Stdin => Box::new(BufReader::new(io::stdin())),
        };
        cx.attach(Lines(read_in_background(reader)));
        Ok(Recording {
            args,
            sink,
            first: None,
            lines: 0,
        })
    }

    fn flow(flow: &mut Flow<Self>) {
        Sink::declare(flow);
    }
}

/// The lines that another thread reads.
struct Lines(mpsc::Receiver<Read>);

impl Stream for Lines {
    type Item = Read;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<Option<Read>> {
        self.0.poll_recv(cx)
    }
}

/// Reads on a thread of its own: a read of standard input cannot be given up.
///
/// The thread ends with the recording, or when nobody listens any more.
fn read_in_background(mut reader: Box<dyn BufRead + Send>) -> mpsc::Receiver<Read> {
    let (sender, lines) = mpsc::channel(64);
    let reading = std::thread::Builder::new().name("recording".to_owned());
    let failed = sender.clone();
    let spawned = reading.spawn(move || {
        loop {
            let read = match read_line(&mut *reader) {
                Ok(Some(line)) => Read::Line(line),
                Ok(None) => Read::End,
                Err(error) => Read::Failed(error.to_string()),
            };
            let is_last = !matches!(read, Read::Line(_));
            if sender.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    });
    if let Err(error) = spawned {
        // The channel is empty, so there is room.
        let _ = failed.try_send(Read::Failed(error.to_string()));
    }
    lines
}

/// Reads up to the next line end; of a line that is too long it keeps just enough to show that.
fn read_line(reader: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let chunk = match reader.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            return Ok(any.then_some(line));
        }
        any = true;
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        let room = (LINE_MAX + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Some(line));
        }
    }
}

/// The time of a line, if it has one that a pace can be kept by.
fn time_of(line: &[u8]) -> Option<i64> {
    // The gateway reads lines in earnest; here a look at the number behind "ts" will do.
    let text = std::str::from_utf8(line).ok()?;
    let rest = text[text.find("\"ts\"")? + 4..]
        .trim_start()
        .strip_prefix(':')?
        .trim_start();
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

impl Handler<Read> for Recording {
    async fn handle(&mut self, read: Read, cx: &mut Context<Self>) -> Result<(), SourceError> {
        match read {
            Read::Line(line) => {
                if self.lines == 0 {
                    // Nobody shall miss the first report.
                    self.sink.settle().await?;
                }
                if let Some(at) = time_of(&line).filter(|_| self.args.speed.is_finite()) {
                    let (begun, first) = *self.first.get_or_insert((Instant::now(), at));
                    pace(begun, at.saturating_sub(first), self.args.speed).await;
                }
                self.lines += 1;
                self.sink.tell(self.lines, line).await?;
                if self.lines.is_multiple_of(BETWEEN_RESTS) {
                    self.sink.settle().await?;
                }
            }
            Read::End => {
                self.sink.settle().await?;
                cx.stop();
            }
            Read::Failed(why) => {
                let line = self.lines + 1;
                return Err(SourceError::Unreadable(format!(
                    "cannot read line {line} of {}: {why}",
                    self.args.origin
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<usize> {
        let mut reader = BufReader::with_capacity(7, bytes);
        std::iter::from_fn(|| read_line(&mut reader).unwrap())
            .map(|line| line.len())
            .collect()
    }

    #[test]
    fn lines_end_with_a_newline_or_the_file() {
        assert_eq!(lines(b"a\r\nbb\n\nccc"), [1, 2, 0, 3]);
        assert_eq!(lines(b""), [0; 0]);
        assert_eq!(lines(b"\n"), [0]);
    }

    #[test]
    fn a_line_that_is_too_long_costs_no_more_than_the_limit_and_the_next_is_whole() {
        let mut bytes = vec![b'x'; 10_000_000];
        bytes.extend_from_slice(b"\nabc\n");
        assert_eq!(lines(&bytes), [LINE_MAX + 1, 3]);
    }

    #[test]
    fn the_time_of_a_line_is_found_without_reading_it_whole() {
        assert_eq!(
            time_of(br#"{"ts": 1768435200000, "topic":"#),
            Some(1_768_435_200_000)
        );
        assert_eq!(time_of(br#"{"ts":"2026-01-15T00:00:00Z"}"#), None);
        assert_eq!(time_of(b"\xff"), None);
        assert_eq!(time_of(br#"{"ts"#), None);
    }
}
