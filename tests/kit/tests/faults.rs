//! What can be made to go wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{ActorState, AskError, FailureKind, TryTellError};
use greenroom_testkit::{Crash, Fault, Faults, Kit, in_virtual_time, pass, settle};

use crate::lamp::{Burn, Fade, Lamp, Switch, Switched};

/// Starts a lamp with these faults, switches it three times, and shows it to `look`.
fn check(faults: Faults, look: impl AsyncFnOnce(Kit<Lamp>)) {
    in_virtual_time(async {
        let lamp = Kit::of(Lamp::spec("lamp", 0))
            .faults(faults)
            .start()
            .await
            .unwrap();
        for _ in 0..3 {
            lamp.tell(Switch(true)).await.unwrap();
        }
        settle().await;
        look(lamp).await;
    });
}

fn text() -> String {
    "as planned".to_owned()
}

#[test]
fn a_handler_panics_or_fails_at_the_nth_message() {
    for (fault, kind) in [
        (Fault::Panic(text()), FailureKind::Panic),
        (Fault::Error(text()), FailureKind::Error),
    ] {
        check(Faults::new().nth("kit/lamp", 2, fault), async |lamp| {
            let crash: Crash = lamp.crash("as planned").await;
            assert_eq!(crash.kind, kind);
            // The first was counted by the life that failed, the third by the next.
            assert_eq!(lamp.ask(Switched).await.unwrap(), 1);
            assert_eq!((lamp.mailbox().failed, lamp.restarts()), (1, 1));
            lamp.stop().await;
        });
    }
}

#[test]
fn who_asked_hears_of_a_fault_as_of_a_failure() {
    let faults = Faults::new().when(|_: &Switched| true, Fault::Panic(text()));
    check(faults, async |lamp| {
        let asked = lamp.ask(Switched).await;
        let Err(AskError::Failed { reason, .. }) = asked else {
            panic!("{asked:?}");
        };
        assert_eq!(reason, "it panicked: as planned");
    });
}

#[test]
fn a_fault_may_depend_on_the_message() {
    let faults = Faults::new().when(|switch: &Switch| !switch.0, Fault::Error(text()));
    check(faults, async |lamp| {
        assert_eq!(lamp.restarts(), 0);
        lamp.tell(Switch(false)).await.unwrap();
        lamp.crash("as planned").await;
    });
}

#[test]
fn a_fault_may_come_at_the_nth_message_of_a_type() {
    let faults = Faults::new()
        .nth_of::<Switched>("kit/lamp", 2, Fault::Panic(text()))
        .nth_of::<Switched>("another", 1, Fault::Panic(text()));
    check(faults, async |lamp| {
        assert_eq!(lamp.ask(Switched).await.unwrap(), 3);
        lamp.tell(Switch(true)).await.unwrap();
        assert!(lamp.ask(Switched).await.is_err());
        lamp.crash("as planned").await;
        assert_eq!(lamp.ask(Switched).await.unwrap(), 0);
        let another = lamp.start_beside(Lamp::spec("another", 0)).await;
        assert!(another.ask(Switched).await.is_err());
    });
}

#[test]
fn a_fault_that_is_written_down_and_never_came_is_told_when_the_kit_ends() {
    let told = |faults: Faults| {
        let test = AssertUnwindSafe(|| check(faults, async |_| ()));
        let panic = catch_unwind(test).err()?;
        Some(panic.downcast_ref::<String>().unwrap().clone())
    };
    let fault = || Fault::Error(text());
    for (faults, words) in [
        (
            Faults::new().nth("lapm", 1, fault()),
            r#"nth("lapm", 1, Error("as planned")): there was no actor of that path, but kit/lamp"#,
        ),
        (
            Faults::new().nth("lamp", 4, fault()),
            r#"nth("lamp", 4, Error("as planned")): there was such an actor, but never such a moment"#,
        ),
        (
            Faults::new().nth_of::<Burn>("lamp", 1, fault()),
            r#"nth_of::<Burn>("lamp", 1, Error("as planned")): there was such an actor"#,
        ),
        (
            Faults::new().start("kit/lamp", 2, Fault::Panic(text())),
            r#"start("kit/lamp", 2, Panic("as planned")): there was such an actor"#,
        ),
        (
            Faults::new().when(|switch: &Switch| !switch.0, Fault::Stop),
            "when(|_: &Switch| .., Stop): there was no such message",
        ),
        (
            Faults::new().mailbox("home/lamp", 7),
            r#"mailbox("home/lamp", 7): there was no actor of that path"#,
        ),
        (
            Faults::new().deaf("amp"),
            r#"deaf("amp"): there was no actor of that path"#,
        ),
        (
            Faults::new().sparing("lamps"),
            r#"sparing("lamps"): there was no actor of that path"#,
        ),
    ] {
        let told = told(faults).unwrap_or_else(|| panic!("nothing of {words}"));
        assert!(
            told.contains(words) && told.contains("faults.rs:"),
            "{told}"
        );
    }
    let all = Faults::new()
        .nth("lamp", 3, fault())
        .nth_of::<Switch>("lamp", 2, fault())
        .when(|switch: &Switch| switch.0, Fault::Unsubscribe)
        .start("kit/lamp", 2, Fault::Delay(Duration::ZERO))
        .mailbox("lamp", 7)
        .deaf("lamp")
        .sparing("lamp");
    assert_eq!(told(all), None);
}

#[test]
fn of_two_rules_for_one_message_the_first_comes() {
    let faults = Faults::new()
        .when(|_: &Switched| true, Fault::Error("first".to_owned()))
        .nth_of::<Switched>("lamp", 2, Fault::Error("second".to_owned()));
    let test = AssertUnwindSafe(|| {
        check(faults, async |lamp| {
            for _ in 0..2 {
                assert!(lamp.ask(Switched).await.is_err());
                lamp.crash("first").await;
            }
        });
    });
    let panic = catch_unwind(test).unwrap_err();
    let told = panic.downcast_ref::<String>().unwrap();
    assert!(told.contains("nth_of::<Switched>"), "{told}");
}

#[test]
fn what_does_nothing_to_a_start_is_not_written_down_for_one() {
    for fault in [Fault::Stop, Fault::Kill, Fault::Unsubscribe] {
        let panic = catch_unwind(|| Faults::new().start("lamp", 1, fault)).unwrap_err();
        let told = panic.downcast_ref::<String>().unwrap();
        assert!(told.contains("does nothing to it"), "{told}");
    }
}

#[test]
fn faults_are_shown_as_they_were_written() {
    let faults = Faults::new()
        .nth_of::<Switch>("lamp", 2, Fault::Stop)
        .when(|_: &Burn| true, Fault::Kill)
        .random_of(5, [Fault::Stop])
        .sparing("lamp");
    assert_eq!(
        format!("{faults:?}"),
        r#"Faults { rules: [nth_of::<Switch>("lamp", 2, Stop), when(|_: &Burn| .., Kill), sparing("lamp")], permille: 5, random: [Stop] }"#
    );
}

#[test]
fn a_message_that_one_script_disturbs_counts_for_the_other() {
    let faults = Faults::new()
        .nth("lamp", 2, Fault::Error("the second".to_owned()))
        .nth_of::<Switch>("lamp", 3, Fault::Error("the third switch".to_owned()));
    check(faults, async |lamp| {
        lamp.crash("the second").await;
        lamp.crash("the third switch").await;
        assert_eq!((lamp.mailbox().handled, lamp.mailbox().failed), (1, 2));
    });
}

#[test]
fn a_handler_is_slow() {
    let fault = Fault::Delay(Duration::from_secs(10));
    check(Faults::new().nth("lamp", 3, fault), async |lamp| {
        assert_eq!(lamp.mailbox().handling.as_deref(), Some("Switch"));
        pass(Duration::from_secs(10)).await;
        assert_eq!(lamp.ask(Switched).await.unwrap(), 3);
    });
}

#[test]
fn a_mailbox_is_full() {
    let faults = Faults::new().mailbox("lamp", 0);
    in_virtual_time(async {
        let lamp = Kit::of(Lamp::spec("lamp", 0))
            .faults(faults)
            .start()
            .await
            .unwrap();
        let told = lamp.try_tell(Switch(true));
        assert!(matches!(told, Err(TryTellError::Full { .. })), "{told:?}");
        assert_eq!(lamp.publish(Switch(true)).dropped, 1);
    });
}

#[test]
fn a_start_is_slow_refused_or_panics() {
    in_virtual_time(async {
        let refuse = Faults::new().start("lamp", 1, Fault::Error(text()));
        let lamp = Kit::of(Lamp::spec("lamp", 0)).faults(refuse).start().await;
        assert!(lamp.unwrap_err().to_string().contains("as planned"));

        let slow = Faults::new()
            .nth("lamp", 1, Fault::Error("first".to_owned()))
            .start("lamp", 2, Fault::Delay(Duration::from_secs(3)))
            .nth("lamp", 2, Fault::Error("second".to_owned()))
            .start("lamp", 3, Fault::Panic(text()));
        let lamp = Kit::of(Lamp::spec("lamp", 0))
            .faults(slow)
            .start()
            .await
            .unwrap();
        lamp.tell(Switch(true)).await.unwrap();
        lamp.crash("first").await;
        assert_eq!(lamp.info().state, ActorState::Starting);
        pass(Duration::from_secs(3)).await;
        assert_eq!(lamp.info().state, ActorState::Running);
        lamp.tell(Switch(true)).await.unwrap();
        lamp.crash("second").await;
        lamp.crash("as planned").await;
        assert_eq!(
            (lamp.info().state, lamp.restarts()),
            (ActorState::Running, 3)
        );
    });
}

#[test]
fn a_start_that_is_too_slow_has_failed() {
    let slow = Faults::new().start("lamp", 1, Fault::Delay(Duration::from_secs(40)));
    in_virtual_time(async {
        let lamp = Kit::of(Lamp::spec("lamp", 0)).faults(slow).start().await;
        assert!(
            lamp.unwrap_err()
                .to_string()
                .contains("did not start within 30s")
        );
    });
}

#[test]
fn a_subscriber_is_lost() {
    check(Faults::new().deaf("lamp"), async |lamp| {
        assert_eq!(lamp.publish(Switch(true)).delivered, 0);
    });
    check(
        Faults::new().nth("lamp", 2, Fault::Unsubscribe),
        async |lamp| {
            assert_eq!(lamp.publish(Switch(true)).delivered, 0);
            assert_eq!(
                lamp.ask(Switched).await.unwrap(),
                3,
                "what was told is handled"
            );
        },
    );
}

#[test]
fn an_actor_stops_in_the_middle() {
    check(Faults::new().nth("lamp", 2, Fault::Stop), async |lamp| {
        assert_eq!(lamp.info().incarnation, 2);
        assert_eq!(lamp.ask(Switched).await.unwrap(), 1);
        assert_eq!(lamp.mailbox().failed, 0);
    });
}

#[test]
fn an_actor_is_cut_off_in_the_middle_of_a_message() {
    let faults = Faults::new().when(|_: &Fade| true, Fault::Kill);
    check(faults, async |lamp| {
        lamp.tell(Fade(Duration::from_secs(1))).await.unwrap();
        let crash = lamp.crash("").await;
        assert_eq!(crash.kind, FailureKind::Killed);
        assert_eq!((lamp.info().incarnation, lamp.mailbox().failed), (2, 1));
        lamp.stop().await;
    });
}

#[test]
fn faults_come_by_chance_and_the_seed_says_which() {
    let crashes = |seed| {
        let mut crashes = Vec::new();
        in_virtual_time(async {
            let faults = Faults::new().random_of(200, [Fault::Error(text()), Fault::Panic(text())]);
            let lamp = Kit::of(Lamp::spec("lamp", 0)).faults(faults).seed(seed);
            let lamp = lamp.start().await.unwrap();
            for _ in 0..50 {
                lamp.tell(Switch(true)).await.unwrap();
                settle().await;
            }
            crashes = lamp.crashes();
        });
        crashes
    };
    assert!(!crashes(1).is_empty());
    assert_eq!(crashes(1), crashes(1));
    assert_ne!(crashes(1), crashes(2));
}
