//! Random trees under random faults, as many as wanted: `storm --seeds 100000`, or one: `storm --seed 7`.

use std::process::ExitCode;
use std::time::Instant;

use greenroom_testkit::storm::storm;

const HELP: &str = "\
Simulates random trees of actors under random faults, with all checks on.

    storm [--seeds N] [--from SEED]     N seeds (1000), from SEED (0) on
    storm --seed SEED                   one, and what happened in it

The first seed that fails is made short and shown, and the exit code is 1.
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (mut from, mut seeds, mut one) = (0, 1000, None);
    while let Some(flag) = args.next() {
        let value = args.next().and_then(|value| value.parse::<u64>().ok());
        match (flag.as_str(), value) {
            ("--seeds", Some(n)) if n > 0 => seeds = n,
            ("--from", Some(n)) => from = n,
            ("--seed", Some(n)) => one = Some(n),
            _ => {
                eprint!("{HELP}");
                return ExitCode::from(2);
            }
        }
    }
    let storm = storm();
    if let Some(seed) = one {
        (from, seeds) = (seed, 1);
        print!("{}", storm.trace(seed));
    }
    let begun = Instant::now();
    for seed in from..from.saturating_add(seeds) {
        if let Some(found) = storm.find_in(seed) {
            print!("{found}");
            return ExitCode::FAILURE;
        }
        let n = seed - from + 1;
        if n.is_multiple_of(1000) && n < seeds {
            eprintln!("{n} seeds in {:.1?}, none failed", begun.elapsed());
        }
    }
    println!(
        "{seeds} seeds from {from} on in {:.1?}, none failed",
        begun.elapsed()
    );
    ExitCode::SUCCESS
}
