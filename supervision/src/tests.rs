//! The conformance lines of OTP that are about the law, and properties against a model of it.
//!
//! A test that begins with an id checks that line of the conformance list; `s` are the cases of
//! OTP's `supervisor_SUITE.erl`, `x` are rules of `supervisor.erl` and `sup_princ.md`.

mod auto_shutdown;
mod changes;
mod properties;
mod roster;

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generate;

use crate::backoff::SplitMix64;
use crate::{
    AutoShutdown, Backoff, BadCombination, ChildId, Exit, Law, Limit, Restart, Strategy, Verdict,
};

use Exit::{Failed, Killed, Normal, Shutdown};
use Restart::{Permanent, Temporary, Transient};
use Strategy::{Dynamic, OneForAll, OneForOne, RestForOne};

const HOUR: Duration = Duration::from_secs(3600);
const STRATEGIES: [Strategy; 4] = [OneForOne, OneForAll, RestForOne, Dynamic];
const EXITS: [Exit; 4] = [Normal, Shutdown, Failed, Killed];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ids(numbers: &[u64]) -> Vec<ChildId> {
    numbers.iter().copied().map(ChildId).collect()
}

/// A law without back-off whose children are numbered from 1.
fn law(strategy: Strategy, limit: Limit, children: &[Restart]) -> Law {
    let mut law = Law::new(strategy, limit, Backoff::none(), 0);
    for (number, &restart) in (1..).zip(children) {
        law.add(ChildId(number), restart);
    }
    law
}

/// A law of one permanent child that never escalates.
fn backing_off(backoff: Backoff, seed: u64) -> Law {
    let mut law = Law::new(OneForOne, Limit::new(u32::MAX, HOUR), backoff, seed);
    law.add(ChildId(1), Permanent);
    law
}

fn restart(stop: &[u64], forget: &[u64], start: &[u64]) -> Verdict {
    Verdict::Restart {
        stop: ids(stop),
        forget: ids(forget),
        start: ids(start),
        after: Duration::ZERO,
    }
}

fn escalate(stop: &[u64]) -> Verdict {
    Verdict::Escalate { stop: ids(stop) }
}

#[track_caller]
fn after(verdict: Verdict) -> Duration {
    match verdict {
        Verdict::Restart { after, .. } => after,
        verdict => panic!("expected a restart, got {verdict:?}"),
    }
}

#[track_caller]
fn assert_children(law: &Law, expected: &[u64]) {
    assert_eq!(law.children().collect::<Vec<_>>(), ids(expected));
}

/// The end of one of two children, in one_for_one, for each exit.
#[track_caller]
fn check_end(restart: Restart, exits: [Exit; 2], expected: Verdict, children: &[u64]) {
    for exit in exits {
        let mut law = law(OneForOne, Limit::default(), &[restart, Permanent]);
        assert_eq!(
            law.exited(ms(0), ChildId(1), exit),
            expected,
            "{restart} {exit:?}"
        );
        assert_children(&law, children);
    }
}

// Strategies.

#[test]
fn s29_failures_further_apart_than_the_window_restart_for_ever() {
    let mut law = law(OneForOne, Limit::new(1, ms(1000)), &[Permanent]);
    for nth in 0..4 {
        let verdict = law.exited(ms(2100 * nth), ChildId(1), Killed);
        assert_eq!(verdict, restart(&[], &[], &[1]));
    }
}

#[test]
fn s30_one_for_one_restarts_only_the_failed_child() {
    let mut law = law(OneForOne, Limit::new(2, HOUR), &[Permanent, Permanent]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_eq!(
        law.exited(ms(1), ChildId(2), Failed),
        restart(&[], &[], &[2])
    );
    assert_eq!(law.exited(ms(2), ChildId(1), Failed), escalate(&[2]));
}

#[test]
fn s31_one_for_one_escalates_when_failing_restarts_use_up_the_limit() {
    let mut law = law(OneForOne, Limit::new(4, HOUR), &[Permanent, Permanent]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    for retry in 1..4 {
        assert_eq!(
            law.start_failed(ms(retry), ChildId(1)),
            restart(&[], &[], &[1])
        );
    }
    assert_eq!(law.start_failed(ms(4), ChildId(1)), escalate(&[2]));
}

#[test]
fn s32_one_for_all_restarts_all() {
    let mut law = law(OneForAll, Limit::new(2, HOUR), &[Permanent; 3]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[3, 2], &[], &[1, 2, 3])
    );
    assert_eq!(
        law.exited(ms(1), ChildId(2), Failed),
        restart(&[3, 1], &[], &[1, 2, 3])
    );
    assert_eq!(law.exited(ms(2), ChildId(3), Failed), escalate(&[2, 1]));
}

#[test]
fn s33_one_for_all_escalates_when_another_child_cannot_restart() {
    let mut law = law(OneForAll, Limit::new(2, HOUR), &[Permanent, Permanent]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[2], &[], &[1, 2])
    );
    assert_eq!(
        law.start_failed(ms(1), ChildId(2)),
        restart(&[1], &[], &[1, 2])
    );
    assert_eq!(law.start_failed(ms(2), ChildId(2)), escalate(&[1]));
}

#[test]
fn s34_one_for_all_tries_the_whole_group_again_when_another_start_fails() {
    let mut law = law(OneForAll, Limit::new(3, HOUR), &[Permanent; 3]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[3, 2], &[], &[1, 2, 3])
    );
    assert_eq!(
        law.start_failed(ms(1), ChildId(2)),
        restart(&[3, 1], &[], &[1, 2, 3])
    );
}

#[test]
fn s35_a_dynamic_child_restarts_alone() {
    let mut law = law(Dynamic, Limit::new(2, HOUR), &[Permanent, Permanent]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_children(&law, &[1, 2]);
    assert_eq!(
        law.exited(ms(1), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_eq!(law.exited(ms(2), ChildId(1), Failed), escalate(&[2]));
}

#[test]
fn s38_a_dynamic_supervisor_escalates_when_failing_restarts_use_up_the_limit() {
    let mut law = law(
        Dynamic,
        Limit::new(1, HOUR),
        &[Permanent, Permanent, Permanent],
    );
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_eq!(law.start_failed(ms(1), ChildId(1)), escalate(&[3, 2]));
}

#[test]
fn s41_rest_for_one_restarts_the_failed_child_and_the_later_ones() {
    let mut law = law(RestForOne, Limit::new(2, HOUR), &[Permanent; 4]);
    assert_eq!(
        law.exited(ms(0), ChildId(2), Failed),
        restart(&[4, 3], &[], &[2, 3, 4])
    );
    assert_eq!(
        law.exited(ms(1), ChildId(4), Failed),
        restart(&[], &[], &[4])
    );
    assert_eq!(law.exited(ms(2), ChildId(2), Failed), escalate(&[4, 3, 1]));
}

#[test]
fn s42_rest_for_one_escalates_when_a_later_child_cannot_restart() {
    let mut law = law(RestForOne, Limit::new(1, HOUR), &[Permanent, Permanent]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[2], &[], &[1, 2])
    );
    assert_eq!(law.start_failed(ms(1), ChildId(2)), escalate(&[1]));
}

#[test]
fn s43_rest_for_one_tries_only_the_failed_start_and_the_later_ones_again() {
    let mut law = law(RestForOne, Limit::new(3, HOUR), &[Permanent; 3]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[3, 2], &[], &[1, 2, 3])
    );
    assert_eq!(
        law.start_failed(ms(1), ChildId(2)),
        restart(&[3], &[], &[2, 3])
    );
}

#[test]
fn s57_a_group_restart_also_starts_a_child_that_was_down() {
    let mut law = law(OneForAll, Limit::default(), &[Transient, Permanent]);
    assert_eq!(law.exited(ms(0), ChildId(1), Normal), Verdict::Ignore);
    assert_eq!(
        law.exited(ms(1), ChildId(2), Failed),
        restart(&[1], &[], &[1, 2])
    );
}

#[test]
fn s87_start_order_is_the_order_of_adding_and_not_of_the_ids() {
    let mut law = Law::new(RestForOne, Limit::default(), Backoff::none(), 0);
    for number in [3, 1, 5, 2, 4] {
        law.add(ChildId(number), Permanent);
    }
    assert_children(&law, &[3, 1, 5, 2, 4]);
    assert_eq!(
        law.exited(ms(0), ChildId(5), Failed),
        restart(&[4, 2], &[], &[5, 2, 4])
    );
}

// Restart types.

#[test]
fn s45_permanent_child_that_ends_normally_is_restarted() {
    check_end(Permanent, [Normal; 2], restart(&[], &[], &[1]), &[1, 2]);
}

#[test]
fn s46_transient_child_that_ends_normally_stays_down_and_is_kept() {
    check_end(Transient, [Normal; 2], Verdict::Ignore, &[1, 2]);
}

#[test]
fn s47_temporary_child_that_ends_normally_is_forgotten() {
    check_end(Temporary, [Normal; 2], Verdict::Forget, &[2]);
}

#[test]
fn s48_permanent_child_that_was_shut_down_is_restarted() {
    check_end(Permanent, [Shutdown; 2], restart(&[], &[], &[1]), &[1, 2]);
}

#[test]
fn s49_transient_child_that_was_shut_down_stays_down_and_is_kept() {
    check_end(Transient, [Shutdown; 2], Verdict::Ignore, &[1, 2]);
}

#[test]
fn s50_temporary_child_that_was_shut_down_is_forgotten_and_may_be_added_again() {
    let mut law = law(OneForOne, Limit::default(), &[Temporary, Permanent]);
    assert_eq!(law.exited(ms(0), ChildId(1), Shutdown), Verdict::Forget);
    assert_children(&law, &[2]);
    law.add(ChildId(1), Temporary);
    assert_children(&law, &[2, 1]);
}

#[test]
fn s52_permanent_child_that_failed_is_restarted() {
    check_end(
        Permanent,
        [Failed, Killed],
        restart(&[], &[], &[1]),
        &[1, 2],
    );
}

#[test]
fn s53_transient_child_that_failed_is_restarted() {
    check_end(
        Transient,
        [Failed, Killed],
        restart(&[], &[], &[1]),
        &[1, 2],
    );
}

#[test]
fn s54_temporary_child_that_failed_is_forgotten() {
    check_end(Temporary, [Failed, Killed], Verdict::Forget, &[2]);
}

#[test]
fn s55_temporary_bystander_is_stopped_and_forgotten() {
    for strategy in [OneForAll, RestForOne] {
        let mut law = law(
            strategy,
            Limit::default(),
            &[Permanent, Temporary, Transient, Temporary],
        );
        let verdict = law.exited(ms(0), ChildId(1), Normal);
        assert_eq!(verdict, restart(&[4, 3, 2], &[4, 2], &[1, 3]), "{strategy}");
        assert_children(&law, &[1, 3]);
        assert_eq!(
            law.exited(ms(1), ChildId(2), Failed),
            Verdict::Ignore,
            "{strategy}"
        );
    }
}

#[test]
fn a_temporary_child_never_takes_its_group_along() {
    for (strategy, exit) in STRATEGIES
        .into_iter()
        .flat_map(|s| EXITS.map(|exit| (s, exit)))
    {
        let mut law = law(strategy, Limit::new(0, HOUR), &[Temporary, Permanent]);
        assert_eq!(
            law.exited(ms(0), ChildId(1), exit),
            Verdict::Forget,
            "{strategy} {exit:?}"
        );
        assert_children(&law, &[2]);
    }
}

#[test]
fn a_transient_child_that_ends_clean_leaves_a_dynamic_supervisor() {
    for exit in [Normal, Shutdown] {
        let mut law = law(Dynamic, Limit::default(), &[Transient, Permanent]);
        assert_eq!(
            law.exited(ms(0), ChildId(1), exit),
            Verdict::Forget,
            "{exit:?}"
        );
        assert_children(&law, &[2]);
    }
}

#[test]
fn a_failed_start_is_tried_again_unless_the_child_is_temporary() {
    let mut law = law(
        OneForOne,
        Limit::new(2, HOUR),
        &[Permanent, Transient, Temporary],
    );
    assert_eq!(law.start_failed(ms(0), ChildId(1)), restart(&[], &[], &[1]));
    assert_eq!(law.start_failed(ms(0), ChildId(2)), restart(&[], &[], &[2]));
    assert_eq!(law.start_failed(ms(0), ChildId(3)), Verdict::Forget);
    assert_children(&law, &[1, 2]);
}

// The limit.

#[test]
fn x02_a_restart_exactly_as_old_as_the_window_still_counts() {
    let limit = Limit::new(1, ms(5000));
    let mut at_the_edge = law(OneForOne, limit, &[Permanent]);
    assert_eq!(
        at_the_edge.exited(ms(1000), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    let mut past_the_edge = at_the_edge.clone();
    assert_eq!(
        at_the_edge.exited(ms(6000), ChildId(1), Failed),
        escalate(&[])
    );
    let verdict = past_the_edge.exited(ms(6000) + Duration::from_nanos(1), ChildId(1), Failed);
    assert_eq!(verdict, restart(&[], &[], &[1]));
}

#[test]
fn x02_the_restarts_of_all_children_count_together() {
    let mut law = law(OneForOne, Limit::new(2, HOUR), &[Permanent; 3]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_eq!(
        law.exited(ms(1), ChildId(2), Failed),
        restart(&[], &[], &[2])
    );
    assert_eq!(law.exited(ms(2), ChildId(3), Failed), escalate(&[2, 1]));
}

#[test]
fn x02_without_a_restart_allowed_the_first_one_escalates() {
    let mut law = law(OneForAll, Limit::new(0, ms(5000)), &[Permanent, Permanent]);
    assert_eq!(law.exited(ms(0), ChildId(2), Failed), escalate(&[1]));
}

#[test]
fn x02_the_default_is_one_restart_in_five_seconds() {
    assert_eq!(Limit::default().restarts(), 1);
    assert_eq!(Limit::default().within(), ms(5000));
    let mut law = law(OneForOne, Limit::default(), &[Permanent]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_eq!(law.exited(ms(5000), ChildId(1), Failed), escalate(&[]));
}

#[test]
fn x03_a_supervisor_that_escalated_is_restarted_by_its_own_only_if_permanent() {
    for (entry, expected) in [
        (Permanent, restart(&[], &[], &[1])),
        (Transient, Verdict::Ignore),
    ] {
        let mut child = law(OneForOne, Limit::new(0, HOUR), &[Permanent]);
        assert_eq!(child.exited(ms(0), ChildId(1), Failed), escalate(&[]));
        // `Verdict::Escalate` says that the supervisor ends with `Shutdown`.
        let mut parent = law(OneForOne, Limit::default(), &[entry]);
        assert_eq!(
            parent.exited(ms(0), ChildId(1), Shutdown),
            expected,
            "{entry}"
        );
    }
}

#[test]
fn x04_every_try_of_a_start_counts_as_a_restart() {
    let mut law = law(OneForOne, Limit::new(9, HOUR), &[Permanent]);
    let _ = law.exited(ms(0), ChildId(1), Failed);
    let _ = law.start_failed(ms(1), ChildId(1));
    let _ = law.start_failed(ms(2), ChildId(1));
    assert_eq!(law.restarts_in_window(ms(2)), 3);
}

#[test]
fn x09_a_group_restart_costs_one_restart() {
    for strategy in [OneForAll, RestForOne] {
        let mut law = law(strategy, Limit::new(1, HOUR), &[Permanent; 50]);
        let _ = law.exited(ms(0), ChildId(1), Failed);
        assert_eq!(law.restarts_in_window(ms(0)), 1, "{strategy}");
    }
}

#[test]
fn x10_a_group_stops_in_reverse_and_starts_in_order_without_its_temporary_members() {
    let children = [
        Temporary, Permanent, Temporary, Permanent, Transient, Temporary,
    ];
    let mut all = law(OneForAll, Limit::default(), &children);
    let verdict = all.exited(ms(0), ChildId(4), Failed);
    assert_eq!(verdict, restart(&[6, 5, 3, 2, 1], &[6, 3, 1], &[2, 4, 5]));
    let mut rest = law(RestForOne, Limit::default(), &children);
    let verdict = rest.exited(ms(0), ChildId(2), Failed);
    assert_eq!(verdict, restart(&[6, 5, 4, 3], &[6, 3], &[2, 4, 5]));
    assert_children(&rest, &[1, 2, 4, 5]);
}

#[test]
fn x12_restarts_multiply_over_the_levels() {
    let limit = Limit::new(3, HOUR);
    let mut top = law(OneForOne, limit, &[Permanent]);
    let mut starts = 0;
    loop {
        let mut inner = law(OneForOne, limit, &[Permanent]);
        loop {
            starts += 1;
            match inner.exited(ms(0), ChildId(1), Failed) {
                Verdict::Escalate { .. } => break,
                _ => continue,
            }
        }
        if let Verdict::Escalate { .. } = top.exited(ms(0), ChildId(1), Shutdown) {
            break;
        }
    }
    assert_eq!(starts, (3 + 1) * (3 + 1));
}

#[test]
fn the_window_is_forgotten_as_it_slides() {
    let mut law = law(OneForOne, Limit::new(4, ms(100)), &[Permanent]);
    for at in [0, 50, 100] {
        let _ = law.exited(ms(at), ChildId(1), Failed);
    }
    let counts = [100, 101, 150, 151, 200, 201].map(|at| law.restarts_in_window(ms(at)));
    assert_eq!(counts, [3, 2, 2, 1, 1, 0]);
}

#[test]
fn the_window_holds_no_more_than_one_restart_over_the_limit() {
    let mut law = law(OneForOne, Limit::new(3, HOUR), &[Permanent]);
    for at in 0..100 {
        let _ = law.exited(ms(at), ChildId(1), Failed);
    }
    assert_eq!(law.restarts_in_window(ms(100)), 4);
    // And it is the latest that are held: the window of the last one reaches to the end.
    assert_eq!(law.restarts_in_window(HOUR + ms(96)), 4);
}

#[test]
fn the_ratio_says_how_much_of_the_limit_is_used() {
    let mut four = law(OneForOne, Limit::new(4, HOUR), &[Permanent]);
    let mut zero = law(OneForOne, Limit::new(0, HOUR), &[Permanent]);
    let mut ratios = vec![];
    for at in 0..6 {
        ratios.push(four.limit_used_ratio(ms(at)));
        let _ = four.exited(ms(at), ChildId(1), Failed);
    }
    assert_eq!(ratios, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]);
    assert_eq!(zero.limit_used_ratio(ms(0)), 0.0);
    let _ = zero.exited(ms(0), ChildId(1), Failed);
    assert_eq!(zero.limit_used_ratio(ms(0)), 1.0);
}

#[test]
fn a_clock_that_goes_back_does_not_lose_the_limit() {
    let mut law = law(OneForOne, Limit::new(2, ms(5000)), &[Permanent]);
    assert_eq!(
        law.exited(ms(60_000), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_eq!(
        law.exited(ms(1000), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_eq!(law.restarts_in_window(ms(0)), 2);
    assert_eq!(law.exited(ms(7000), ChildId(1), Failed), escalate(&[]));
    assert_eq!(
        law.exited(ms(65_001), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    // A later time was seen, though it was not worth a restart.
    assert_eq!(law.exited(HOUR, ChildId(9), Failed), Verdict::Ignore);
    assert_eq!(law.restarts_in_window(ms(65_001)), 0);
}

// The book.

#[test]
fn x06_the_end_of_an_unknown_child_is_ignored() {
    for strategy in STRATEGIES {
        let mut law = law(strategy, Limit::new(0, HOUR), &[Permanent]);
        assert_eq!(
            law.exited(ms(0), ChildId(9), Failed),
            Verdict::Ignore,
            "{strategy}"
        );
        assert_eq!(
            law.start_failed(ms(0), ChildId(9)),
            Verdict::Ignore,
            "{strategy}"
        );
        assert_eq!(law.restarts_in_window(ms(0)), 0, "{strategy}");
    }
}

#[test]
fn adding_a_child_again_changes_nothing() {
    let mut law = law(OneForOne, Limit::default(), &[Permanent, Permanent]);
    law.add(ChildId(1), Temporary);
    assert_children(&law, &[1, 2]);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Normal),
        restart(&[], &[], &[1])
    );
}

#[test]
fn a_removed_child_is_unknown_and_comes_back_at_the_end() {
    let mut law = law(OneForAll, Limit::new(2, HOUR), &[Permanent; 3]);
    assert!(law.remove(ChildId(2)));
    assert!(!law.remove(ChildId(2)));
    assert_eq!(law.exited(ms(0), ChildId(2), Failed), Verdict::Ignore);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[3], &[], &[1, 3])
    );
    law.add(ChildId(2), Permanent);
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[2, 3], &[], &[1, 3, 2])
    );
}

#[test]
fn removing_a_child_does_not_give_its_restarts_back() {
    let mut law = law(OneForOne, Limit::new(1, HOUR), &[Permanent, Permanent]);
    let _ = law.exited(ms(0), ChildId(1), Failed);
    law.remove(ChildId(1));
    assert_eq!(law.exited(ms(1), ChildId(2), Failed), escalate(&[]));
}

// The words.

#[test]
fn names_are_those_of_otp() {
    let strategies = STRATEGIES.map(|strategy| strategy.to_string());
    assert_eq!(
        strategies,
        ["one_for_one", "one_for_all", "rest_for_one", "dynamic"]
    );
    let restarts = [Permanent, Transient, Temporary].map(|restart| restart.to_string());
    assert_eq!(restarts, ["permanent", "transient", "temporary"]);
    assert_eq!(format!("[{:>10}]", Restart::default()), "[ permanent]");
}

#[test]
fn clean_ends_are_normal_and_shutdown() {
    assert_eq!(EXITS.map(Exit::is_clean), [true, true, false, false]);
}

// The back-off.

/// The waits of a child that fails whenever it has been started.
fn waits(backoff: Backoff, seed: u64, count: usize) -> Vec<Duration> {
    let mut law = backing_off(backoff, seed);
    let mut now = ms(0);
    std::iter::repeat_with(|| {
        let wait = after(law.exited(now, ChildId(1), Failed));
        now = now.saturating_add(wait);
        wait
    })
    .take(count)
    .collect()
}

#[track_caller]
fn check_waits(backoff: Backoff, expected_ms: &[u64]) {
    let expected: Vec<_> = expected_ms.iter().copied().map(ms).collect();
    assert_eq!(waits(backoff.jitter(0.0), 0, expected.len()), expected);
}

#[test]
fn the_default_backoff_starts_at_once_and_doubles_up_to_thirty_seconds() {
    let expected = [
        0, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
    ];
    check_waits(Backoff::default(), &expected);
}

#[test]
fn an_exponential_backoff_waits_before_the_first_restart_too() {
    check_waits(Backoff::exponential(ms(10), ms(50)), &[10, 20, 40, 50, 50]);
    check_waits(
        Backoff::exponential(ms(10), ms(50)).immediate_first(),
        &[0, 10, 20, 40, 50],
    );
}

#[test]
fn no_backoff_never_waits() {
    assert_eq!(waits(Backoff::none(), 1, 5), [Duration::ZERO; 5]);
    assert_eq!(
        waits(Backoff::none().factor(f64::INFINITY), 1, 5),
        [Duration::ZERO; 5]
    );
}

#[test]
fn a_backoff_out_of_range_is_brought_into_it() {
    let backoff = Backoff::exponential(ms(10), ms(1000));
    for factor in [f64::NAN, f64::NEG_INFINITY, -3.0, 0.0, 0.5] {
        check_waits(backoff.factor(factor), &[10, 10, 10]);
    }
    check_waits(backoff.factor(f64::INFINITY), &[10, 1000, 1000]);
    check_waits(Backoff::exponential(ms(70), ms(30)), &[30, 30]);
    let nothing = Backoff::exponential(ms(0), ms(1000));
    check_waits(nothing.factor(f64::INFINITY), &[0, 0, 0]);

    for jitter in [f64::NAN, f64::NEG_INFINITY, -1.0] {
        assert_eq!(backoff.jitter(jitter), backoff.jitter(0.0));
    }
    assert_eq!(backoff.jitter(f64::INFINITY), backoff.jitter(1.0));

    let endless = Backoff::exponential(ms(10), Duration::MAX)
        .factor(1e9)
        .jitter(0.0);
    assert_eq!(waits(endless, 0, 9).last(), Some(&Duration::MAX));
}

#[test]
fn a_quiet_child_is_counted_anew() {
    let backoff = Backoff::exponential(ms(100), HOUR)
        .jitter(0.0)
        .reset_after(ms(10_000));
    let mut law = backing_off(backoff, 0);
    assert_eq!(after(law.exited(ms(0), ChildId(1), Failed)), ms(100));
    // One millisecond less than quiet since its start at 100 ms.
    assert_eq!(after(law.exited(ms(10_099), ChildId(1), Failed)), ms(200));
    // Quiet since its start at 10,299 ms.
    assert_eq!(after(law.exited(ms(20_299), ChildId(1), Failed)), ms(100));
    assert_eq!(after(law.exited(ms(20_399), ChildId(1), Failed)), ms(200));
}

#[test]
fn the_wait_itself_is_no_quiet_time() {
    let backoff = Backoff::exponential(ms(100), HOUR).reset_after(ms(150));
    check_waits(backoff, &[100, 200, 400, 800, 1600]);
}

#[test]
fn with_nothing_to_be_quiet_for_every_failure_is_a_first_one() {
    check_waits(
        Backoff::exponential(ms(100), HOUR).reset_after(ms(0)),
        &[100, 100, 100],
    );
}

#[test]
fn by_default_a_child_is_quiet_after_ten_seconds() {
    let mut law = backing_off(Backoff::default().jitter(0.0), 0);
    let failures = [0, 9_999, 20_048, 30_148].map(ms);
    let waits = failures.map(|at| after(law.exited(at, ChildId(1), Failed)));
    assert_eq!(waits, [0, 50, 100, 0].map(ms));
}

#[test]
fn each_child_is_counted_by_itself_and_not_with_its_siblings() {
    let backoff = Backoff::exponential(ms(100), HOUR).jitter(0.0);
    let mut law = Law::new(OneForAll, Limit::new(9, HOUR), backoff, 0);
    law.add(ChildId(1), Permanent);
    law.add(ChildId(2), Permanent);
    assert_eq!(after(law.exited(ms(0), ChildId(1), Failed)), ms(100));
    assert_eq!(after(law.start_failed(ms(100), ChildId(2))), ms(100));
    assert_eq!(after(law.exited(ms(200), ChildId(1), Failed)), ms(200));
    assert_eq!(after(law.start_failed(ms(400), ChildId(2))), ms(200));
}

#[test]
fn a_permanent_child_that_ends_clean_backs_off_too() {
    let mut law = backing_off(Backoff::exponential(ms(100), HOUR).jitter(0.0), 0);
    assert_eq!(after(law.exited(ms(0), ChildId(1), Normal)), ms(100));
    assert_eq!(after(law.exited(ms(100), ChildId(1), Shutdown)), ms(200));
}

#[test]
fn waits_at_the_maximum_are_spread_below_it() {
    let mut waits = waits(Backoff::exponential(ms(1000), ms(1000)), 3, 100);
    assert!(
        waits.iter().all(|wait| (ms(800)..=ms(1000)).contains(wait)),
        "{waits:?}"
    );
    waits.sort();
    waits.dedup();
    assert_eq!(waits.len(), 100);
}

#[test]
fn jitter_uses_its_whole_range() {
    let waits = waits(
        Backoff::exponential(ms(1000), HOUR).factor(1.0).jitter(0.5),
        3,
        200,
    );
    assert!(waits.iter().any(|&wait| wait < ms(550)), "{waits:?}");
    assert!(waits.iter().any(|&wait| wait > ms(1450)), "{waits:?}");
}

#[test]
fn neighbouring_seeds_draw_different_waits() {
    let backoff = Backoff::exponential(ms(1000), HOUR);
    assert_ne!(waits(backoff, 1, 1), waits(backoff, 2, 1));
}

#[test]
fn the_generator_is_splitmix64() {
    // The reference values of https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64.
    let mut dice = SplitMix64(1_234_567);
    let drawn = [dice.next(), dice.next(), dice.next()];
    assert_eq!(
        drawn,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423
        ]
    );
}
