//! The roster against a `BTreeMap`, which it stands for.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::Roster;

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(u64),
    /// Enters one that is numbered higher than all before by so many.
    Push(u64),
    /// Takes the lowest out.
    Shift,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..60_u64).prop_map(Step::Insert),
        (0..60_u64).prop_map(Step::Remove),
        (1..3_u64).prop_map(Step::Push),
        Just(Step::Shift),
    ]
}

proptest! {
    #[test]
    fn it_holds_what_a_tree_would_hold(
        steps in prop::collection::vec(step(), 0..200),
        ranges in prop::collection::vec((0..70_u64, 0..70_u64), 8),
    ) {
        let (mut roster, mut tree) = (Roster::new(), BTreeMap::new());
        let mut highest = 0;
        for (value, step) in steps.into_iter().enumerate() {
            let number = match step {
                Step::Insert(number) => number,
                Step::Push(ahead) => highest + ahead,
                Step::Remove(number) => {
                    prop_assert_eq!(roster.remove(number), tree.remove(&number));
                    continue;
                }
                Step::Shift => {
                    let Some((number, value)) = tree.pop_first() else { continue };
                    prop_assert_eq!(roster.remove(number), Some(value));
                    continue;
                }
            };
            highest = highest.max(number);
            prop_assert_eq!(roster.insert(number, value), tree.insert(number, value));
            if let Some(value) = roster.get_mut(number) {
                *value += 1;
            }
            tree.entry(number).and_modify(|value| *value += 1);
            prop_assert_eq!(roster.len(), tree.len());
        }
        let of_tree = || tree.iter().map(|(number, value)| (*number, value));
        prop_assert!(roster.iter().eq(of_tree()));
        prop_assert!(roster.iter().rev().eq(of_tree().rev()));
        prop_assert_eq!(roster.iter().len(), tree.len());
        for (first, last) in ranges {
            if first <= last {
                let of_tree = tree.range(first..=last).map(|(number, value)| (*number, value));
                prop_assert!(roster.range(first..=last).eq(of_tree));
            }
            let of_tree = tree.range(first..).map(|(number, value)| (*number, value));
            prop_assert!(roster.range(first..=u64::MAX).eq(of_tree));
            prop_assert_eq!(roster.get(first), tree.get(&first));
        }
    }
}

#[test]
fn children_that_come_and_go_leave_no_places_behind() {
    let mut roster = Roster::new();
    for number in 0..100_000 {
        roster.insert(number, number);
        if let Some(gone) = number.checked_sub(10) {
            assert_eq!(roster.remove(gone), Some(gone));
        }
        let places = roster.places();
        assert!(places < 64, "{places} places for 10 children");
    }
}
