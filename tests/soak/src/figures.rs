//! Figures, their bounds, and what they are made from.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greenroom::System;

/// Something that is wrong whatever the figures are: a message that was lost, a step that did not come.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Broken(error.to_string())
    }
}

/// What a check found.
pub(crate) struct Report {
    title: String,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    value: String,
    /// What was to hold, and whether it does; nothing for what only explains.
    bound: Option<(String, bool)>,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Report {
            title: title.into(),
            rows: Vec::new(),
        }
    }

    /// A figure that explains the others.
    pub(crate) fn tell(&mut self, what: impl Into<String>, value: impl fmt::Display) {
        self.rows.push(Row {
            what: what.into(),
            value: value.to_string(),
            bound: None,
        });
    }

    /// A time that is to be at most `bound`.
    pub(crate) fn time(&mut self, what: impl Into<String>, value: Duration, bound: Duration) {
        self.rows.push(Row {
            what: what.into(),
            value: format!("{value:.1?}"),
            bound: Some((format!("at most {bound:?}"), value <= bound)),
        });
    }

    /// A number that is to be at most `bound`.
    pub(crate) fn ratio(&mut self, what: impl Into<String>, value: f64, bound: f64) {
        self.rows.push(Row {
            what: what.into(),
            value: format!("{value:.3}"),
            bound: Some((format!("at most {bound}"), value <= bound)),
        });
    }

    /// A count that is to be this one.
    pub(crate) fn count(&mut self, what: impl Into<String>, value: u64, bound: u64) {
        self.rows.push(Row {
            what: what.into(),
            value: value.to_string(),
            bound: Some((format!("exactly {bound}"), value == bound)),
        });
    }

    pub(crate) fn holds(&self) -> bool {
        let mut bounds = self.rows.iter().filter_map(|row| row.bound.as_ref());
        bounds.all(|(_, holds)| *holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for Row { what, value, bound } in &self.rows {
            write!(f, "  {what:<44} {value:>14}")?;
            match bound {
                Some((bound, true)) => writeln!(f, "  held ({bound})")?,
                Some((bound, false)) => writeln!(f, "  MISSED ({bound})")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// Times that were taken, to be read in order.
#[derive(Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    pub(crate) fn new(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        Times(nanos)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that this part of all does not exceed.
    pub(crate) fn at(&self, part: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * part).ceil() as usize;
        Duration::from_nanos(self.0.get(at).copied().unwrap_or_default())
    }
}

/// Times in ns, counted by what they are to within 1.6 %: any number of them takes the same memory.
pub(crate) struct Histogram(Vec<AtomicU64>);

/// How many counts there are between a power of two and the next.
const STEPS: u64 = 64;

impl Default for Histogram {
    fn default() -> Self {
        let last = Self::step_of(u64::MAX) + 1;
        Histogram((0..last).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Histogram {
    pub(crate) fn add(&self, nanos: u64) {
        self.0[Self::step_of(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// The time that this part of all does not exceed.
    pub(crate) fn at(&self, part: f64) -> u64 {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let all: u64 = counts.clone().sum();
        let wanted = (all as f64 * part).ceil() as u64;
        let mut below = 0;
        let mut reaches = |n| {
            below += n;
            below >= wanted
        };
        let step = counts.into_iter().position(&mut reaches);
        step.map_or(0, Self::begin_of)
    }

    fn step_of(nanos: u64) -> usize {
        let power = nanos.max(STEPS).ilog2() - STEPS.ilog2();
        ((u64::from(power) * STEPS) + (nanos >> power)) as usize
    }

    fn begin_of(step: usize) -> u64 {
        let step = step as u64;
        match step / STEPS {
            0 => step,
            power => (step % STEPS + STEPS) << (power - 1),
        }
    }
}

/// How much memory is resident, in bytes.
pub(crate) fn resident() -> Result<u64, Broken> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    match pages {
        // Linux has pages of 4 KiB on the machines that this is run on; only ratios are judged.
        Some(pages) => Ok(pages * 4096),
        None => Err(Broken("/proc/self/statm tells no number".to_owned())),
    }
}

/// For how long the workers of this process were ready and did not run, all together: other programs had the processors.
pub(crate) fn kept_waiting() -> Result<Duration, Broken> {
    let mut nanos = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?.path();
        let name = fs::read_to_string(thread.join("comm"))?;
        let number = name.trim().strip_prefix("greenroom-");
        if number.is_none_or(|n| n.parse::<usize>().is_err()) {
            continue;
        }
        let times = fs::read_to_string(thread.join("schedstat"))?;
        let waited = times.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
        nanos += waited.unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanos))
}

/// Dice that fall the same way for the same seed (Steele et al., SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

/// Waits until this is so, looking every millisecond.
pub(crate) async fn until(
    what: &str,
    limit: Duration,
    mut is_so: impl FnMut() -> bool,
) -> Result<(), Broken> {
    let look = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let ended = tokio::time::timeout(limit, look).await;
    ended.map_err(|_| Broken(format!("{what} did not come about within {limit:?}")))
}

/// Waits until nothing is on its way, and checks that every message is accounted for.
pub(crate) async fn at_rest(system: &System) -> Result<(), Broken> {
    until("rest", Duration::from_secs(60), || {
        system.ledger().queued == 0
    })
    .await?;
    let ledger = system.ledger();
    match ledger.is_balanced() {
        true => Ok(()),
        false => Err(Broken(format!("the ledger is not balanced: {ledger}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_tells_times_to_within_a_step() {
        let histogram = Histogram::default();
        for nanos in 1..=100_000 {
            histogram.add(nanos);
        }
        for (part, nanos) in [(0.0005, 50.0), (0.5, 50_000.0), (0.99, 99_000.0)] {
            let found = histogram.at(part) as f64;
            assert!((found / nanos - 1.0).abs() < 0.016, "{found} for {nanos}");
        }
        histogram.add(u64::MAX);
        assert!(histogram.at(1.0) > u64::MAX / 128 * 127);
    }
}
