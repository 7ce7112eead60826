//! Measures what it costs to find whose pattern matches a subject, with 10, 1,000 and 100,000 patterns.
//!
//! The index is not public, so its file is a module of this program too: what is measured
//! is that code and nothing around it.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[path = "../../../../runtime/src"]
mod runtime {
    #[allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "this program uses a part of it"
    )]
    pub(crate) mod subject;
}

use parking_lot::RwLock;
use runtime::subject::{Index, Pattern, SharedIndex};

const SIZES: [u64; 3] = [10, 1_000, 100_000];

/// Four patterns of the first ten match it.
const SUBJECT: &str = "home.room5.temperature";

/// What somebody else subscribes to.
const OTHER: &str = "home.room3.*";

/// How long one round measures; the median of so many rounds is shown.
const ROUND: Duration = Duration::from_millis(40);
const ROUNDS: usize = 7;

const DEPTHS: [usize; 7] = [2, 4, 8, 16, 32, 100, 10_000];
const FANS: [u64; 4] = [1, 100, 10_000, 100_000];
const BRANCHES: [u32; 3] = [4, 8, 16];

fn main() {
    // First, while no memory is free that was used before.
    let bytes = bytes();
    let home_by_size = [
        row("publish to 4, the same subject", SIZES, |n| {
            let index = home(n);
            time(|_| visit(&index, SUBJECT))
        }),
        row("publish to 4, each time another subject", SIZES, |n| {
            let index = home(n);
            let rooms = shuffled(n / 5).map(|i| i * 5);
            let subjects: Vec<String> =
                rooms.map(|i| format!("home.room{i}.temperature")).collect();
            time(|i| visit(&index, &subjects[i % subjects.len()]))
        }),
        row("publish what nobody wants", SIZES, |n| {
            let index = home(n);
            time(|_| visit(&index, "garden.shed.temperature"))
        }),
        row("publish to 4 by asking each pattern", SIZES, |n| {
            let list: Vec<Pattern> = home_patterns(n).collect();
            time(|_| {
                list.iter()
                    .filter(|p| p.matches(black_box(SUBJECT)))
                    .count()
            })
        }),
        row("subscribe and unsubscribe", SIZES, |n| {
            let index = shared(n);
            time(|_| index.change())
        }),
        row(
            "subscribe and unsubscribe, an event between all",
            SIZES,
            |n| {
                let index = shared(n);
                time(|_| {
                    let publisher = index.snapshot();
                    index.insert(&pattern(OTHER), 0, Arc::new(0));
                    drop(publisher);
                    let publisher = index.snapshot();
                    index.remove(&pattern(OTHER), 0);
                    drop(publisher);
                    1
                })
            },
        ),
        row("publish to 4 beside one who does it too", SIZES, |n| {
            beside(&shared(n), SharedIndex::publish)
        }),
        row(
            "publish to 4 beside one who does it too, by a read lock",
            SIZES,
            |n| beside(&RwLock::new(home(n)), RwLock::publish),
        ),
        row("publish to 4 beside one who subscribes", SIZES, |n| {
            beside(&shared(n), SharedIndex::change)
        }),
        row(
            "publish to 4 beside one who subscribes, by a read lock",
            SIZES,
            |n| beside(&RwLock::new(home(n)), RwLock::change),
        ),
    ];
    table("ns, by how many patterns there are", SIZES, &home_by_size);
    let deep = row("publish to 2 of 100,000", DEPTHS, deep);
    table("ns, by the tokens of the subject", DEPTHS, &[deep]);
    let fan = row("publish to all of them", FANS, fan_out);
    table("ns for each, by how many match", FANS, &[fan]);
    let worst = row("publish what nobody wants", BRANCHES, branching);
    let all = BRANCHES.map(|tokens| 1 << tokens);
    table(
        "ns for each, by how many branch at each token",
        all,
        &[worst],
    );
    println!(
        "The index of {} patterns takes {bytes:.0} bytes for each.",
        SIZES[2]
    );
}

/// A line of a table: what it is, and what was measured.
fn row<K, const N: usize>(what: &str, of: [K; N], measure: impl Fn(K) -> f64) -> String {
    let cells = of.map(|key| shown(measure(key)));
    format!("| {what} | {} |", cells.join(" | "))
}

fn table<K: Display, const N: usize>(head: &str, of: [K; N], rows: &[String]) {
    println!("| {head} | {} |", of.map(|key| key.to_string()).join(" | "));
    println!("|---|{}\n{}\n", "---:|".repeat(N), rows.join("\n"));
}

fn shown(ns: f64) -> String {
    if ns < 100.0 {
        format!("{ns:.1}")
    } else {
        format!("{ns:.0}")
    }
}

fn pattern(text: impl Display) -> Pattern {
    match Pattern::parse(&text.to_string()) {
        Ok(pattern) => pattern,
        Err(error) => panic!("{error}"),
    }
}

/// What a house subscribes to: four in five are about one of many rooms, and have a wildcard or none.
fn home_patterns(n: u64) -> impl Iterator<Item = Pattern> {
    (0..n).map(|i| {
        let room = i / 5 * 5;
        pattern(match i % 5 {
            0 => format!("home.room{room}.temperature"),
            1 => format!("home.room{room}.*"),
            2 => format!("*.room{room}.temperature"),
            3 => format!("home.room{room}.>"),
            _ => format!("house{room}.>"),
        })
    })
}

fn home(n: u64) -> Index<Arc<u64>> {
    let mut index = Index::new();
    for (id, pattern) in home_patterns(n).enumerate() {
        index.insert(&pattern, id as u64, Arc::new(id as u64));
    }
    index
}

fn shared(n: u64) -> SharedIndex<Arc<u64>> {
    let index = SharedIndex::default();
    for (id, pattern) in home_patterns(n).enumerate() {
        index.insert(&pattern, id as u64, Arc::new(id as u64));
    }
    index
}

/// Returns how many it has found.
fn visit(index: &Index<Arc<u64>>, subject: &str) -> usize {
    let mut found = 0;
    index.visit(black_box(subject), |_, value| {
        black_box(value);
        found += 1;
    });
    found
}

/// The median time of one call, in ns; the call says what it has done, so that nothing is optimized away.
fn time(mut call: impl FnMut(usize) -> usize) -> f64 {
    let mut calls = 1;
    let mut round = |calls: usize| {
        let start = Instant::now();
        for i in 0..calls {
            black_box(call(i));
        }
        start.elapsed()
    };
    // So many that they fill a round; this warms up too.
    while round(calls) < ROUND {
        calls *= 2;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| round(calls).as_nanos() as f64 / calls as f64)
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// The numbers up to `n` in an order that a processor cannot foresee, but the same in each run.
fn shuffled(n: u64) -> impl Iterator<Item = u64> {
    let mut all: Vec<u64> = (0..n).collect();
    all.sort_by_key(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    all.into_iter()
}

/// An index that several threads use at a time.
trait Shared: Sync {
    fn publish(&self) -> usize;
    fn change(&self) -> usize;
}

impl Shared for SharedIndex<Arc<u64>> {
    fn publish(&self) -> usize {
        visit(&self.snapshot(), SUBJECT)
    }

    fn change(&self) -> usize {
        self.insert(&pattern(OTHER), 0, Arc::new(0));
        usize::from(self.remove(&pattern(OTHER), 0).is_some())
    }
}

impl Shared for RwLock<Index<Arc<u64>>> {
    fn publish(&self) -> usize {
        visit(&self.read(), SUBJECT)
    }

    fn change(&self) -> usize {
        self.write().insert(&pattern(OTHER), 0, Arc::new(0));
        usize::from(self.write().remove(&pattern(OTHER), 0).is_some())
    }
}

/// What a publisher takes while another thread does something over and over.
fn beside<S: Shared>(index: &S, other: impl Fn(&S) -> usize + Sync) -> f64 {
    let at_work = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while at_work.load(Ordering::Relaxed) {
                black_box(other(index));
            }
        });
        let ns = time(|_| index.publish());
        at_work.store(false, Ordering::Relaxed);
        ns
    })
}

/// The growth of the resident set for each of a hundred thousand patterns, without what they point to.
fn bytes() -> f64 {
    let n = SIZES[2];
    let value = Arc::new(n);
    let before = resident();
    let mut index = Index::new();
    for (id, pattern) in home_patterns(n).enumerate() {
        index.insert(&pattern, id as u64, Arc::clone(&value));
    }
    let grown = resident() - before;
    drop(black_box(index));
    grown / n as f64
}

/// In bytes, or not a number where the system does not tell it as Linux does.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|all| all.split(' ').nth(1)?.parse::<f64>().ok());
    pages.map_or(f64::NAN, |pages| pages * 4096.0)
}

/// A subject of so many tokens, which two patterns match, among a hundred thousand that begin as it does.
fn deep(depth: usize) -> f64 {
    let mut index = Index::new();
    let named = depth.min(Pattern::TOKENS_MAX);
    let begin: Vec<String> = (0..named).map(|i| format!("part{i}")).collect();
    for id in 0..SIZES[2] {
        // Each leaves the way at some token.
        let keep = id as usize % named;
        let text = format!("{}.{id}", begin[..keep].join("."));
        index.insert(&pattern(text.trim_start_matches('.')), id, Arc::new(id));
    }
    let subject: Vec<String> = (0..depth).map(|i| format!("part{i}")).collect();
    let exact = format!("{}.>", begin[..named - 1].join("."));
    for text in [">", exact.trim_start_matches('.')] {
        index.insert(&pattern(text), 0, Arc::new(0));
    }
    let subject = subject.join(".");
    assert_eq!(visit(&index, &subject), 2);
    time(|_| visit(&index, &subject))
}

fn fan_out(n: u64) -> f64 {
    let mut index = Index::new();
    for id in 0..n {
        let text = ["home.>", "home.*.temperature"][id as usize % 2];
        index.insert(&pattern(text), id, Arc::new(id));
    }
    time(|_| visit(&index, "home.kitchen.temperature")) / n as f64
}

/// All patterns of `a` and `*`, so many tokens long, and a subject that fits each but for its end.
fn branching(tokens: u32) -> f64 {
    let mut index = Index::new();
    for bits in 0..1u32 << tokens {
        let choice = (0..tokens).map(|i| if bits >> i & 1 == 0 { "*." } else { "a." });
        index.insert(&pattern(choice.collect::<String>() + "x"), 0, Arc::new(0));
    }
    let subject = "a.".repeat(tokens as usize) + "y";
    assert_eq!(visit(&index, &subject), 0);
    time(|_| visit(&index, &subject)) / f64::from(1 << tokens)
}
