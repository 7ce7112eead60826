//! Whole systems from a seed: the same again, found, made short, and told.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
        pass(Duration::from_secs(1)).await;
    };
    let slow = Faults::new().start("lamp", 2, Fault::Delay(YEAR));
    check(
        simulate(scenario).faults(slow.clone()),
        "rest: home/lamp has been starting for good",
    );
    let patient = Checks::all().rest(None);
    simulate(scenario)
        .faults(slow)
        .checks(patient)
        .seeds(0..1)
        .run();
    // One that crashes at each start is between two lives when it is looked at, but not for good.
    let failing = (2..6).fold(Faults::new(), |faults, n| {
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
}

#[test]
fn an_actor_that_is_busy_again_and_again_is_not_stuck() {
    let scenario = async |sim: Sim| {
        let tree = Supervisor::one_for_one("home").child(Baker::spec("baker", ()));
        sim.start(tree).await.unwrap();
    };
    simulate(scenario).seeds(0..10).run();
}

/// Is always at it.
struct Baker;

impl Actor for Baker {
    type Args = ();
    type Error = &'static str;

    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Self::Error> {
        let _ = cx.me().try_tell(Go);
        Ok(Baker)
    }
}

impl Handler<Go> for Baker {
    async fn handle(&mut self, go: Go, cx: &mut Context<Self>) -> Result<(), Self::Error> {
        pass(Duration::from_secs(50)).await;
        let _ = cx.me().try_tell(go);
        Ok(())
    }
}

#[test]
fn a_tree_that_comes_down_is_found_where_it_is_to_stay_up() {
    let scenario = async |sim: Sim| {
        let system = sim.start(lone()).await.unwrap();
        let lamp = system.find::<Lamp>("home/lamp").unwrap();
        for _ in 0..2 {
            let _ = lamp.tell(Burn("hot")).await;
        }
        pass(Duration::from_secs(1)).await;
    };
    simulate(scenario).seeds(0..10).run();
    check(
        simulate(scenario).checks(Checks::all().stays_up(true)),
        "stays_up: home gives up over home/lamp",
    );
    // What is below another supervisor is begun anew by that.
    let scenario = async |sim: Sim| {
        let tree = Supervisor::one_for_one("street").child(lone());
        let system = sim.start(tree).await.unwrap();
        for _ in 0..2 {
            let lamp = system.find::<Lamp>("street/home/lamp").unwrap();
            lamp.tell(Burn("hot")).await.unwrap();
            pass(Duration::from_secs(1)).await;
        }
        let mut infos = system.snapshot().into_iter();
        let home = infos
            .find(|info| info.path.as_str() == "street/home")
            .unwrap();
        assert_eq!(home.restarts, 1);
    };
    let checks = Checks::all().stays_up(true);
    simulate(scenario).checks(checks).seeds(0..10).run();
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
fn a_failure_that_is_made_short_is_still_the_same_one() {
    let scenario = async |sim: Sim| {
        let n = sim.choose(1000);
        if n >= 300 {
            sim.fail("it is much");
        } else if n >= 3 {
            sim.fail("it is some");
        }
    };
    let find = |seed| simulate(scenario).find_in(seed);
    let mut founds = (0..20).filter_map(find);
    let found = founds.find(|found| found.what == "scenario: it is much");
    let found = found.unwrap();
    assert_eq!(found.short, found.what, "{found}");
    assert_eq!(found.schedule, "schedule -, faults -, world 0:300");

    // The same with whom it is about.
    let scenario = async |sim: Sim| {
        let tree = Supervisor::one_for_one("home")
            .child(Lamp::spec("a", 0))
            .child(Lamp::spec("b", 0));
        let system = sim.start(tree).await.unwrap();
        let path = ["home/a", "home/b"][sim.choose(2)];
        let lamp = system.find::<Lamp>(path).unwrap();
        lamp.tell(Fade(Duration::MAX)).await.unwrap();
    };
    let mut founds = (0..10).map(|seed| simulate(scenario).find_in(seed).unwrap());
    assert!(founds.all(|found| found.what == found.short));
}

#[test]
fn a_fault_that_is_written_down_and_came_in_no_seed_fails_the_simulation() {
    let scenario = async |sim: Sim| {
        let system = sim.start(lone()).await.unwrap();
        let lamp = system.find::<Lamp>("home/lamp").unwrap();
        for _ in 0..sim.choose(4) {
            lamp.tell(Switch(true)).await.unwrap();
        }
    };
    let fault = || Fault::Delay(Duration::from_millis(1));
    // It comes in some seeds, and that is enough.
    let some = Faults::new().nth("home/lamp", 3, fault());
    simulate(scenario).faults(some).run();
    for (faults, words) in [
        (
            Faults::new().nth("home/lapm", 3, fault()),
            r#"nth("home/lapm", 3, Delay(1ms)): there was no actor of that path"#,
        ),
        (
            Faults::new().nth("home/lamp", 4, fault()),
            r#"nth("home/lamp", 4, Delay(1ms)): there was such an actor, but never such a moment"#,
        ),
    ] {
        let simulation = simulate(scenario).faults(faults);
        assert!(
            simulation.find_in(1).is_none(),
            "of one seed that is no wonder"
        );
        let run = AssertUnwindSafe(|| simulation.run());
        let panic = catch_unwind(run).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(
            text.contains(words) && text.contains("simulations.rs:"),
            "{text}"
        );
    }
    // What is found otherwise goes before.
    let misspelt = Faults::new().nth("home/lapm", 3, fault());
    let failing = async |sim: Sim| sim.fail("it is late");
    assert!(simulate(failing).faults(misspelt).find().is_some());
}

#[test]
fn scripts_are_followed_in_each_system_apart() {
    let scenario = async |sim: Sim| {
        for n in 1..=2 {
            let system = sim.start(lone()).await.unwrap();
            let lamp = system.find::<Lamp>("home/lamp").unwrap();
            for _ in 0..3 {
                lamp.tell(Switch(true)).await.unwrap();
            }
            pass(Duration::from_secs(1)).await;
            let crashes = sim.crashes();
            assert_eq!(crashes.len(), n);
            assert!(
                crashes
                    .iter()
                    .all(|crash| crash.path == "home/lamp" && crash.text == "hot")
            );
        }
    };
    let faults = Faults::new().nth("lamp", 2, Fault::Error("hot".to_owned()));
    simulate(scenario).faults(faults).seeds(0..10).run();
}

/// As many faults as there are messages and starts.
fn always() -> Faults {
    Faults::new().random_of(1000, [Fault::Error("hot".to_owned())])
}

#[test]
fn calm_lasts_also_for_systems_that_are_started_later() {
    let scenario = async |sim: Sim| {
        sim.start(lone()).await.unwrap();
        sim.calm();
        let system = sim.start(lone()).await.unwrap();
        assert_eq!(system.publish(Switch(true)).delivered, 1);
        pass(Duration::from_secs(1)).await;
        assert_eq!(sim.crashes(), []);
    };
    simulate(scenario).faults(always()).seeds(0..10).run();
}

#[test]
fn chance_spares_probes_and_who_is_named() {
    let scenario = async |sim: Sim| {
        let probe = Probe::new().hears::<Switch>();
        let tree = Supervisor::one_for_one("home")
            .restart_limit(1000, Duration::from_secs(1))
            .child(probe.spec("probe"))
            .child(Lamp::spec("lamp", 0))
            .child(Lamp::spec("spared", 0))
            .child(Supervisor::dynamic("guests"));
        let system = sim.start(tree).await.unwrap();
        let guests = system.supervisor("home/guests").unwrap();
        let guest = Probe::new();
        guests.start_child(guest.spec("guest")).await.unwrap();
        system.publish(Switch(true));
        probe.expect_eq(Switch(true)).await;
        let spared = system.find::<Lamp>("home/spared").unwrap();
        assert_eq!(spared.ask(Switched).await.unwrap(), 1);
        sim.calm();
        pass(Duration::from_secs(1)).await;
        let crashes = sim.crashes();
        assert!(!crashes.is_empty());
        assert!(
            crashes.iter().all(|crash| crash.path == "home/lamp"),
            "{crashes:?}"
        );
    };
    let faults = always().sparing("home/spared");
    simulate(scenario).faults(faults).seeds(0..10).run();
}

#[test]
fn chance_brings_nothing_to_a_start_that_does_nothing_to_it() {
    let scenario = async |sim: Sim| {
        let system = sim.start(Supervisor::dynamic("guests")).await.unwrap();
        let guests = system.supervisor("guests").unwrap();
        guests.start_child(Lamp::spec("lamp", 0)).await.unwrap();
    };
    let faults = Faults::new().random_of(1000, [Fault::Stop, Fault::Kill, Fault::Unsubscribe]);
    let trace = simulate(scenario).faults(faults).trace(1).to_string();
    assert!(
        trace.contains("guests/lamp#1") && !trace.contains("fault"),
        "{trace}"
    );
}

#[test]
fn of_no_number_the_first_is_chosen() {
    simulate(async |sim: Sim| assert_eq!((sim.choose(0), sim.choose(1)), (0, 0))).run();
}

thread_local! {
    static SIM: RefCell<Option<Sim>> = const { RefCell::new(None) };
}

/// Takes it away when the run is over.
struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        SIM.take();
    }
}

#[test]
fn a_closure_of_the_test_that_asks_the_sim_fails_and_does_not_wait_for_itself() {
    let scenario = async |sim: Sim| {
        SIM.set(Some(sim.clone()));
        let _leaves = Leaves;
        let system = sim.start(lone()).await.unwrap();
        system.publish(Switch(true));
        pass(Duration::from_secs(1)).await;
    };
    let ask = || SIM.with_borrow(|sim| sim.as_ref().unwrap().choose(2));
    let when = Faults::new().when(move |_: &Switch| ask() == 1, Fault::Stop);
    let words = "a `Sim` or `Kit` is used where the kit asks the test";
    check(simulate(scenario).faults(when), words);
    let order = Checks::all().order(move |_: &Switch| ("the test".to_owned(), ask() as u64));
    check(simulate(scenario).checks(order), words);
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
    // Each order of a type is checked.
    let both = || checks().order(|m: &Numbered| ("its tens".to_owned(), m.0 / 10));
    simulate(scenario(&[9, 12, 23])).checks(both()).run();
    check(
        simulate(scenario(&[12, 13])).checks(both()),
        "order: home/last is to handle number 1 of its tens a second time",
    );
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
