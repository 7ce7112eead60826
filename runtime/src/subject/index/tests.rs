use std::collections::BTreeMap;
use std::hash::BuildHasherDefault;

use super::super::tests::{Dice, naive};
use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn found<T: Copy, S: BuildHasher>(index: &Index<T, S>, subject: &str) -> Vec<(u64, T)> {
    let mut all = Vec::new();
    index.visit(subject, |id, value| all.push((id, *value)));
    all
}

fn looked<T, S: BuildHasher>(index: &Index<T, S>, subject: &str) -> usize {
    index.look(subject, &mut |_, _| {})
}

/// How many nodes there are.
fn nodes<T>(node: &Node<T>) -> usize {
    let mut all = 1 + node.any.as_ref().map_or(0, |any| nodes(any));
    node.named.for_each(&mut |_, child| all += nodes(child));
    all
}

/// Under which one of four numbers all texts are.
#[derive(Clone, Default)]
struct Poor(u64);

impl Hasher for Poor {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = u64::MAX - bytes.iter().fold(0, |sum, b| sum + u64::from(*b)) % 4;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Plays changes on an index and on a plain table, and compares after each what they find.
fn play<S: BuildHasher + Default + Clone>(changes: usize) {
    let mut dice = Dice::new();
    let mut index: Index<usize, S> = Index::default();
    let mut table: BTreeMap<(String, u64), usize> = BTreeMap::new();
    let mut copies = Vec::new();
    for change in 0..changes {
        let (text, id) = (dice.pattern(), dice.roll(3) as u64);
        let key = (text, id);
        if dice.roll(100) < 60 {
            let before = index.insert(&pattern(&key.0), id, change);
            assert_eq!(before, table.insert(key.clone(), change));
        } else {
            let there = table.keys().nth(dice.roll(table.len() + 1)).cloned();
            let (text, id) = there.unwrap_or(key.clone());
            let gone = index.remove(&pattern(&text), id);
            assert_eq!(gone, table.remove(&(text, id)));
        }
        assert_eq!(index.len(), table.len());
        let subject = dice.subject(&key.0);
        check(&index, &table, &subject);
        if change % (changes / 5) == 0 {
            copies.push((index.clone(), table.clone()));
        }
    }
    copies.push((index, table));
    for (mut index, table) in copies {
        for _ in 0..100 {
            let text = dice.pattern();
            check(&index, &table, &dice.subject(&text));
        }
        for ((text, id), value) in &table {
            assert_eq!(index.get(&pattern(text), *id), Some(value));
            assert_eq!(index.remove(&pattern(text), *id), Some(*value));
        }
        assert!(index.is_empty() && index.root.is_empty());
    }
}

#[track_caller]
fn check<S: BuildHasher>(
    index: &Index<usize, S>,
    table: &BTreeMap<(String, u64), usize>,
    subject: &str,
) {
    let matching = table.iter().filter(|((text, _), _)| naive(text, subject));
    let mut expected: Vec<(u64, usize)> = matching.map(|((_, id), v)| (*id, *v)).collect();
    let mut found = found(index, subject);
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "{subject:?} in {table:?}");
}

#[test]
fn it_finds_what_a_search_through_all_patterns_finds_whatever_is_done_to_it() {
    play::<RandomState>(5_000);
}

#[test]
fn it_does_so_where_all_tokens_have_the_same_few_hashes() {
    play::<BuildHasherDefault<Poor>>(2_000);
}

#[test]
fn it_is_visited_from_the_general_to_the_particular_and_then_by_id() {
    let mut index: Index<&str> = Index::new();
    let texts = ["a.b", "*.b", "a.*", "*.*", "a.>", ">", "*.>"];
    for id in [2, 1, 3] {
        for text in texts {
            index.insert(&pattern(text), id, text);
        }
    }
    let order = [">", "*.>", "*.*", "*.b", "a.>", "a.*", "a.b"];
    let expected: Vec<(u64, &str)> = order
        .iter()
        .flat_map(|text| [1, 2, 3].map(|id| (id, *text)))
        .collect();
    assert_eq!(found(&index, "a.b"), expected);
}

#[test]
fn an_id_may_be_under_several_patterns_and_leaves_each_for_itself() {
    let mut index = Index::<u32>::new();
    assert_eq!(index.insert(&pattern("a.*"), 7, 1), None);
    assert_eq!(index.insert(&pattern("*.b"), 7, 2), None);
    assert_eq!(index.insert(&pattern("*.b"), 7, 3), Some(2));
    assert_eq!(
        (index.len(), found(&index, "a.b")),
        (2, vec![(7, 3), (7, 1)])
    );
    assert_eq!(index.remove(&pattern("*.b"), 7), Some(3));
    assert_eq!(found(&index, "a.b"), [(7, 1)]);
    let mut out = vec![9];
    index.matches("a.b", &mut out);
    assert_eq!(out, [9, 1]);
}

#[test]
fn taking_out_what_is_not_there_changes_and_copies_nothing() {
    let mut index = Index::<u32>::new();
    index.insert(&pattern("a.b.c"), 1, 1);
    let copy = index.clone();
    for text in ["a", "a.b", "a.b.>", "a.b.*", "a.b.c.d", ">", "x.y"] {
        assert_eq!(index.remove(&pattern(text), 1), None);
    }
    assert_eq!(index.remove(&pattern("a.b.c"), 2), None);
    assert!(Arc::ptr_eq(&index.root, &copy.root) && index.len() == 1);
}

#[test]
fn all_memory_is_given_back_when_all_are_taken_out() {
    let mut index = Index::new();
    let mut dice = Dice::new();
    let all: Vec<(Pattern, Arc<u64>)> = (0..20_000)
        .map(|id| (pattern(&dice.pattern()), Arc::new(id)))
        .collect();
    for (pattern, value) in &all {
        index.insert(pattern, **value, Arc::clone(value));
    }
    let (half, other) = all.split_at(all.len() / 2);
    for (pattern, value) in half.iter().rev() {
        drop(index.remove(pattern, **value));
        assert_eq!(Arc::strong_count(value), 1);
    }
    // No more nodes than if the first half had never been there.
    let mut fresh: Index<Arc<u64>> = Index::new();
    for (pattern, value) in other {
        fresh.insert(pattern, **value, Arc::clone(value));
    }
    assert_eq!(nodes(&index.root), nodes(&fresh.root));
    for (pattern, value) in other {
        drop(index.remove(pattern, **value));
    }
    assert_eq!(nodes(&index.root), 1);
    assert!(index.root.is_empty() && index.is_empty());
}

#[test]
fn a_subject_looks_at_as_many_nodes_among_ten_patterns_as_among_a_hundred_thousand() {
    let looks = [10, 1_000, 100_000].map(|patterns: u64| {
        let mut index = Index::new();
        for n in 0..patterns {
            let text = match n % 5 {
                0 => format!("home.room{n}.temperature"),
                1 => format!("home.room{}.*", n - 1),
                2 => format!("*.room{}.temperature", n - 2),
                3 => format!("home.room{}.>", n - 3),
                _ => format!("house{n}.>"),
            };
            index.insert(&pattern(&text), n, n);
        }
        assert_eq!(found(&index, "home.room5.temperature").len(), 4);
        [
            "home.room5.temperature",
            "home.room5",
            "house9.a.b.c",
            "x.y.z",
        ]
        .map(|subject| looked(&index, subject))
    });
    assert_eq!(looks[0], [8, 5, 3, 2]);
    assert!(looks.iter().all(|look| *look == looks[0]), "{looks:?}");
}

#[test]
fn wildcards_that_branch_cost_no_more_than_the_patterns_that_were_put_in() {
    // Stars alone are one chain, however many patterns are made of them.
    let mut index = Index::new();
    for len in 1..=Pattern::TOKENS_MAX {
        index.insert(&pattern(&vec!["*"; len].join(".")), 0, ());
    }
    let deep = vec!["a"; 10_000].join(".");
    assert_eq!(looked(&index, &deep), Pattern::TOKENS_MAX + 1);
    assert!(found(&index, &deep).is_empty());
    let deepest = vec!["a"; Pattern::TOKENS_MAX].join(".");
    assert_eq!(found(&index, &deepest).len(), 1);

    // At each token both ways: so many nodes are looked at as there are, and each once.
    const DEPTH: u32 = 10;
    let mut index = Index::new();
    for bits in 0..1u32 << DEPTH {
        let mut text = String::new();
        for i in 0..DEPTH {
            text += if bits >> i & 1 == 0 { "*." } else { "a." };
        }
        index.insert(&pattern(&(text + "x")), 0, ());
    }
    let subject = format!("{}y", "a.".repeat(DEPTH as usize));
    let all_but_leaves = nodes(&index.root) - (1 << DEPTH);
    assert_eq!(looked(&index, &subject), all_but_leaves);
    assert_eq!(all_but_leaves, (1 << (DEPTH + 1)) - 1);
    assert!(found(&index, &subject).is_empty());
}

#[test]
fn a_subject_of_ten_thousand_tokens_is_read_once_and_looked_up_as_deep_as_patterns_go() {
    let mut index = Index::new();
    for (id, text) in [">", "a.>", "a.*.a", "*.>", "b.>"].iter().enumerate() {
        index.insert(&pattern(text), id as u64, *text);
    }
    let deep = vec!["a"; 10_000].join(".");
    let texts: Vec<&str> = found(&index, &deep).iter().map(|(_, text)| *text).collect();
    assert_eq!(texts, [">", "*.>", "a.>"]);
    assert!(looked(&index, &deep) <= 5);
    assert!(found(&index, &format!("{deep}..a")).is_empty());
}

#[test]
fn a_change_beside_a_clone_copies_little_of_a_hundred_thousand() {
    for flat in [true, false] {
        let mut index = Index::new();
        let all: Vec<(Pattern, Arc<u64>)> = (0..100_000)
            .map(|n| {
                let text = if flat {
                    format!("device{n}")
                } else {
                    "home.>".into()
                };
                (pattern(&text), Arc::new(n))
            })
            .collect();
        for (pattern, value) in &all {
            index.insert(pattern, **value, Arc::clone(value));
        }
        let copy = index.clone();
        let (gone, _) = &all[50_000];
        index.remove(gone, 50_000);
        index.insert(gone, 1_000_000, Arc::new(0));
        let copied = all.iter().filter(|(_, value)| Arc::strong_count(value) > 2);
        assert!(copied.count() <= 2 * 32);
        assert_eq!(copy.len(), index.len());
    }
}
