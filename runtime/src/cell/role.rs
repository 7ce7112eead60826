//! An actor's role as its supervisor and those who look from outside have it.

use std::any::{Any, type_name};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use greenroom_supervision::ChildId;

use super::run::LifeTask;
use super::{ActorCell, INSIDE_BUDGET, LifePtr};
use crate::causes::Origin;
use crate::core::ready::Runnable;
use crate::failure::ShortType;
use crate::life::Life;
use crate::mailbox::words::Control;
use crate::metrics::Group;
use crate::role::{Boss, Launched, RestartReason, Role};
use crate::snapshot::{ActorState, MailboxSource, Seen};
use crate::waits::Node;
use crate::{Actor, Path, StartCause};

impl<A: Actor> Role for ActorCell<A> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn id(&self) -> ChildId {
        self.id
    }

    fn kind(&self) -> String {
        ShortType(type_name::<A>()).to_string()
    }

    fn launch(self: Arc<Self>, boss: Boss, cause: StartCause) -> Launched {
        self.cause.set(cause);
        self.retired.store(false, Ordering::Release);
        self.state.set(ActorState::Starting);
        self.group.count_start();
        if let Some(node) = self.known_node() {
            node.clear();
        }
        let incarnation = self.mailbox.next_incarnation();
        if let Some(care) = self.known_extras().and_then(|extras| extras.care.as_ref()) {
            care.begin(incarnation);
        }
        let life = Box::new(Life::new(Arc::clone(&self), incarnation, boss));
        let life = NonNull::from(Box::leak(life));
        // SAFETY: the life is freed only after the mailbox has let go of its desk.
        let desk = unsafe { NonNull::from(&(*life.as_ptr()).desk) };
        // SAFETY: as above.
        unsafe { self.mailbox.begin_life(desk, LifePtr(life)) };
        // SAFETY: it is ready, and so freed by whoever runs it next: who has this.
        let ready = unsafe { Runnable::new(LifePtr(life).body()) };
        Launched {
            incarnation,
            ready: self.has_entries().then_some(ready),
        }
    }

    fn go(self: Arc<Self>, launched: Launched) {
        let Some(ready) = launched.ready else {
            self.system.handle.spawn(LifeTask {
                cell: Arc::clone(&self),
                incarnation: launched.incarnation,
                is_known: false,
            });
            return;
        };
        self.schedule(ready);
    }

    fn go_here(self: Arc<Self>, launched: Launched) {
        if let Some(ready) = &launched.ready
            && self.may_run_here()
            && !ready.run(INSIDE_BUDGET)
        {
            return;
        }
        self.go(launched);
    }

    fn stop(&self, incarnation: u64, drain: bool) {
        self.state.set(ActorState::Stopping);
        if drain {
            self.mailbox.close();
        }
        self.control(incarnation, Control::Stop { drain });
    }

    fn kill(&self, incarnation: u64) {
        if let Some(life) = self.mailbox.kill(incarnation) {
            self.make_ready(life);
        }
    }

    fn cut_off(self: Arc<Self>, incarnation: u64) {
        self.cut(incarnation);
    }

    fn retire(&self) {
        self.mailbox.close();
        let incarnation = self.mailbox.reading(false).incarnation;
        self.bury_all(incarnation, self.mailbox.clear());
        // From here on nobody subscribes it any more.
        self.retired.store(true, Ordering::Release);
        // See `subscribe`.
        fence(Ordering::SeqCst);
        self.unsubscribe_all();
        self.release_holdings();
        self.state.set(ActorState::Stopped);
        let task = self.apart.get().map(|apart| apart.task.lock().take());
        drop(task);
        self.fold_counts();
        self.system.registry.unregister(&self.path);
        // See `watchers::watch`.
        fence(Ordering::SeqCst);
        if let Some(watchers) = self.known_watchers() {
            watchers.announce(self, true);
        }
    }

    fn announce(&self) {
        if let Some(watchers) = self.known_watchers() {
            watchers.announce(self, false);
        }
    }

    fn stop_within(&self) -> Option<Duration> {
        let changed = self
            .known_extras()
            .and_then(|extras| *extras.stop_within.lock());
        Some(changed.unwrap_or(self.terms().stop_within))
    }

    fn set_stop_within(&self, limit: Duration) {
        if self.stop_within() != Some(limit) {
            *self.extras().stop_within.lock() = Some(limit);
        }
    }

    fn is_built_once(&self) -> bool {
        self.whose.is_one()
    }

    fn mark_restarting(&self, reason: RestartReason) {
        self.state.set(ActorState::Restarting);
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.group.count_restart(reason);
    }

    fn sources(&self) -> Vec<MailboxSource> {
        self.system.sources(self.mailbox.senders(), &self.group)
    }

    fn origin(&self) -> Option<Origin> {
        self.origin_in_hand()
    }

    fn state(&self) -> ActorState {
        self.state.get()
    }

    fn seen(&self, scrape: bool) -> Seen {
        let reading = self.mailbox.reading(scrape);
        let handling = self.in_hand.get().filter(|_| reading.in_flight > 0);
        Seen {
            path: self.path.clone(),
            group: self.group.name.clone(),
            state: self.state.get(),
            incarnation: reading.incarnation,
            restarts: u64::from(self.restarts.load(Ordering::Relaxed)),
            capacity: self.mailbox.capacity(),
            handling: handling.map(|table| (table.message_type)()),
            mailbox: Some(reading),
            is_dynamic: false,
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn set_paused(&self, is_paused: bool) {
        match is_paused {
            true => self.pause(),
            false => self.resume(),
        }
    }

    fn node(&self) -> Option<&Arc<Node>> {
        Some(ActorCell::node(self))
    }

    fn glance(&self) -> (Option<u64>, Option<&Arc<Node>>) {
        (self.mailbox.at_work(), self.known_node())
    }

    fn trim(&self) {
        self.mailbox.trim();
    }

    fn group(&self) -> Option<&Group> {
        Some(&self.group)
    }
}
