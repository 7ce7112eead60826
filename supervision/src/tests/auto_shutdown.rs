//! Significant children, and when their end is the end of the supervisor.

use super::*;

use AutoShutdown::{AllSignificant, AnySignificant, Never};

const RULES: [AutoShutdown; 3] = [Never, AnySignificant, AllSignificant];
const NOT_DYNAMIC: [Strategy; 3] = [OneForOne, OneForAll, RestForOne];

/// A law without back-off and with a large limit, whose children are numbered from 1.
fn ruled(strategy: Strategy, rule: AutoShutdown, children: &[(Restart, bool)]) -> Law {
    let mut law = Law::new(strategy, Limit::new(99, HOUR), Backoff::none(), 0).auto_shutdown(rule);
    for (number, &(restart, is_significant)) in (1..).zip(children) {
        if is_significant {
            law.add_significant(ChildId(number), restart);
        } else {
            law.add(ChildId(number), restart);
        }
    }
    law
}

fn shut_down(stop: &[u64]) -> Verdict {
    Verdict::AutoShutdown { stop: ids(stop) }
}

#[track_caller]
fn check_exit(law: &mut Law, child: u64, exit: Exit, expected: Verdict) {
    assert_eq!(
        law.exited(ms(0), ChildId(child), exit),
        expected,
        "{child} {exit:?}"
    );
}

#[test]
fn s58_the_end_of_a_nonsignificant_temporary_child_ends_nobody() {
    for (rule, strategy) in RULES.into_iter().flat_map(|r| STRATEGIES.map(|s| (r, s))) {
        let children = [(Temporary, false), (Temporary, true), (Permanent, false)];
        let law = ruled(strategy, rule, &children);
        assert_eq!(law.clone().stopped(ChildId(1)), Verdict::Forget);
        for exit in EXITS {
            check_exit(&mut law.clone(), 1, exit, Verdict::Forget);
        }
    }
}

#[test]
fn s59_the_end_of_a_nonsignificant_transient_child_ends_nobody() {
    for rule in RULES {
        let law = ruled(OneForOne, rule, &[(Transient, false), (Transient, true)]);
        assert_eq!(law.clone().stopped(ChildId(1)), Verdict::Ignore);
        for exit in [Failed, Killed] {
            check_exit(&mut law.clone(), 1, exit, restart(&[], &[], &[1]));
        }
        for exit in [Normal, Shutdown] {
            check_exit(&mut law.clone(), 1, exit, Verdict::Ignore);
        }
    }
}

#[test]
fn s60_a_significant_temporary_child_ends_the_supervisor_however_it_ends() {
    let children = [(Temporary, true), (Temporary, true), (Temporary, false)];
    for (strategy, exit) in NOT_DYNAMIC
        .into_iter()
        .flat_map(|s| EXITS.map(|exit| (s, exit)))
    {
        let mut any = ruled(strategy, AnySignificant, &children);
        check_exit(&mut any, 1, exit, shut_down(&[3, 2]));
        let mut all = ruled(strategy, AllSignificant, &children);
        check_exit(&mut all, 1, exit, Verdict::Forget);
        check_exit(&mut all, 2, exit, shut_down(&[3]));
    }
}

#[test]
fn s60_a_significant_temporary_child_that_is_stopped_by_order_ends_nobody() {
    for rule in RULES {
        let mut law = ruled(OneForOne, rule, &[(Temporary, true), (Permanent, false)]);
        assert_eq!(law.stopped(ChildId(1)), Verdict::Forget, "{rule}");
        assert_children(&law, &[2]);
    }
}

#[test]
fn s61_a_significant_transient_child_ends_the_supervisor_when_it_ends_clean() {
    let children = [(Transient, true), (Transient, true), (Transient, false)];
    for (strategy, exit) in NOT_DYNAMIC
        .into_iter()
        .flat_map(|s| [Normal, Shutdown].map(|exit| (s, exit)))
    {
        let mut any = ruled(strategy, AnySignificant, &children);
        check_exit(&mut any, 1, exit, shut_down(&[3, 2]));
        let mut all = ruled(strategy, AllSignificant, &children);
        check_exit(&mut all, 1, exit, Verdict::Ignore);
        check_exit(&mut all, 2, exit, shut_down(&[3, 1]));
    }
}

#[test]
fn s61_a_significant_transient_child_that_fails_or_is_stopped_by_order_ends_nobody() {
    for rule in RULES {
        let mut law = ruled(OneForOne, rule, &[(Transient, true), (Transient, true)]);
        assert_eq!(law.stopped(ChildId(1)), Verdict::Ignore, "{rule}");
        law.started(ChildId(1));
        for exit in [Failed, Killed] {
            check_exit(&mut law, 1, exit, restart(&[], &[], &[1]));
        }
        assert_eq!(
            law.start_failed(ms(0), ChildId(1)),
            restart(&[], &[], &[1]),
            "{rule}"
        );
    }
}

#[test]
fn s62_a_dynamic_supervisor_may_not_shut_itself_down() {
    for rule in [AnySignificant, AllSignificant] {
        assert_eq!(rule.check_strategy(Dynamic), Err(BadCombination::Dynamic));
        for strategy in NOT_DYNAMIC {
            assert_eq!(rule.check_strategy(strategy), Ok(()), "{rule} {strategy}");
        }
    }
    for strategy in STRATEGIES {
        assert_eq!(Never.check_strategy(strategy), Ok(()), "{strategy}");
    }
}

#[test]
fn s63_a_significant_child_that_is_stopped_along_with_its_group_ends_nobody() {
    let children = [(Transient, true), (Transient, false), (Transient, true)];
    for rule in [AnySignificant, AllSignificant] {
        for (strategy, expected) in [
            (OneForOne, restart(&[], &[], &[2])),
            (OneForAll, restart(&[3, 1], &[], &[1, 2, 3])),
            (RestForOne, restart(&[3], &[], &[2, 3])),
        ] {
            let mut law = ruled(strategy, rule, &children);
            check_exit(&mut law, 2, Killed, expected);
        }
    }
}

#[test]
fn s63_a_significant_temporary_child_that_its_group_forgets_is_not_waited_for() {
    let children = [(Transient, true), (Permanent, false), (Temporary, true)];
    let mut law = ruled(RestForOne, AllSignificant, &children);
    check_exit(&mut law, 2, Failed, restart(&[3], &[3], &[2]));
    check_exit(&mut law, 1, Normal, shut_down(&[2]));
}

#[test]
fn s64_a_supervisor_that_shut_itself_down_may_be_significant_in_turn() {
    for (is_significant, expected) in [(true, shut_down(&[2])), (false, Verdict::Ignore)] {
        let mut inner = ruled(OneForOne, AnySignificant, &[(Transient, true)]);
        check_exit(&mut inner, 1, Normal, shut_down(&[]));
        // `Verdict::AutoShutdown` says that the supervisor ends with `Shutdown`.
        let children = [(Transient, is_significant), (Permanent, false)];
        let mut outer = ruled(OneForOne, AnySignificant, &children);
        check_exit(&mut outer, 1, Shutdown, expected);
    }
}

/// Two significant transient children under one rule that is changed into another.
fn changed(from: AutoShutdown, to: AutoShutdown) -> Law {
    let mut law = ruled(OneForOne, from, &[(Transient, true), (Transient, true)]);
    law.set_auto_shutdown(to);
    law
}

#[test]
fn s65_from_never_to_any_the_first_end_ends_all() {
    let refused = Never.check_child(Transient);
    assert_eq!(refused, Err(BadCombination::Never));
    assert_eq!(AnySignificant.check_child(Transient), Ok(()));
    check_exit(
        &mut changed(Never, AnySignificant),
        1,
        Normal,
        shut_down(&[2]),
    );
}

#[test]
fn s66_from_any_to_never_no_end_ends_anybody_and_who_stays_down_may_be_started() {
    let mut law = changed(AnySignificant, Never);
    check_exit(&mut law, 1, Normal, Verdict::Ignore);
    law.started(ChildId(1));
    check_exit(&mut law, 2, Normal, Verdict::Ignore);
    assert_children(&law, &[1, 2]);
}

#[test]
fn s67_from_never_to_all_only_the_last_end_ends_all() {
    assert_eq!(AllSignificant.check_child(Transient), Ok(()));
    let mut law = changed(Never, AllSignificant);
    check_exit(&mut law, 1, Normal, Verdict::Ignore);
    check_exit(&mut law, 2, Normal, shut_down(&[1]));
}

#[test]
fn s68_from_all_to_never_not_even_the_last_end_ends_anybody() {
    let mut law = changed(AllSignificant, Never);
    check_exit(&mut law, 1, Normal, Verdict::Ignore);
    check_exit(&mut law, 2, Normal, Verdict::Ignore);
}

#[test]
fn s69_from_any_to_all_the_first_end_does_nothing_and_the_second_ends_all() {
    let mut law = changed(AnySignificant, AllSignificant);
    check_exit(&mut law, 1, Normal, Verdict::Ignore);
    check_exit(&mut law, 2, Normal, shut_down(&[1]));
}

#[test]
fn s70_from_all_to_any_the_first_end_ends_all() {
    check_exit(
        &mut changed(AllSignificant, AnySignificant),
        1,
        Normal,
        shut_down(&[2]),
    );
}

#[test]
fn s71_a_child_is_made_significant_and_insignificant_while_it_runs() {
    for (was, is, expected) in [
        (false, true, shut_down(&[2])),
        (true, false, Verdict::Ignore),
    ] {
        let children = [(Transient, was), (Permanent, false)];
        let mut law = ruled(OneForOne, AnySignificant, &children);
        assert!(law.set_terms(ChildId(1), Transient, is));
        check_exit(&mut law, 1, Normal, expected);
    }
    assert_eq!(Never.check_child(Transient), Err(BadCombination::Never));
}

#[test]
fn s71_a_child_that_is_down_already_is_not_waited_for_once_it_is_significant() {
    let children = [(Transient, false), (Transient, true)];
    let mut law = ruled(OneForOne, AllSignificant, &children);
    check_exit(&mut law, 1, Normal, Verdict::Ignore);
    assert!(law.set_terms(ChildId(1), Transient, true));
    check_exit(&mut law, 2, Normal, shut_down(&[1]));
}

#[test]
fn s27_a_permanent_child_cannot_be_significant() {
    for rule in [AnySignificant, AllSignificant] {
        assert_eq!(
            rule.check_child(Permanent),
            Err(BadCombination::Permanent),
            "{rule}"
        );
        assert_eq!(rule.check_child(Transient), Ok(()), "{rule}");
        assert_eq!(rule.check_child(Temporary), Ok(()), "{rule}");
    }
    // As in OTP the supervisor's fault is named first.
    assert_eq!(Never.check_child(Permanent), Err(BadCombination::Never));
}

#[test]
fn a_child_that_waits_for_its_restart_is_not_done() {
    let mut law = ruled(
        OneForOne,
        AllSignificant,
        &[(Transient, true), (Transient, true)],
    );
    check_exit(&mut law, 1, Failed, restart(&[], &[], &[1]));
    check_exit(&mut law, 2, Normal, Verdict::Ignore);
    assert_eq!(law.start_failed(ms(0), ChildId(1)), restart(&[], &[], &[1]));
    check_exit(&mut law, 1, Normal, shut_down(&[2]));
}

#[test]
fn a_sibling_that_waits_with_its_group_is_not_done_though_otp_says_so() {
    let children = [(Transient, true), (Permanent, false), (Transient, true)];
    let mut law = ruled(RestForOne, AllSignificant, &children);
    check_exit(&mut law, 2, Failed, restart(&[3], &[], &[2, 3]));
    let again = law.start_failed(ms(0), ChildId(2));
    assert_eq!(again, restart(&[3], &[], &[2, 3]));
    check_exit(&mut law, 1, Normal, Verdict::Ignore);
    check_exit(&mut law, 3, Normal, shut_down(&[2, 1]));
}

#[test]
fn who_was_stopped_by_order_is_not_waited_for_until_it_is_started_again() {
    let children = [(Transient, true), (Transient, true)];
    let mut law = ruled(OneForOne, AllSignificant, &children);
    assert_eq!(law.stopped(ChildId(1)), Verdict::Ignore);
    let mut started = law.clone();
    check_exit(&mut law, 2, Normal, shut_down(&[1]));
    started.started(ChildId(1));
    check_exit(&mut started, 2, Normal, Verdict::Ignore);
    check_exit(&mut started, 1, Normal, shut_down(&[2]));
}

#[test]
fn who_comes_back_with_its_group_is_waited_for_again() {
    let children = [(Transient, true), (Transient, true), (Permanent, false)];
    let mut law = ruled(OneForAll, AllSignificant, &children);
    check_exit(&mut law, 1, Normal, Verdict::Ignore);
    check_exit(&mut law, 3, Failed, restart(&[2, 1], &[], &[1, 2, 3]));
    check_exit(&mut law, 2, Normal, Verdict::Ignore);
    check_exit(&mut law, 1, Normal, shut_down(&[3, 2]));
}

#[test]
fn a_significant_child_that_is_removed_is_not_waited_for() {
    let children = [(Transient, true), (Transient, true), (Temporary, true)];
    let mut law = ruled(OneForOne, AllSignificant, &children);
    assert!(law.remove(ChildId(1)));
    check_exit(&mut law, 3, Killed, Verdict::Forget);
    check_exit(&mut law, 2, Normal, shut_down(&[]));
}

#[test]
fn a_shutdown_costs_no_restart() {
    let mut law = ruled(OneForOne, AnySignificant, &[(Temporary, true)]);
    check_exit(&mut law, 1, Failed, shut_down(&[]));
    assert_eq!(law.restarts_in_window(ms(0)), 0);
}

#[test]
fn rules_are_named_as_in_otp_and_errors_say_what_to_do() {
    let names = RULES.map(|rule| rule.to_string());
    assert_eq!(names, ["never", "any_significant", "all_significant"]);
    assert_eq!(AutoShutdown::default(), Never);
    for error in [
        BadCombination::Never,
        BadCombination::Permanent,
        BadCombination::Dynamic,
    ] {
        let text = error.to_string();
        assert!(text.contains(": ") && !text.ends_with('.'), "{text}");
    }
}
