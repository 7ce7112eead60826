//! Probes: in the place of an actor, a recipient and a subscriber.

use std::panic::catch_unwind;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{AskError, StartError};
use greenroom_testkit::{Kit, Probe, StandIn, in_virtual_time, settle};

use crate::lamp::{Burn, Fade, Lamp, Switch, Switched};

#[test]
fn a_probe_shows_messages_of_all_types_in_their_order() {
    in_virtual_time(async {
        let probe = Probe::start().await.unwrap();
        let (switches, burns) = (probe.recipient::<Switch>(), probe.recipient::<Burn>());
        switches.tell(Switch(true)).await.unwrap();
        burns.tell(Burn("a")).await.unwrap();
        switches.tell(Switch(false)).await.unwrap();
        probe.expect_eq(Switch(true)).await;
        assert_eq!(probe.expect::<Burn>().await.0, "a");
        probe.expect_eq(Switch(false)).await;
        probe.expect_none(Duration::from_secs(3600)).await;
    });
}

#[test]
fn a_probe_gives_out_all_that_came_of_one_type_and_keeps_the_rest() {
    in_virtual_time(async {
        let probe = Probe::start().await.unwrap();
        let (switches, burns) = (probe.recipient::<Switch>(), probe.recipient::<Burn>());
        for (on, text) in [(true, "a"), (false, "b")] {
            switches.tell(Switch(on)).await.unwrap();
            burns.tell(Burn(text)).await.unwrap();
        }
        settle().await;
        assert_eq!(probe.drain::<Switch>(), [Switch(true), Switch(false)]);
        assert_eq!(probe.drain::<Switch>(), []);
        probe.expect_eq(Burn("a")).await;
        probe.expect_eq(Burn("b")).await;
    });
}

#[test]
fn a_probe_answers_what_was_agreed_and_shows_it_all_the_same() {
    in_virtual_time(async {
        let probe = Probe::start().await.unwrap().answers(|_: &Switched| 7);
        assert_eq!(
            probe.recipient::<Switched>().ask(Switched).await.unwrap(),
            7
        );
        probe.expect_eq(Switched).await;
    });
}

#[test]
fn a_question_waits_for_the_tests_answer() {
    in_virtual_time(async {
        let probe = Probe::start().await.unwrap();
        let to = probe.recipient::<Switched>();
        let asker = async { to.ask(Switched).await };
        let answer = async { probe.expect_asked::<Switched>().await.reply(3) };
        assert_eq!(tokio::join!(asker, answer).0.unwrap(), 3);
    });
}

#[test]
fn who_asked_hears_when_the_test_does_not_answer() {
    in_virtual_time(async {
        let probe = Probe::start().await.unwrap();
        let to = probe.recipient::<Switched>();
        let asker = async { to.ask(Switched).await };
        let refusal = async { drop(probe.expect_asked::<Switched>().await) };
        let asked = tokio::join!(asker, refusal).0;
        assert!(matches!(asked, Err(AskError::Failed { .. })), "{asked:?}");
        // The probe is there for the next one.
        to.ask(Switched)
            .within(Duration::from_secs(1))
            .await
            .unwrap_err();
        settle().await;
    });
}

#[test]
fn a_probe_subscribes() {
    in_virtual_time(async {
        let lamp = Kit::<Lamp>::start(0).await.unwrap();
        let ears = lamp.hears::<Switch>().await;
        let more = lamp.hears::<Switch>().await;
        assert_eq!(lamp.publish(Switch(true)).delivered, 3);
        ears.expect_eq(Switch(true)).await;
        more.expect_eq(Switch(true)).await;
    });
}

#[test]
fn a_kit_gives_each_of_its_probes_a_name_of_its_own() {
    in_virtual_time(async {
        let lamp = Kit::<Lamp>::start(0).await.unwrap();
        lamp.start_beside(Lamp::spec("another", 0)).await;
        let ears = lamp.hears::<Switch>().await;
        let beside = lamp.system().supervisor("kit/beside").unwrap();
        beside.stop_child("another").await.unwrap();
        let more = lamp.hears::<Switch>().await;
        assert_eq!(lamp.publish(Switch(true)).delivered, 3);
        ears.expect_eq(Switch(true)).await;
        more.expect_eq(Switch(true)).await;
    });
}

#[test]
fn two_probes_of_one_name_are_refused_as_two_actors_are() {
    in_virtual_time(async {
        let tree = Supervisor::one_for_one("home")
            .child(Probe::new().spec("lamp"))
            .child(Probe::new().spec("lamp"));
        let started = System::builder().in_current_runtime().start(tree).await;
        assert!(
            matches!(&started, Err(StartError::DuplicateName { name, .. }) if &**name == "lamp"),
            "{started:?}"
        );
    });
}

#[test]
fn a_probe_takes_the_place_of_an_actor_in_a_tree() {
    in_virtual_time(async {
        let gateway = Probe::new().hears::<Switch>();
        let tree = Supervisor::one_for_one("home").child(gateway.spec("gateway").mailbox(2));
        let system = System::builder()
            .in_current_runtime()
            .start(tree)
            .await
            .unwrap();
        let found = system.find::<StandIn>("home/gateway").unwrap();
        found.tell(Fade(Duration::ZERO)).await.unwrap();
        gateway.expect_eq(Fade(Duration::ZERO)).await;
        system.publish(Switch(true));
        gateway
            .expect_within::<Switch>(Duration::from_millis(5))
            .await;
        system.stop().await;
    });
}

#[test]
fn what_was_not_expected_is_told_with_the_line_that_expected() {
    let nothing =
        || in_virtual_time(async { Probe::start().await.unwrap().expect_eq(Burn("a")).await });
    let another = || {
        in_virtual_time(async {
            let probe = Probe::start().await.unwrap();
            probe.recipient().tell(Switch(true)).await.unwrap();
            probe.expect_eq(Burn("a")).await;
        });
    };
    let unequal = || {
        in_virtual_time(async {
            let probe = Probe::start().await.unwrap();
            probe.recipient().tell(Burn("b")).await.unwrap();
            probe.expect_eq(Burn("a")).await;
        });
    };
    let some = || {
        in_virtual_time(async {
            let probe = Probe::start().await.unwrap();
            probe.recipient().tell(Burn("b")).await.unwrap();
            probe.expect_none(Duration::from_secs(1)).await;
        });
    };
    let stray = || drop(Probe::new().recipient::<Burn>());
    let cases = [
        (
            catch_unwind(nothing),
            "expected Burn within 60s, and nothing came",
        ),
        (
            catch_unwind(another),
            "expected Burn, and there came Switch",
        ),
        (
            catch_unwind(unequal),
            "expected Burn(\"a\"), and there came Burn(\"b\")",
        ),
        (
            catch_unwind(some),
            "expected nothing within 1s, and there came Burn",
        ),
        (catch_unwind(stray), "the probe is in no tree that runs"),
    ];
    for (result, words) in cases {
        let panic = result.unwrap_err();
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned());
        assert!(text.contains(words), "{text}");
        assert!(
            text.contains("probes.rs:") || words.contains("in no tree"),
            "{text}"
        );
    }
}
