//! Bugs that are put into the runtime on purpose are found within a thousand seeds, and made short.
//!
//! `.ci/prove planted` builds the runtime with them, in a directory of its own.

use greenroom::planted::{Bug, plant};
use greenroom_testkit::storm::storm;

/// Plants a bug, and expects it to be found by this check, and again in ten of ten runs of its seed.
#[track_caller]
fn check(bug: Bug, key: &str) {
    plant(Some(bug));
    let storm = storm();
    let found = (0..1000).find_map(|seed| storm.find_in(seed));
    let found = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
    println!("{bug:?}: {found}");
    assert!(found.what.starts_with(key), "{found}");
    assert!(found.choices < found.choices_before.max(2), "{found}");
    assert!(
        found.trace.len() < 60,
        "{} lines: {found}",
        found.trace.len()
    );
    assert!(found.is_repeated, "{found}");
    let again = storm.find_in(found.seed).map(|again| again.to_string());
    assert_eq!(again, Some(found.to_string()));
    let as_it_was = storm.tries(0);
    for _ in 0..10 {
        let again = as_it_was.find_in(found.seed);
        assert_eq!(again.map(|again| again.what), Some(found.what.clone()));
    }
    plant(None);
    assert!(
        as_it_was.find_in(found.seed).is_none(),
        "it is the bug that was found"
    );
}

#[test]
fn a_lost_wake_up_is_found() {
    check(Bug::LostWakeUp, "rest");
}

#[test]
fn a_message_that_is_handled_twice_after_a_restart_is_found() {
    check(Bug::HandledTwice, "order");
}

#[test]
fn a_limit_that_is_off_by_one_is_found() {
    check(Bug::LimitOffByOne, "limits");
}

#[test]
fn a_failure_that_is_counted_as_handled_is_found() {
    check(Bug::FailedAsHandled, "conservation");
}

#[test]
fn without_a_bug_nothing_is_found() {
    let storm = storm();
    assert!((0..200).all(|seed| storm.find_in(seed).is_none()));
}
