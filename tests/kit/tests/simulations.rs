//! Whole systems from a seed: the same again, found, made short, and told.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use greenroom_testkit::storm::storm;
use greenroom_testkit::{Checks, Fault, Faults, Found, Probe, Sim, Simulation, pass, simulate};

use crate::lamp::{Burn, Fade, Lamp, Switch, Switched};

#[test]
fn a_thousand_random_trees_under_random_faults_keep_all_that_is_promised() {
    let begun = Instant::now();
    storm().seeds(0..1000).run();
    println!("{:?}", begun.elapsed());
}

#[test]
fn ten_runs_of_a_seed_are_the_same_to_the_byte_and_other_seeds_are_others() {
    let storm = storm();
    let mut runs = BTreeSet::new();
    for seed in 0..20 {
        let first = storm.trace(seed).to_string();
        for _ in 0..9 {
            assert_eq!(storm.trace(seed).to_string(), first, "seed {seed}");
        }
        runs.insert(first);
    }
    assert_eq!(runs.len(), 20);
}

/// Passes a switch on, and then is done.
struct Runner(Recipient<Switch>, bool);

impl Actor for Runner {
    type Args = (Recipient<Switch>, bool);
    type Error = &'static str;

    async fn start((to, on): Self::Args, _: &mut Context<Self>) -> Result<Self, Self::Error> {
        Ok(Runner(to, on))
    }
}

#[derive(Debug)]
struct Go;
impl Message for Go {
    type Reply = ();
}

impl Handler<Go> for Runner {
    async fn handle(&mut self, _: Go, _: &mut Context<Self>) -> Result<(), Self::Error> {
        let _ = self.0.try_tell(Switch(self.1));
        Ok(())
    }
}

/// What was switched last.
struct Last(bool);

impl Actor for Last {
    type Args = ();
    type Error = &'static str;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Self::Error> {
        Ok(Last(false))
    }
}

impl Handler<Switch> for Last {
    async fn handle(&mut self, switch: Switch, _: &mut Context<Self>) -> Result<(), Self::Error> {
        self.0 = switch.0;
        Ok(())
    }
}

#[derive(Debug)]
struct IsOn;
impl Message for IsOn {
    type Reply = bool;
}

impl Handler<IsOn> for Last {
    async fn handle(&mut self, _: IsOn, _: &mut Context<Self>) -> Result<bool, Self::Error> {
        Ok(self.0)
    }
}

/// Two that race for a switch; whoever thinks that the second always wins is wrong.
async fn race(sim: Sim) {
    let tree = Supervisor::one_for_one("race")
        .child(Last::spec("last", ()))
        .child(Supervisor::dynamic("runners"));
    let system = sim.start(tree).await.unwrap();
    let last = system.find::<Last>("race/last").unwrap();
    let runners = system.supervisor("race/runners").unwrap();
    let mut all = Vec::new();
    for (name, on) in [("hare", false), ("hedgehog", true)] {
        let spec = Runner::spec(name, (last.recipient(), on));
        all.push(runners.start_child(spec).await.unwrap());
    }
    for runner in all {
        runner.tell(Go).await.unwrap();
    }
    pass(Duration::from_secs(1)).await;
    assert!(last.ask(IsOn).await.unwrap(), "the hedgehog comes second");
}

fn found() -> Box<Found> {
    simulate(race).show::<Switch>().find().unwrap()
}

#[test]
fn what_one_order_hides_is_found_and_again_in_ten_of_ten_runs() {
    let first = found();
    let again = simulate(race).show::<Switch>();
    for _ in 0..10 {
        let again = again.find_in(first.seed).unwrap();
        assert_eq!(again.to_string(), first.to_string());
    }
}

#[test]
fn a_failure_is_made_short_and_shown_with_time_actor_message_and_decision() {
    let found = found();
    assert_eq!(found.choices, 1, "{found}");
    let text = found.to_string();
    for part in [
        format!("seed {} fails: panic at ", found.seed),
        "the hedgehog comes second".to_owned(),
        format!("SEED={}", found.seed),
        "0.000s  race/runners/hedgehog#1  Go".to_owned(),
        "2 of 2 ready".to_owned(),
        "Switch(false)".to_owned(),
        "FOUND panic at".to_owned(),
    ] {
        assert!(text.contains(&part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn a_failure_that_the_seed_does_not_decide_is_told_as_one_and_not_made_short() {
    let runs = AtomicU64::new(0);
    let scenario = |sim: Sim| {
        let is_first = runs.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            assert!(sim.choose(1000) > 1000 || !is_first, "it is the first run");
        }
    };
    let found = simulate(scenario).find_in(1).unwrap();
    assert!(found.what.contains("it is the first run"), "{found}");
    assert_eq!((found.is_repeated, found.tries), (false, 0));
    assert_eq!(found.choices, found.choices_before);
    let text = found.to_string();
    for part in [
        "the same choices did not fail again: something else than the seed decides",
        "in this run: nothing",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    assert!(!text.contains("again with SEED="), "{text}");
}

#[test]
fn run_panics_with_the_report() {
    let panic = catch_unwind(|| simulate(race).run()).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(
        text.contains("the hedgehog comes second") && text.contains("SEED="),
        "{text}"
    );
}

#[test]
fn no_seed_at_all_is_no_proof() {
    let panic = catch_unwind(|| simulate(async |_| ()).seeds(5..5).run()).unwrap_err();
    let text = panic.downcast_ref::<&str>().unwrap();
    assert!(text.contains("no seed is tried"), "{text}");
}

fn lone() -> Supervisor {
    Supervisor::one_for_one("home").child(Lamp::spec("lamp", 0).mailbox(2))
}

#[track_caller]
fn check<F, Fut>(simulation: Simulation<F>, words: &str)
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    let found = simulation.find_in(1).unwrap();
    assert!(found.what.contains(words), "{found}");
}

#[test]
fn a_handler_that_never_ends_is_found() {
    let scenario = async |sim: Sim| {
        let system = sim.start(lone()).await.unwrap();
        let lamp = system.find::<Lamp>("home/lamp").unwrap();
        lamp.tell(Fade(Duration::MAX)).await.unwrap();
    };
    check(
        simulate(scenario),
        "rest: home/lamp has been handling Fade for good",
    );
    let patient = Checks::all().rest(None);
    assert!(
        simulate(scenario).checks(patient).find_in(1).is_none(),
        "a stop cuts it off"
    );
}

#[test]
fn a_role_that_does_not_come_back_is_found() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let scenario = async |sim: Sim| {
        let lamp = Lamp::spec("lamp", 0).start_within(YEAR);
        let tree = Supervisor::one_for_one("home").child(lamp);
        let system = sim.start(tree).await.unwrap();
        let lamp = system.find::<Lamp>("home/lamp").unwrap();
        lamp.tell(Burn("hot")).await.unwrap();
    };
    let slow = Faults::new().start("lamp", 2, Fault::Delay(YEAR));
    check(
        simulate(scenario).faults(slow.clone()),
        "rest: home/lamp has been starting for good",
    );
    // One that crashes at each start is between two lives when it is looked at, but not for good.
    let failing = (2..10_000).fold(Faults::new(), |faults, n| {
        faults.start("lamp", n, Fault::Error("no bulb".to_owned()))
    });
    let scenario = async |sim: Sim| {
        let minute = Duration::from_secs(60);
        let tree = Supervisor::one_for_one("home")
            .restart_limit(u32::MAX, Duration::from_secs(1))
            .backoff(Backoff::exponential(minute, minute))
            .child(Lamp::spec("lamp", 0));
        let system = sim.start(tree).await.unwrap();
        let lamp = system.find::<Lamp>("home/lamp").unwrap();
        lamp.tell(Burn("hot")).await.unwrap();
    };
    simulate(scenario).faults(failing).seeds(0..3).run();
    let patient = Checks::all().rest(None);
    simulate(scenario)
        .faults(slow)
        .checks(patient)
        .seeds(0..1)
        .run();
}

#[test]
fn two_systems_of_one_name_are_told_apart() {
    let scenario = async |sim: Sim| {
        for _ in 0..2 {
            let system = sim.start(lone()).await.unwrap();
            let lamp = system.find::<Lamp>("home/lamp").unwrap();
            for _ in 0..=sim.choose(3) {
                lamp.tell(Burn("hot")).await.unwrap();
                lamp.tell(Switch(true)).await.unwrap();
                pass(Duration::from_secs(10)).await;
            }
        }
    };
    simulate(scenario).run();
}

#[test]
fn a_scenario_that_does_not_end_is_found() {
    let scenario = async |sim: Sim| {
        let system = sim.start(lone()).await.unwrap();
        assert!(system.stopped().await.is_ok());
    };
    check(
        simulate(scenario).limit(Duration::from_secs(60)),
        "limit: the scenario is not over after 60s",
    );
}

/// Tells itself the same thing for ever.
struct Hamster;

impl Actor for Hamster {
    type Args = ();
    type Error = &'static str;

    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Self::Error> {
        let _ = cx.me().try_tell(Go);
        Ok(Hamster)
    }
}

impl Handler<Go> for Hamster {
    async fn handle(&mut self, go: Go, cx: &mut Context<Self>) -> Result<(), Self::Error> {
        let _ = cx.me().try_tell(go);
        Ok(())
    }
}

#[test]
fn actors_that_keep_each_other_busy_are_found() {
    let scenario = async |sim: Sim| {
        let tree = Supervisor::one_for_one("home").child(Hamster::spec("hamster", ()));
        sim.start(tree).await.unwrap();
        pass(Duration::from_secs(1)).await;
    };
    let simulation = simulate(scenario).decisions(10_000).tries(3);
    check(simulation, "decisions: 10000 decisions, and it goes on");
}

#[test]
fn a_scenario_that_lets_no_time_pass_is_found() {
    let scenario = async |sim: Sim| {
        let system = sim.start(lone()).await.unwrap();
        // It waits for a second life that nobody causes.
        while system.snapshot().iter().all(|info| info.incarnation < 2) {
            tokio::task::yield_now().await;
        }
    };
    let simulation = simulate(scenario).decisions(1_000).tries(3);
    check(simulation, "decisions: 1000 decisions, and it goes on");
}

#[test]
fn what_a_scenario_says_is_wrong_is_found() {
    check(
        simulate(async |sim: Sim| sim.fail("it is late")),
        "scenario: it is late",
    );
}

#[test]
fn a_failed_expectation_is_known_by_its_place_in_the_test() {
    let scenario = async |sim: Sim| {
        let probe = Probe::new();
        sim.start(Supervisor::one_for_one("home").child(probe.spec("probe")))
            .await
            .unwrap();
        probe.expect::<Switch>().await;
    };
    check(simulate(scenario), &format!("panic at {}:", file!()));
}

#[test]
fn a_crash_of_an_actor_is_no_failure_of_the_run() {
    let scenario = async |sim: Sim| {
        let system = sim.start(lone()).await.unwrap();
        let lamp = system.find::<Lamp>("home/lamp").unwrap();
        lamp.tell(Burn("hot")).await.unwrap();
        pass(Duration::from_secs(1)).await;
        assert_eq!(lamp.ask(Switched).await.unwrap(), 0);
    };
    simulate(scenario).run();
}

#[test]
fn a_panic_in_what_the_test_gives_the_kit_is_no_crash_of_the_actor() {
    #[derive(Clone)]
    struct Odd;
    impl Message for Odd {
        type Reply = ();
    }
    impl std::fmt::Debug for Odd {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("it is not shown")
        }
    }
    impl Handler<Odd> for Last {
        async fn handle(&mut self, _: Odd, _: &mut Context<Self>) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let scenario = async |sim: Sim| {
        let tree = Supervisor::one_for_one("home").child(Last::spec("last", ()));
        let system = sim.start(tree).await.unwrap();
        let last = system.find::<Last>("home/last").unwrap();
        last.tell(Odd).await.unwrap();
        last.ask(IsOn).await.unwrap();
    };
    let order = Checks::all().order(|_: &Odd| -> (String, u64) { panic!("it has no number") });
    check(simulate(scenario).checks(order), "it has no number");
    let when = Faults::new().when(
        |_: &Odd| panic!("who knows when"),
        Fault::Error(String::new()),
    );
    check(simulate(scenario).faults(when), "who knows when");
    // A message is shown only where a failure is told, which it must not hide.
    let late = async |sim: Sim| {
        scenario(sim.clone()).await;
        sim.fail("it is late");
    };
    let found = simulate(late).show::<Odd>().find_in(1).unwrap();
    assert_eq!(found.short, "scenario: it is late");
    let text = found.to_string();
    assert!(
        text.contains("Odd, whose `Debug` panics at ") && text.contains("it is not shown"),
        "{text}"
    );
}

#[test]
fn order_is_checked_by_the_numbers_that_messages_have() {
    #[derive(Clone, Debug)]
    struct Numbered(u64);
    impl Message for Numbered {
        type Reply = ();
    }
    impl Handler<Numbered> for Last {
        async fn handle(&mut self, _: Numbered, _: &mut Context<Self>) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let scenario = |numbers: &'static [u64]| {
        move |sim: Sim| async move {
            let tree = Supervisor::one_for_one("home").child(Last::spec("last", ()));
            let system = sim.start(tree).await.unwrap();
            let last = system.find::<Last>("home/last").unwrap();
            for &n in numbers {
                last.tell(Numbered(n)).await.unwrap();
            }
        }
    };
    let checks = || Checks::none().order(|m: &Numbered| ("the test".to_owned(), m.0));
    simulate(scenario(&[1, 2, 4])).checks(checks()).run();
    check(
        simulate(scenario(&[1, 1])).checks(checks()),
        "order: home/last is to handle number 1",
    );
    check(
        simulate(scenario(&[2, 1])).checks(checks()),
        "order: home/last has number 1",
    );
    simulate(scenario(&[2, 1])).checks(Checks::none()).run();
}

#[test]
fn a_year_of_random_faults_takes_no_time() {
    let begun = Instant::now();
    let scenario = async |sim: Sim| {
        let tree = Supervisor::one_for_one("home").restart_limit(1000, Duration::from_secs(1));
        let system = sim.start(tree.child(Lamp::spec("lamp", 0))).await.unwrap();
        for _ in 0..365 {
            system.publish(Switch(true));
            pass(Duration::from_secs(86_400)).await;
        }
    };
    let year = simulate(scenario).limit(Duration::from_secs(400 * 86_400));
    year.faults(Faults::new().random(100)).seeds(0..3).run();
    // So much less than a year that no machine is too slow for it.
    assert!(begun.elapsed() < Duration::from_secs(60));
}
