//! A supervisor's role as those have it who watch its lives.

use std::sync::atomic::Ordering;

use super::SupervisorCell;
use crate::watchers::{Watched, Watchers};
use crate::{ExitReason, Path};

impl SupervisorCell {
    /// A life is over: to be called once nobody reaches it any more, and before anybody decides what follows.
    pub(super) fn fall(&self, incarnation: u64, reason: impl FnOnce() -> ExitReason) {
        if let Some(watchers) = self.watchers.get() {
            watchers.fall(self, incarnation, reason);
        }
    }

    /// Whoever watched is told, now that it is decided what follows.
    pub(super) fn tell_watchers(&self, is_gone: bool) {
        if let Some(watchers) = self.watchers.get() {
            watchers.announce(self, is_gone);
        }
    }
}

impl Watched for SupervisorCell {
    fn path(&self) -> &Path {
        &self.path
    }

    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn watchers(&self) -> &Watchers {
        self.watchers.get_or_init(Watchers::default)
    }

    fn life(&self) -> (u64, bool) {
        // Both change together under this lock when a life begins.
        let lead = self.lead.lock();
        let latest = self.incarnation();
        match &*lead {
            Some(_) => (latest, true),
            None => (latest + 1, false),
        }
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}
