//! What an operator gets from a `Telemetry`, whatever state the system is in.

mod support;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use greenroom::{Metric, StartError, System};
use greenroom_telemetry::{DEFAULT_ADDR, Telemetry};
use support::*;

const SOON: Duration = Duration::from_secs(10);

// ===== /metrics =====

#[test]
fn every_metric_that_has_samples_is_exposed_with_help_and_type_once() -> Outcome {
    greenroom::block_on(async {
        let system = System::start(app().child(Worker::spec("worker", ()))).await?;
        system.publish(Rang("front".into()));
        let worker = system.find::<Worker>("app/worker")?;
        worker.tell(Work).await?;
        let answer = get(address(&system).await?, "/metrics")?;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        for metric in Metric::ALL {
            let name = metric.name();
            for comment in [
                format!("# HELP {name} {}", metric.help()),
                format!("# TYPE {name} "),
            ] {
                let lines = answer
                    .body
                    .lines()
                    .filter(|line| line.starts_with(&comment));
                assert_eq!(lines.count(), 1, "{comment}");
            }
            let sample = |line: &&str| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ', '_']))
            };
            assert!(
                answer.body.lines().any(|line| sample(&line)),
                "{name} has samples"
            );
        }
        let all: Vec<&str> = answer
            .body
            .lines()
            .filter_map(|line| Some(line.rsplit_once(' ')?.0))
            .collect();
        let different: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(all.len(), different.len(), "no series is there twice");
        system.stop().await;
        Ok(())
    })
}

#[test]
fn a_histogram_ends_with_an_infinite_bucket_that_equals_its_count() -> Outcome {
    greenroom::block_on(async {
        let system = System::builder()
            .measure_every(1)
            .start(app().child(Worker::spec("worker", ())))
            .await?;
        let worker = system.find::<Worker>("app/worker")?;
        for _ in 0..100 {
            worker.ask(Work).await?;
        }
        let address = address(&system).await?;
        // A reply may be here before the time of its handler is in the books.
        let body = eventually(SOON, || {
            let body = get(address, "/metrics")?.body;
            match value(
                &body,
                "greenroom_message_handle_seconds_count{group=\"Worker\"}",
            )? {
                100.0 => Ok(body),
                n => Err(format!("{n} handled").into()),
            }
        })?;
        for name in [
            "greenroom_mailbox_wait_seconds",
            "greenroom_message_handle_seconds",
        ] {
            let bounds: Vec<f64> = body
                .lines()
                .filter_map(|line| {
                    line.strip_prefix(name)?
                        .strip_prefix("_bucket{group=\"Worker\",le=\"")
                })
                .filter_map(|rest| rest.rsplit_once(' ')?.1.parse().ok())
                .collect();
            assert_eq!(bounds.len(), 15, "1 us to 67 s and beyond");
            assert!(bounds.is_sorted(), "the counts are cumulative: {bounds:?}");
            assert_eq!(
                value(
                    &body,
                    &format!("{name}_bucket{{group=\"Worker\",le=\"+Inf\"}}")
                )?,
                100.0
            );
            assert_eq!(
                value(&body, &format!("{name}_count{{group=\"Worker\"}}"))?,
                100.0
            );
            assert!(value(&body, &format!("{name}_sum{{group=\"Worker\"}}"))? > 0.0);
        }
        system.stop().await;
        Ok(())
    })
}

#[test]
fn label_values_are_escaped() -> Outcome {
    greenroom::block_on(async {
        let tree = app().child(Worker::spec("worker", ()).group("a\"b\\c\nd"));
        let system = System::start(tree).await?;
        let body = get(address(&system).await?, "/metrics")?.body;
        assert_eq!(
            value(&body, r#"greenroom_mailbox_depth{group="a\"b\\c\nd"}"#)?,
            0.0
        );
        system.stop().await;
        Ok(())
    })
}

#[test]
fn counters_are_whole_numbers() -> Outcome {
    greenroom::block_on(async {
        let system = System::start(app().child(Worker::spec("worker", ()))).await?;
        let worker = system.find::<Worker>("app/worker")?;
        for _ in 0..3 {
            worker.tell(Work).await?;
        }
        let body = get(address(&system).await?, "/metrics")?.body;
        assert!(body.contains("\ngreenroom_mailbox_enqueued_total{group=\"Worker\"} 3\n"));
        let counters = body.lines().filter(|line| {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let counts = name.ends_with("_total") && !name.ends_with("_seconds_total");
            line.starts_with("greenroom_") && (counts || name.ends_with("_count"))
        });
        for line in counters {
            let number = line.rsplit(' ').next().unwrap_or_default();
            assert!(number.parse::<u64>().is_ok(), "{line}");
        }
        system.stop().await;
        Ok(())
    })
}

#[test]
fn ten_thousand_actors_of_one_kind_make_one_set_of_series() -> Outcome {
    greenroom::block_on(async {
        let system = System::start(app().child(Supervisor::dynamic("pool"))).await?;
        let pool = system.supervisor("app/pool")?;
        pool.start_child(Worker::spec("first", ())).await?;
        let address = address(&system).await?;
        let one = series(&get(address, "/metrics")?.body);
        for n in 0..10_000 {
            pool.start_child(Worker::spec(format!("w{n}"), ())).await?;
        }
        let begun = Instant::now();
        let many = get(address, "/metrics")?;
        println!(
            "a scrape of 10,001 actors took {:?}, {} bytes",
            begun.elapsed(),
            many.body.len()
        );
        assert_eq!(series(&many.body), one);
        assert_eq!(
            value(
                &many.body,
                r#"greenroom_actors{group="Worker",state="running"}"#
            )?,
            10_001.0
        );
        system.stop().await;
        Ok(())
    })
}

// ===== the metrics of the application =====

#[test]
#[allow(
    clippy::disallowed_macros,
    reason = "it stands for an application that uses the facade"
)]
fn metrics_of_the_application_appear_and_are_no_summaries() -> Outcome {
    greenroom::block_on(async {
        let system = System::start(app()).await?;
        metrics::counter!("kettle_boils").increment(2);
        metrics::gauge!("kettle_water_ratio", "room" => "kitchen").set(0.75);
        metrics::histogram!("kettle_boil_seconds").record(0.3);
        metrics::histogram!("kettle_cups").record(3.0);
        // These names are the runtime's; a second family of that name would spoil the scrape.
        metrics::gauge!("greenroom_mailbox_depth", "group" => "fake").set(7.0);
        metrics::describe_gauge!("greenroom_mailbox_depth", "Not the depth.");
        metrics::counter!("greenroom_fake").increment(1);
        let body = get(address(&system).await?, "/metrics")?.body;
        assert_eq!(value(&body, "kettle_boils_total")?, 2.0);
        assert_eq!(value(&body, r#"kettle_water_ratio{room="kitchen"}"#)?, 0.75);
        assert_eq!(
            value(&body, r#"kettle_boil_seconds_bucket{le="0.25"}"#)?,
            0.0
        );
        assert_eq!(
            value(&body, r#"kettle_boil_seconds_bucket{le="0.5"}"#)?,
            1.0
        );
        assert_eq!(value(&body, r#"kettle_cups_bucket{le="4"}"#)?, 1.0);
        assert!(
            !body.contains("summary") && !body.contains("quantile="),
            "{body}"
        );
        assert!(!body.contains("fake"), "{body}");
        assert_eq!(body.matches("# TYPE greenroom_mailbox_depth ").count(), 1);
        assert_eq!(body.matches("# HELP greenroom_mailbox_depth ").count(), 1);
        system.stop().await;
        Ok(())
    })
}

// ===== health =====

#[test]
fn readyz_turns_503_while_an_actor_waits_for_its_restart_and_says_which() -> Outcome {
    greenroom::block_on(async {
        let shaky = Supervisor::one_for_one("shaky")
            .backoff(Backoff::exponential(SOON * 60, SOON * 60))
            .child(Worker::spec("worker", ()));
        let system = System::start(app().child(shaky)).await?;
        let address = address(&system).await?;
        let ready = get(address, "/readyz")?;
        assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
        system
            .find::<Worker>("app/shaky/worker")?
            .tell(Fail)
            .await?;
        let body = eventually(SOON, || match get(address, "/readyz")? {
            answer if answer.status == 503 => Ok(answer.body),
            answer => Err(format!("{answer:?}").into()),
        })?;
        assert_eq!(body, "app/shaky/worker is restarting\n");
        assert_eq!(get(address, "/livez")?.status, 200, "not ready is not dead");
        system.stop().await;
        Ok(())
    })
}

#[test]
fn while_every_worker_is_blocked_it_answers_and_depth_and_age_are_right() -> Outcome {
    greenroom::block_on(async {
        let tree = app().child(Worker::spec("worker", ()));
        let system = System::builder().workers(1).start(tree).await?;
        let address = address(&system).await?;
        let worker = system.find::<Worker>("app/worker")?;
        let (release, blocked) = mpsc::channel();
        let since = Instant::now();
        worker.tell(Block(blocked)).await?;
        eventually(SOON, || {
            match system.snapshot().iter().any(|info| {
                info.mailbox
                    .as_ref()
                    .is_some_and(|mailbox| mailbox.handling.is_some())
            }) {
                true => Ok(()),
                false => Err("the handler has not begun".into()),
            }
        })?;
        for _ in 0..5 {
            worker.tell(Work).await?;
        }
        assert_eq!(get(address, "/livez")?.body, "ok\n");
        let age_of = |body: &str| {
            value(
                body,
                r#"greenroom_mailbox_oldest_age_seconds{group="Worker"}"#,
            )
        };
        // It grows although nothing in the system runs.
        let body = eventually(SOON, || {
            let body = get(address, "/metrics")?.body;
            if age_of(&body)? < 0.3 {
                Err("young".into())
            } else {
                Ok(body)
            }
        })?;
        assert!(age_of(&body)? <= since.elapsed().as_secs_f64());
        assert_eq!(
            value(&body, r#"greenroom_mailbox_depth{group="Worker"}"#)?,
            5.0
        );
        assert_eq!(
            value(&body, r#"greenroom_mailbox_enqueued_total{group="Worker"}"#)?,
            6.0
        );
        assert_eq!(
            value(&body, r#"greenroom_mailbox_dequeued_total{group="Worker"}"#)?,
            1.0
        );
        drop(release);
        worker.ask(Work).await?;
        let body = get(address, "/metrics")?.body;
        assert_eq!(
            value(&body, r#"greenroom_mailbox_depth{group="Worker"}"#)?,
            0.0
        );
        system.stop().await;
        Ok(())
    })
}

#[test]
fn with_all_workers_blocked_it_is_alive_and_shows_who_is_stuck() -> Outcome {
    greenroom::block_on(async {
        let tree = app()
            .child(Worker::spec("one", ()))
            .child(Worker::spec("other", ()));
        let builder = System::builder().workers(2);
        let builder = builder.stuck_after(Duration::from_millis(600));
        let system = builder.start(tree).await?;
        let address = address(&system).await?;
        let mut ends = Vec::new();
        for name in ["one", "other"] {
            let (release, blocked) = mpsc::channel();
            let worker = system.find::<Worker>(&format!("app/{name}"))?;
            worker.tell(Block(blocked)).await?;
            ends.push(release);
        }
        let stuck = |n: f64| {
            eventually(SOON, || {
                assert_eq!(get(address, "/livez")?.status, 200, "it is alive");
                assert_eq!(get(address, "/readyz")?.status, 200, "all have started");
                let body = get(address, "/metrics")?.body;
                match value(&body, r#"greenroom_actors_stuck{group="Worker"}"#)? {
                    found if found == n => Ok(body),
                    found => Err(format!("{found} are stuck").into()),
                }
            })
        };
        system.find::<Worker>("app/one")?.tell(Work).await?;
        let body = stuck(2.0)?;
        assert_eq!(
            value(&body, r#"greenroom_mailbox_depth{group="Worker"}"#)?,
            1.0
        );
        let age = r#"greenroom_mailbox_oldest_age_seconds{group="Worker"}"#;
        assert!(value(&body, age)? >= 0.6);
        drop(ends);
        stuck(0.0)?;
        system.stop().await;
        Ok(())
    })
}

// ===== HTTP =====

#[test]
fn head_is_answered_without_a_body_and_is_no_scrape() -> Outcome {
    greenroom::block_on(async {
        let system = System::start(app().child(Worker::spec("worker", ()))).await?;
        let address = address(&system).await?;
        system.find::<Worker>("app/worker")?.ask(Work).await?;
        for path in ["/metrics", "/livez", "/readyz"] {
            let answer = request(address, "HEAD", path)?;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        let deepest = r#"greenroom_mailbox_depth_max{group="Worker"}"#;
        assert_eq!(value(&get(address, "/metrics")?.body, deepest)?, 1.0);
        assert_eq!(value(&get(address, "/metrics")?.body, deepest)?, 0.0);
        system.stop().await;
        Ok(())
    })
}

#[test]
fn anything_else_is_404_and_says_what_there_is() -> Outcome {
    greenroom::block_on(async {
        let system = System::start(app()).await?;
        let address = address(&system).await?;
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/metrics/"),
            ("POST", "/metrics"),
            ("DELETE", "/livez"),
        ] {
            let answer = request(address, method, path)?;
            assert_eq!(answer.status, 404, "{method} {path}");
            assert_eq!(
                answer.body,
                "there is only GET or HEAD of /metrics, /livez and /readyz\n"
            );
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
        system.stop().await;
        Ok(())
    })
}

// ===== the port =====

#[test]
fn an_address_in_use_fails_the_start_with_one_clear_sentence() -> Outcome {
    greenroom::block_on(async {
        let taken = TcpListener::bind(ANY_PORT)?;
        let address = taken.local_addr()?;
        let failure = failure_to_start(address).await?;
        assert_eq!(
            failure,
            format!(
                "cannot serve metrics on {address}: address in use; choose another address or stop what listens there"
            )
        );
        Ok(())
    })
}

#[test]
fn an_address_of_another_machine_fails_the_start_with_one_clear_sentence() -> Outcome {
    greenroom::block_on(async {
        // TEST-NET-1: it is nobody's.
        let failure = failure_to_start(([192, 0, 2, 1], 9464).into()).await?;
        assert_eq!(
            failure,
            "cannot serve metrics on 192.0.2.1:9464: this machine has no such address; choose one of its own, or 127.0.0.1"
        );
        Ok(())
    })
}

async fn failure_to_start(address: SocketAddr) -> Outcome<String> {
    let tree = Supervisor::one_for_one("app").child(Telemetry::spec("telemetry", address));
    match System::start(tree).await {
        Err(StartError::ChildFailed(failure)) => Ok(failure.text().to_owned()),
        other => Err(format!("expected a child that fails: {other:?}").into()),
    }
}

#[test]
fn after_a_restart_it_serves_on_the_same_port() -> Outcome {
    greenroom::block_on(async {
        let here = free_port()?;
        let tree = Supervisor::one_for_all("app")
            .restart_limit(10, Duration::from_secs(60))
            .backoff(Backoff::none())
            .child(Telemetry::spec("telemetry", here))
            .child(Worker::spec("worker", ()));
        let system = System::start(tree).await?;
        let worker = system.find::<Worker>("app/worker")?;
        for life in 2..=4 {
            worker.tell(Fail).await?;
            eventually(SOON, || {
                match system
                    .snapshot()
                    .into_iter()
                    .find(|info| info.path.as_str() == "app/telemetry")
                {
                    Some(info) if info.incarnation == life && system.ready().is_ok() => Ok(()),
                    info => Err(format!("{info:?}, {:?}", system.ready()).into()),
                }
            })?;
            assert_eq!(address(&system).await?, here);
            let body = get(here, "/metrics")?.body;
            let restarts = r#"greenroom_actor_restarts_total{group="Telemetry",reason="sibling"}"#;
            assert_eq!(value(&body, restarts)?, life as f64 - 1.0);
        }
        assert_eq!(
            value(
                &get(here, "/metrics")?.body,
                r#"greenroom_actor_restarts_total{group="Telemetry",reason="error"}"#
            )?,
            0.0
        );
        system.stop().await;
        Ok(())
    })
}

#[test]
fn a_stop_closes_open_connections_and_frees_the_port() -> Outcome {
    greenroom::block_on(async {
        let system = System::start(app()).await?;
        let address = address(&system).await?;
        let mut idle = TcpStream::connect(address)?;
        assert_eq!(get(address, "/livez")?.status, 200);
        system.stop().await;
        drop(TcpListener::bind(address)?);
        idle.set_read_timeout(Some(Duration::from_secs(2)))?;
        match idle.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => return Err(format!("the connection is still open: {other:?}").into()),
        }
        Ok(())
    })
}

#[test]
fn clients_that_say_nothing_do_not_shut_out_a_scraper() -> Outcome {
    greenroom::block_on(async {
        let system = System::start(app()).await?;
        let address = address(&system).await?;
        let silent: Result<Vec<TcpStream>, _> =
            (0..100).map(|_| TcpStream::connect(address)).collect();
        let _silent = silent?;
        eventually(SOON * 2, || Ok(get(address, "/metrics")?.status))?;
        system.stop().await;
        Ok(())
    })
}

#[test]
fn two_systems_of_one_process_each_show_their_own() -> Outcome {
    greenroom::block_on(async {
        let (one, two) = (
            System::start(app()).await?,
            System::start(app().child(Worker::spec("worker", ()))).await?,
        );
        let depth = r#"greenroom_mailbox_depth{group="Worker"}"#;
        assert!(value(&get(address(&one).await?, "/metrics")?.body, depth).is_err());
        assert!(value(&get(address(&two).await?, "/metrics")?.body, depth).is_ok());
        one.stop().await;
        assert_eq!(get(address(&two).await?, "/livez")?.status, 200);
        two.stop().await;
        Ok(())
    })
}

#[test]
fn the_default_address_is_this_machine_only() {
    assert_eq!(DEFAULT_ADDR.to_string(), "127.0.0.1:9464");
    assert!(DEFAULT_ADDR.ip().is_loopback());
}
