//! An actor's role as those have it who watch its lives.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Sleep;

use super::ActorCell;
use crate::mailbox::words::Control;
use crate::waits::Node;
use crate::watchers::{Linked, LinkedEnd, Watched, Watchers};
use crate::{Actor, ExitReason, Path};

impl<A: Actor> ActorCell<A> {
    /// A life is over: to be called once it does not read any more, and before anybody decides what follows.
    pub(crate) fn fall(&self, incarnation: u64, reason: impl FnOnce() -> ExitReason) {
        if let Some(watchers) = self.known_watchers() {
            watchers.fall(self, incarnation, reason);
        }
    }

    /// Who watches, if anybody ever did.
    pub(super) fn known_watchers(&self) -> Option<&Watchers> {
        self.known_extras()?.watchers.get()
    }
}

impl<A: Actor> Watched for ActorCell<A> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn identity(&self) -> usize {
        ActorCell::identity(self)
    }

    fn watchers(&self) -> &Watchers {
        self.extras().watchers.get_or_init(Watchers::default)
    }

    fn life(&self) -> (u64, bool) {
        let mut next = self.mailbox.next_incarnation();
        loop {
            if self.mailbox.is_read_by(next - 1) {
                return (next - 1, true);
            }
            let begun = self.mailbox.next_incarnation();
            if begun == next {
                return (next, false);
            }
            // One has begun meanwhile.
            next = begun;
        }
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

impl<A: Actor> Linked for ActorCell<A> {
    fn end(&self, incarnation: u64) {
        self.control(incarnation, Control::End);
    }

    fn hear(&self, incarnation: u64, end: LinkedEnd) {
        self.control(incarnation, Control::Linked(Box::new(end)));
    }

    fn node(&self) -> &Arc<Node> {
        ActorCell::node(self)
    }

    fn sleep(&self, time: Duration) -> Pin<Box<Sleep>> {
        self.system.sleep(time)
    }
}
