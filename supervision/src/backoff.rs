//! How long a restart waits: exponential back-off with jitter, counted per child.

use std::time::Duration;

/// The wait before a restart: it grows while a child keeps failing.
///
/// By default:
///
/// | what                | default | reason                                                       |
/// |---------------------|---------|--------------------------------------------------------------|
/// | first restart       | at once | most failures do not come back, and OTP does not wait either |
/// | then                | 50 ms   | nobody notices it, and a crash loop starts slowly            |
/// | growing by `factor` | 2       | the seventh restart in a row waits more than a second        |
/// | up to               | 30 s    | whatever was missing, it is found within half a minute       |
/// | `jitter`            | ± 20 %  | children that fell together do not come back together        |
/// | `reset_after`       | 10 s    | twice the window of the default [`Limit`](crate::Limit)      |
///
/// A child is counted anew after it was quiet for `reset_after`: that long after the moment for
/// which its last restart was ordered. The wait itself is no quiet time; otherwise a child that
/// fails whenever it starts would look healed as soon as its wait is longer than `reset_after`.
/// `reset_after` is longer than the window because a child whose last restart still counts against
/// the limit has not been quiet.
///
/// The child that ended sets the wait of its whole group; being restarted along with a sibling is
/// no failure of one's own. A permanent child that ends clean is counted like one that fails, or
/// it could spin.
///
/// No input makes it panic: what is out of range is brought into it, as each method says.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom_supervision::{Backoff, ChildId, Exit, Law, Limit, Restart, Strategy, Verdict};
///
/// // 200 ms, 400 ms, 800 ms, 1 s, 1 s, …, each up to 10 % shorter or longer, never over 1 s.
/// let backoff = Backoff::exponential(Duration::from_millis(200), Duration::from_secs(1))
///     .jitter(0.1)
///     .reset_after(Duration::from_secs(60));
///
/// let mut law = Law::new(Strategy::OneForOne, Limit::default(), backoff, 42);
/// law.add(ChildId(1), Restart::Permanent);
/// match law.exited(Duration::ZERO, ChildId(1), Exit::Failed) {
///     Verdict::Restart { after, .. } => assert!((180..=220).contains(&after.as_millis())),
///     verdict => panic!("expected a restart, got {verdict:?}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    immediate_first: bool,
    first: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    reset_after: Duration,
}

impl Backoff {
    /// Creates a back-off that never waits, as OTP.
    #[must_use]
    pub const fn none() -> Self {
        Self::exponential(Duration::ZERO, Duration::ZERO)
    }

    /// Creates a back-off of `first` before the first restart, doubling from one to the next,
    /// never more than `max`.
    ///
    /// Jitter and quiet time are those of the default. A `first` over `max` counts as
    /// `max`; a `first` of zero stays zero, as often as it is doubled.
    #[must_use]
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Self {
            immediate_first: false,
            first,
            max,
            factor: 2.0,
            jitter: 0.2,
            reset_after: Duration::from_secs(10),
        }
    }

    /// Lets the first restart after a quiet time happen at once; the second then waits `first`.
    #[must_use]
    pub const fn immediate_first(mut self) -> Self {
        self.immediate_first = true;
        self
    }

    /// Sets by what each wait is multiplied to get the next one: `2.0` by default.
    ///
    /// Less than 1, or not a number, is taken as 1: every wait is the same.
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        // `f64::max` returns the other argument if one is not a number.
        self.factor = factor.max(1.0);
        self
    }

    /// Sets which part of a wait may be added or taken away at random: `0.2` by default.
    ///
    /// It is clamped to 0..=1; what is not a number is taken as 0.
    #[must_use]
    pub const fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter.max(0.0).min(1.0);
        self
    }

    /// Sets how long a child must stay up to be counted anew: 10 s by default.
    ///
    /// With zero every failure is a first one, so that the wait never grows.
    #[must_use]
    pub const fn reset_after(mut self, reset_after: Duration) -> Self {
        self.reset_after = reset_after;
        self
    }

    /// Returns the wait after `earlier` restarts in a row, before jitter.
    fn base(&self, earlier: u32) -> Duration {
        let steps = match earlier.checked_sub(u32::from(self.immediate_first)) {
            Some(steps) if !self.first.is_zero() => steps,
            _ => return Duration::ZERO,
        };
        let growth = self.factor.powi(i32::try_from(steps).unwrap_or(i32::MAX));
        // What cannot be told in a `Duration`, infinity included, is certainly over `max`.
        Duration::try_from_secs_f64(self.first.as_secs_f64() * growth)
            .map_or(self.max, |base| base.min(self.max))
    }

    /// Draws one wait from the range that jitter opens around `base`.
    ///
    /// The range is cut off at `max` before the draw and not after it: otherwise half of all
    /// restarts that reached `max` would come back at the very same moment.
    fn spread(&self, base: Duration, dice: &mut SplitMix64) -> Duration {
        let seconds = base.as_secs_f64();
        let low = seconds * (1.0 - self.jitter);
        let high = (seconds * (1.0 + self.jitter)).min(self.max.as_secs_f64());
        let drawn = low + (high - low) * dice.next_unit();
        Duration::try_from_secs_f64(drawn).map_or(self.max, |wait| wait.min(self.max))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(50), Duration::from_secs(30)).immediate_first()
    }
}

/// The restarts in a row that one child has caused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Streak {
    restarts: u32,
    /// When the latest of them was to happen.
    due: Duration,
}

impl Streak {
    /// Counts one restart more and returns how long it waits.
    pub(crate) fn wait(
        &mut self,
        backoff: &Backoff,
        now: Duration,
        dice: &mut SplitMix64,
    ) -> Duration {
        if now.saturating_sub(self.due) >= backoff.reset_after {
            self.restarts = 0;
        }
        let wait = backoff.spread(backoff.base(self.restarts), dice);
        self.restarts = self.restarts.saturating_add(1);
        self.due = now.saturating_add(wait);
        wait
    }
}

/// Steele, Lea and Flood's SplitMix64, the generator behind Java's `SplittableRandom`.
///
/// Jitter needs neither secrecy nor statistics, only that neighbouring seeds differ at once. This
/// one has that in a single word of state, which a dependency would not make any smaller.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to 1, without 1.
    fn next_unit(&mut self) -> f64 {
        // The upper 53 bits are as many as an `f64` holds exactly.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
