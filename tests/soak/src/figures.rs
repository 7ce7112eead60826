//! Figures, their bounds, and what they are made from.

use std::fmt;
use std::fs;
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
    what: &'static str,
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
    pub(crate) fn tell(&mut self, what: &'static str, value: impl fmt::Display) {
        self.rows.push(Row {
            what,
            value: value.to_string(),
            bound: None,
        });
    }

    /// A time that is to be at most `bound`.
    pub(crate) fn time(&mut self, what: &'static str, value: Duration, bound: Duration) {
        self.rows.push(Row {
            what,
            value: format!("{value:.1?}"),
            bound: Some((format!("at most {bound:?}"), value <= bound)),
        });
    }

    /// A number that is to be at most `bound`.
    pub(crate) fn ratio(&mut self, what: &'static str, value: f64, bound: f64) {
        self.rows.push(Row {
            what,
            value: format!("{value:.3}"),
            bound: Some((format!("at most {bound}"), value <= bound)),
        });
    }

    /// A count that is to be this one.
    pub(crate) fn count(&mut self, what: &'static str, value: u64, bound: u64) {
        self.rows.push(Row {
            what,
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
