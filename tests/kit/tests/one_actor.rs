//! The kit for one actor, and virtual time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use greenroom::AskError;
use greenroom::prelude::*;
use greenroom_testkit::{Kit, in_virtual_time, pass, settle};

use crate::lamp::{Burn, Fade, Lamp, Switch, Switched};

#[test]
fn an_actor_is_started_spoken_to_and_looked_at_in_three_lines() {
    in_virtual_time(async {
        let lamp = Kit::<Lamp>::start(40).await.unwrap();
        lamp.tell(Switch(true)).await.unwrap();
        assert_eq!(lamp.ask(Switched).await.unwrap(), 41);
        assert_eq!(lamp.publish(Switch(false)).delivered, 1);
        assert_eq!(lamp.ask(Switched).await.unwrap(), 42);
        assert_eq!((lamp.mailbox().handled, lamp.restarts()), (4, 0));
        lamp.stop().await;
    });
}

#[test]
fn crashes_are_awaited_in_order_and_restarts_counted() {
    in_virtual_time(async {
        let lamp = Kit::<Lamp>::start(0).await.unwrap();
        for text in ["hot", "hotter"] {
            lamp.tell(Burn(text)).await.unwrap();
        }
        let crash = lamp.crash("hot").await;
        assert_eq!((crash.incarnation, crash.text.as_str()), (1, "hot"));
        assert_eq!(lamp.crash("hotter").await.incarnation, 2);
        assert_eq!((lamp.restarts(), lamp.mailbox().failed), (2, 2));
        assert_eq!(lamp.crashes().len(), 2);
    });
}

#[test]
fn a_crash_that_was_waited_for_no_longer_is_returned_by_the_next_call() {
    in_virtual_time(async {
        let lamp = Kit::<Lamp>::start(0).await.unwrap();
        lamp.tell(Burn("hot")).await.unwrap();
        settle().await;
        let waited = tokio::time::timeout(Duration::ZERO, lamp.crash("hot")).await;
        assert!(waited.is_err(), "{waited:?}");
        assert_eq!(lamp.crash("hot").await.incarnation, 1);
    });
}

#[test]
fn a_crash_of_another_kind_or_none_is_told_with_the_line_that_waited() {
    let none = catch_unwind(|| {
        in_virtual_time(async {
            let lamp = Kit::<Lamp>::start(0).await.unwrap();
            lamp.crash("hot").await;
        });
    });
    let other = catch_unwind(AssertUnwindSafe(|| {
        in_virtual_time(async {
            let lamp = Kit::<Lamp>::start(0).await.unwrap();
            lamp.tell(Burn("cold")).await.unwrap();
            lamp.crash("hot").await;
        });
    }));
    for (result, words) in [(none, "there was none"), (other, "it was \"cold\"")] {
        let panic = result.unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(
            text.contains("one_actor.rs:") && text.contains(words),
            "{text}"
        );
    }
}

#[test]
fn a_day_passes_in_milliseconds() {
    let begun = Instant::now();
    in_virtual_time(async {
        let lamp = Kit::<Lamp>::start(0).await.unwrap();
        lamp.tell(Fade(Duration::from_secs(86_400))).await.unwrap();
        pass(Duration::from_secs(86_399)).await;
        assert_eq!(lamp.mailbox().handling.as_deref(), Some("Fade"));
        pass(Duration::from_secs(2)).await;
        assert_eq!(lamp.mailbox().handled, 1);
    });
    // So much less than a day that no machine is too slow for it.
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_limit_of_an_ask_runs_out_in_virtual_time() {
    in_virtual_time(async {
        let lamp = Kit::<Lamp>::start(0).await.unwrap();
        lamp.tell(Fade(Duration::from_secs(60))).await.unwrap();
        settle().await;
        let asked = lamp.ask(Switched).within(Duration::from_secs(30)).await;
        assert!(matches!(asked, Err(AskError::Timeout { .. })), "{asked:?}");
    });
}

#[test]
fn a_back_off_is_waited_for_in_virtual_time() {
    in_virtual_time(async {
        let backoff = Backoff::default();
        let lamp = Kit::of(Lamp::spec("lamp", 0))
            .backoff(backoff)
            .start()
            .await
            .unwrap();
        for _ in 0..12 {
            lamp.tell(Burn("hot")).await.unwrap();
            lamp.crash("hot").await;
        }
        let crashes = lamp.crashes();
        assert!(
            crashes[11].at > Duration::from_secs(20),
            "{:?}",
            crashes[11]
        );
    });
}

#[test]
fn an_actor_that_may_not_be_restarted_again_is_given_up() {
    in_virtual_time(async {
        let lamp = Kit::of(Lamp::spec("lamp", 0)).restart_limit(1, Duration::from_secs(5));
        let lamp = lamp.start().await.unwrap();
        lamp.tell(Burn("hot")).await.unwrap();
        lamp.crash("hot").await;
        lamp.tell(Burn("hot")).await.unwrap();
        lamp.crash("hot").await;
        assert!(lamp.system().stopped().await.is_err());
    });
}
