//! How messages end: the counts of one mailbox, and the reasons behind them.

/// How many messages of one mailbox ended in which way.
///
/// At any moment `sent = handled + failed + rejected + dropped + waiting + queued + in flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) enqueued: u64,
    /// Taken out, and not put back since.
    pub(crate) dequeued: u64,
    pub(crate) handled: u64,
    pub(crate) failed: u64,
    /// How often a message that failed went back, to be taken out again.
    pub(crate) retried: u64,
    /// Given back to the sender: by [`Rejected`].
    pub(crate) rejected: [u64; Rejected::ALL.len()],
    /// Lost: by [`Dropped`].
    pub(crate) dropped: [u64; Dropped::ALL.len()],
}

/// Why a message was given back to its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rejected {
    Full,
    Stopped,
    TimedOut,
    Cancelled,
    /// A question to an actor that was being restarted, which was not to wait for that.
    Restarting,
}

impl Rejected {
    pub(crate) const ALL: [Rejected; 5] = [
        Rejected::Full,
        Rejected::Stopped,
        Rejected::TimedOut,
        Rejected::Cancelled,
        Rejected::Restarting,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Rejected::Full => "full",
            Rejected::Stopped => "stopped",
            Rejected::TimedOut => "timeout",
            Rejected::Cancelled => "cancelled",
            Rejected::Restarting => "restarting",
        }
    }
}

/// Why a message was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// An event met a full mailbox.
    Full,
    /// The role ended with the message queued, or an event came after its end.
    Stopped,
    /// A timer, stream or background future of an earlier life had queued it.
    Stale,
    /// Its timer was cancelled while it was queued.
    Cancelled,
    /// The time that it was sent with was up before its turn came.
    Expired,
}

impl Dropped {
    pub(crate) const ALL: [Dropped; 5] = [
        Dropped::Full,
        Dropped::Stopped,
        Dropped::Stale,
        Dropped::Cancelled,
        Dropped::Expired,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Dropped::Full => "full",
            Dropped::Stopped => "stopped",
            Dropped::Stale => "stale",
            Dropped::Cancelled => "cancelled",
            Dropped::Expired => "expired",
        }
    }
}

impl Tally {
    /// How many were taken in hand and have ended.
    ///
    /// Those that were too late are not among them: they are not told from those that were so before their turn.
    pub(crate) fn taken_in_hand(&self) -> u64 {
        let void = [Dropped::Stale, Dropped::Cancelled].map(|why| self.dropped[why as usize]);
        self.handled + self.failed + void.iter().sum::<u64>()
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.enqueued += other.enqueued;
        self.dequeued += other.dequeued;
        self.handled += other.handled;
        self.failed += other.failed;
        self.retried += other.retried;
        for (sum, n) in self.rejected.iter_mut().zip(other.rejected) {
            *sum += n;
        }
        for (sum, n) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += n;
        }
    }
}
