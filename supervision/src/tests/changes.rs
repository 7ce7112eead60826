//! What is ordered from outside: children stopped, started and removed, settings changed.

use super::*;

/// Strikes out, keeps: what becomes of a child of each restart type that is stopped by order.
#[track_caller]
fn check_stopped(strategy: Strategy, expected: [Verdict; 3], children: &[u64]) {
    let mut law = law(
        strategy,
        Limit::new(0, HOUR),
        &[Permanent, Transient, Temporary],
    );
    let verdicts = [1, 2, 3].map(|number| law.stopped(ChildId(number)));
    assert_eq!(verdicts, expected, "{strategy}");
    assert_children(&law, children);
    assert_eq!(law.restarts_in_window(ms(0)), 0, "{strategy}");
}

#[test]
fn s23_a_child_stopped_by_order_is_kept_and_may_be_stopped_again() {
    let mut law = law(OneForOne, Limit::new(0, HOUR), &[Permanent]);
    for _ in 0..2 {
        assert_eq!(law.stopped(ChildId(1)), Verdict::Ignore);
        assert_children(&law, &[1]);
    }
    assert_eq!(law.stopped(ChildId(9)), Verdict::Ignore);
}

#[test]
fn s23_a_child_stopped_by_order_may_be_started_again_or_removed() {
    let mut law = law(OneForOne, Limit::default(), &[Permanent]);
    assert_eq!(law.stopped(ChildId(1)), Verdict::Ignore);
    law.started(ChildId(1));
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
    assert_eq!(law.stopped(ChildId(1)), Verdict::Ignore);
    assert!(law.remove(ChildId(1)));
    law.started(ChildId(1));
    assert_children(&law, &[]);
}

#[test]
fn s24_a_dynamic_supervisor_forgets_whom_it_is_told_to_stop() {
    check_stopped(Dynamic, [(); 3].map(|()| Verdict::Forget), &[]);
}

#[test]
fn s77_of_those_stopped_by_order_only_the_temporary_ones_are_forgotten() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        let expected = [Verdict::Ignore, Verdict::Ignore, Verdict::Forget];
        check_stopped(strategy, expected, &[1, 2]);
    }
}

#[test]
fn s03_a_child_that_has_nothing_to_start_is_kept() {
    let mut law = law(OneForOne, Limit::default(), &[Permanent, Permanent]);
    assert_eq!(law.stopped(ChildId(2)), Verdict::Ignore);
    assert_children(&law, &[1, 2]);
}

#[test]
fn s04_a_temporary_child_that_has_nothing_to_start_is_not_kept() {
    let mut law = law(OneForOne, Limit::default(), &[Permanent, Temporary]);
    assert_eq!(law.stopped(ChildId(2)), Verdict::Forget);
    assert_children(&law, &[1]);
}

#[test]
fn s40_a_dynamic_child_that_has_nothing_to_start_again_is_dropped() {
    for kind in [Permanent, Transient] {
        let mut law = law(Dynamic, Limit::new(10, HOUR), &[kind]);
        assert_eq!(
            law.exited(ms(0), ChildId(1), Killed),
            restart(&[], &[], &[1]),
            "{kind}"
        );
        assert_eq!(law.stopped(ChildId(1)), Verdict::Forget, "{kind}");
        assert_children(&law, &[]);
    }
}

#[test]
fn s57_a_child_stopped_by_order_comes_back_with_its_group() {
    let mut law = law(OneForAll, Limit::default(), &[Permanent, Permanent]);
    assert_eq!(law.stopped(ChildId(1)), Verdict::Ignore);
    assert_eq!(
        law.exited(ms(0), ChildId(2), Failed),
        restart(&[1], &[], &[1, 2])
    );
}

#[test]
fn s83_a_new_limit_counts_the_restarts_that_were_before() {
    let mut law = law(OneForOne, Limit::new(4, HOUR), &[Permanent]);
    for at in 0..3 {
        let _ = law.exited(ms(at), ChildId(1), Failed);
    }
    let mut lowered = law.clone();
    lowered.set_limit(Limit::new(2, HOUR));
    assert_eq!(lowered.restarts_in_window(ms(3)), 3);
    let mut raised = lowered.clone();
    assert_eq!(lowered.exited(ms(3), ChildId(1), Failed), escalate(&[]));

    raised.set_limit(Limit::new(4, HOUR));
    for (at, expected) in [(3, restart(&[], &[], &[1])), (4, escalate(&[]))] {
        assert_eq!(raised.exited(ms(at), ChildId(1), Failed), expected);
    }

    let mut shortened = law;
    shortened.set_limit(Limit::new(1, ms(1)));
    assert_eq!(
        shortened.exited(ms(4), ChildId(1), Failed),
        restart(&[], &[], &[1])
    );
}

#[test]
fn s83_a_new_strategy_holds_from_the_next_end_on() {
    let mut law = law(OneForOne, Limit::new(9, HOUR), &[Permanent; 3]);
    for (strategy, expected) in [
        (OneForOne, restart(&[], &[], &[2])),
        (OneForAll, restart(&[3, 1], &[], &[1, 2, 3])),
        (RestForOne, restart(&[3], &[], &[2, 3])),
        (Dynamic, restart(&[], &[], &[2])),
    ] {
        law.set_strategy(strategy);
        assert_eq!(
            law.exited(ms(0), ChildId(2), Failed),
            expected,
            "{strategy}"
        );
    }
}

#[test]
fn s83_new_terms_hold_from_the_next_end_on_and_leave_the_child_in_its_place() {
    let mut law = law(RestForOne, Limit::new(9, HOUR), &[Permanent; 3]);
    assert!(law.set_terms(ChildId(2), Transient, false));
    assert_eq!(law.exited(ms(0), ChildId(2), Normal), Verdict::Ignore);
    assert_children(&law, &[1, 2, 3]);
    assert!(law.set_terms(ChildId(2), Temporary, false));
    assert_eq!(
        law.exited(ms(0), ChildId(1), Failed),
        restart(&[3, 2], &[2], &[1, 3])
    );
    assert!(!law.set_terms(ChildId(2), Permanent, false));
    assert_children(&law, &[1, 3]);
}

#[test]
fn s83_a_new_backoff_goes_on_where_the_one_before_was() {
    let mut law = backing_off(Backoff::none(), 0);
    for at in 0..2 {
        assert_eq!(after(law.exited(ms(at), ChildId(1), Failed)), ms(0));
    }
    law.set_backoff(Backoff::exponential(ms(100), HOUR).jitter(0.0));
    // The third failure in a row.
    assert_eq!(after(law.exited(ms(2), ChildId(1), Failed)), ms(400));
}
