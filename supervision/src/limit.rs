//! How many restarts are too many: a sliding window, as `add_restart/1` in `supervisor.erl`.

use std::collections::VecDeque;
use std::time::Duration;

/// The number of restarts that a supervisor may order within a time before it gives up.
///
/// OTP calls the two intensity and period. The window slides: whenever a restart is due, the
/// restarts of the last `within` are counted together with it. One that is exactly `within` old
/// still counts. As long as the sum is at most `restarts`, the restart is allowed; with
/// `restarts` 0 already the first one escalates.
///
/// By default 1 restart within 5 seconds, OTP's default: "chosen to be safe for most systems,
/// even with deep supervision hierarchies" (`sup_princ.md`).
///
/// # Choosing a limit
///
/// - *Burst and rate.* 50 within 10 s and 5 within 1 s allow the same rate, but not the same
///   burst. Choose `restarts` for the burst that is bearable and `within` for the rate.
/// - *Levels multiply.* If the top level allows ten restarts and the next one ten, a child that
///   keeps failing below is restarted about a hundred times before the system gives up. Do not
///   repeat a large limit from level to level; `sup_princ.md` advises at most 3 at the top.
/// - *Back-off stretches.* The limit trips in a crash loop only if that many delays of the
///   [`Backoff`](crate::Backoff) fit into `within`. The default delays of 10 restarts sum up to
///   26 s, so 10 within 5 s never trips in the loop of one child: it is tried every 30 s for good.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom_supervision::Limit;
///
/// assert_eq!(Limit::default(), Limit::new(1, Duration::from_secs(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    restarts: u32,
    within: Duration,
}

impl Limit {
    /// Creates a limit of `restarts` restarts within the time `within`.
    ///
    /// Both are taken literally. `Duration::MAX` limits the restarts of a whole life. In a window
    /// of zero length, which OTP refuses, only restarts of the same instant meet, so it limits
    /// next to nothing.
    #[must_use]
    pub const fn new(restarts: u32, within: Duration) -> Self {
        Self { restarts, within }
    }

    /// Returns the number of restarts that are allowed within [`within`](Self::within).
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Returns the length of the window.
    #[must_use]
    pub const fn within(&self) -> Duration {
        self.within
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::new(1, Duration::from_secs(5))
    }
}

/// The restarts of the last `limit.within`, oldest first, at most `limit.restarts + 1` of them, or
/// as many as there were when the limit was lowered.
///
/// Times must not decrease from call to call; the law sees to that.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    limit: Limit,
    restarts: VecDeque<Duration>,
}

impl Window {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            restarts: VecDeque::new(),
        }
    }

    pub(crate) fn limit(&self) -> Limit {
        self.limit
    }

    /// Counts by another limit from here on.
    ///
    /// What has been written down is kept, however little the new one allows: it counts again if the
    /// limit is raised again meanwhile.
    pub(crate) fn set_limit(&mut self, limit: Limit) {
        self.limit = limit;
    }

    /// Writes a restart down and returns whether the limit allows it.
    ///
    /// As in OTP one that is refused stays written down: who asks again goes on being refused.
    pub(crate) fn admit(&mut self, now: Duration) -> bool {
        self.restarts.drain(..self.expired(now));
        let allowed = self.limit.restarts as usize;
        if self.restarts.len() > allowed {
            // One entry over the limit is all that it takes to refuse; the oldest makes room.
            self.restarts.pop_front();
        }
        self.restarts.push_back(now);
        self.restarts.len() <= allowed
    }

    /// Returns the number of restarts that still count at `now`.
    pub(crate) fn count(&self, now: Duration) -> u32 {
        let count = self.restarts.len() - self.expired(now);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Returns how many entries, from the front, are older than the window.
    fn expired(&self, now: Duration) -> usize {
        self.restarts
            .partition_point(|&at| now.saturating_sub(at) > self.limit.within)
    }
}
