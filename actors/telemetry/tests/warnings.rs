//! What is allowed, but deserves a word in the log.
//!
//! A process has one log and one recorder of metrics at most, so these tests are
//! alone in theirs.

mod support;

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{LazyLock, Mutex, PoisonError};

use greenroom::System;
use greenroom::prelude::*;
use greenroom_telemetry::Telemetry;
use support::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Sets up the process: a log that can be read, and a recorder that was there first.
static PROCESS: LazyLock<()> = LazyLock::new(|| {
    let log = tracing::subscriber::set_global_default(Log);
    let recorder = metrics::set_global_recorder(metrics::NoopRecorder);
    assert!(log.is_ok() && recorder.is_ok(), "somebody was faster");
});

#[test]
fn where_another_recorder_is_installed_the_runtime_is_served_without_it() -> Outcome {
    LazyLock::force(&PROCESS);
    greenroom::block_on(async {
        let system = System::start(app()).await?;
        let answer = get(address(&system).await?, "/metrics")?;
        assert_eq!(answer.status, 200);
        let running = r#"greenroom_actors{group="Telemetry",state="running"}"#;
        assert_eq!(value(&answer.body, running)?, 1.0);
        assert!(warned("the process has another recorder"));
        system.stop().await;
        Ok(())
    })
}

#[test]
fn an_address_that_others_can_reach_is_served_with_a_warning() -> Outcome {
    LazyLock::force(&PROCESS);
    greenroom::block_on(async {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let tree = Supervisor::one_for_one("app").child(Telemetry::spec("telemetry", everywhere));
        let system = System::start(tree).await?;
        let port = address(&system).await?.port();
        let answer = get((Ipv4Addr::LOCALHOST, port).into(), "/livez")?;
        assert_eq!(answer.status, 200);
        assert!(warned("Serving metrics without authentication"));
        system.stop().await;
        Ok(())
    })
}

// ===== a log that can be read =====

static WARNINGS: Mutex<String> = Mutex::new(String::new());

fn warned(text: &str) -> bool {
    let warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.contains(text)
}

struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
        event.record(&mut Line(&mut warnings));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{field}={value:?}");
    }
}
