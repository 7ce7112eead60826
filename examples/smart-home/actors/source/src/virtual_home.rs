//! The virtual home: devices that publish as real ones do, and obey.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use greenroom::prelude::*;
use home_devices::World;
use home_protocol::DeviceCommand;
use tokio::time::Instant;

use crate::{FindSink, Sink, SourceError, pace};

/// How much event time passes between two rests of the home: 10 s, the grid of the simulation.
const STEP_MS: i64 = 10_000;

/// The actor that lives a seeded home, and tells the gateway what its devices publish.
#[derive(Debug)]
pub struct VirtualHome {
    args: VirtualHomeArgs,
    world: World,
    sink: Sink,
    record: Option<BufWriter<File>>,
    begun: Instant,
    lines: u64,
}

/// What a virtual home is made from.
#[derive(Clone, Debug)]
pub struct VirtualHomeArgs {
    /// Finds the gateway.
    pub gateway: FindSink,
    /// The seed of everything that happens.
    pub seed: u64,
    /// When it begins: event time in Unix milliseconds.
    pub start_ms: i64,
    /// How much event time passes in a second, above 0; infinite for as fast as possible.
    pub speed: f64,
    /// When it ends: event time in Unix milliseconds; `None` for never.
    pub end_ms: Option<i64>,
    /// Where the traffic is recorded, to be replayed by a [`Recording`](crate::Recording).
    pub record: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
struct Step;

impl Message for Step {
    type Reply = ();
}

impl Actor for VirtualHome {
    type Args = VirtualHomeArgs;
    type Error = SourceError;

    async fn start(args: VirtualHomeArgs, cx: &mut Context<Self>) -> Result<Self, SourceError> {
        cx.subscribe::<DeviceCommand>();
        cx.background(async { Step });
        let sink = Sink::find(args.gateway, cx)?;
        let world = World::new(args.seed, args.start_ms);
        let record = match &args.record {
            Some(path) => Some(BufWriter::new(
                record_to(path, cx.incarnation() == 1).map_err(|error| {
                    SourceError::Record(format!("cannot record to {}: {error}", path.display()))
                })?,
            )),
            None => None,
        };
        Ok(VirtualHome {
            args,
            world,
            sink,
            record,
            begun: Instant::now(),
            lines: 0,
        })
    }

    fn flow(flow: &mut Flow<Self>) {
        flow.subscribes::<DeviceCommand>();
        Sink::declare(flow);
    }
}

/// Opens the recording: never over what is there, and behind it in a later life.
fn record_to(path: &Path, is_first: bool) -> std::io::Result<File> {
    let mut options = File::options();
    if is_first {
        options.write(true).create_new(true).open(path)
    } else {
        options.append(true).open(path)
    }
}

impl Drop for VirtualHome {
    fn drop(&mut self) {
        if let Some(record) = &mut self.record
            && let Err(error) = record.flush()
        {
            eprintln!("smart-home: the recording is incomplete: {error}");
        }
    }
}

impl Handler<Step> for VirtualHome {
    async fn handle(&mut self, _: Step, cx: &mut Context<Self>) -> Result<(), SourceError> {
        if self.lines == 0 {
            // Nobody shall miss the first report.
            self.sink.settle().await?;
            self.begun = Instant::now();
        }
        let next = self.world.now_ms().saturating_add(STEP_MS);
        for published in self.world.advance(next) {
            let line = published.to_line();
            if let Some(record) = &mut self.record {
                // Buffered: a write blocks for microseconds, now and then.
                writeln!(record, "{line}").map_err(SourceError::record)?;
            }
            self.lines += 1;
            self.sink.tell(self.lines, line.into_bytes()).await?;
        }
        self.sink.settle().await?;
        if self.args.end_ms.is_some_and(|end| next >= end) {
            cx.stop();
            return Ok(());
        }
        // Commands that the home gave are in the mailbox by now, before the next step.
        let (begun, ahead, speed) = (self.begun, next - self.args.start_ms, self.args.speed);
        cx.background(async move {
            pace(begun, ahead, speed).await;
            Step
        });
        Ok(())
    }
}

impl Handler<DeviceCommand> for VirtualHome {
    async fn handle(
        &mut self,
        command: DeviceCommand,
        cx: &mut Context<Self>,
    ) -> Result<(), SourceError> {
        if let Err(error) = self.world.set(&command.topic, command.payload.as_bytes()) {
            cx.dead_letter("DeviceCommand", format_args!("{}: {error}", command.topic));
        }
        Ok(())
    }
}
