//! How a life is run: as an entry in a queue of the driver, or as a task of somebody else's runtime.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context as Task, Poll, RawWaker, Waker};

use super::{ActorCell, Apart, LifePtr};
use crate::Actor;
use crate::core::prefetch::prefetch;
use crate::core::ready::Run;
use crate::failure::guarded;
use crate::fencing;
use crate::life::{self, Life, Ran, Turn};
use crate::pool::count_messages;
use crate::role::{Ended, as_actor};
use crate::waits::DynAsking;

/// A life as the queues of a driver hold it: shared, though only its runner looks inside.
#[repr(transparent)]
pub(super) struct Body<A: Actor>(UnsafeCell<Life<A>>);

// SAFETY: all but the desk, which is made to be shared, is only reached by the one who runs the life.
unsafe impl<A: Actor> Sync for Body<A> {}

impl<A: Actor> LifePtr<A> {
    /// # Safety
    /// The life is alive for as long as the reference is used.
    pub(super) unsafe fn body<'a>(self) -> &'a Body<A> {
        // SAFETY: as the caller promises; the layouts are the same.
        unsafe { self.0.cast::<Body<A>>().as_ref() }
    }
}

impl<A: Actor> Body<A> {
    /// Runs the life, for the sake of this question if somebody asks on this stack.
    #[inline]
    pub(super) fn run_for(&self, budget: usize, asked: Option<&DynAsking>) -> bool {
        let Some(life) = NonNull::new(self.0.get()) else {
            return false;
        };
        // SAFETY: this life was made ready, and this is who runs it. It holds a reference to its
        // cell, which outlives it: see `life::end`.
        let (desk, place, incarnation, takes) = unsafe {
            let context = &(*life.as_ptr()).stage.cx;
            let (place, incarnation) = (Arc::as_ptr(context.cell()), context.incarnation());
            let takes = (*life.as_ptr()).takes_messages();
            (&(*life.as_ptr()).desk, place, incarnation, takes)
        };
        // SAFETY: as above.
        let cell = unsafe { &*place };
        let mut hand = None;
        // SAFETY: as above.
        let Some(is_stamped) = (unsafe { cell.mailbox.enter(desk, takes, &mut hand) }) else {
            // It was cut off meanwhile, and left to this run.
            fencing::ran(cell.identity(), incarnation);
            cell.dispose(LifePtr(life));
            return false;
        };
        // Not of the reference: who clones the waker counts, which is done beside what it refers to.
        let raw = RawWaker::new(place.cast(), &ActorCell::<A>::WAKER);
        // SAFETY: the table is of this type. It is never dropped, so it takes part in no count,
        // and the cell outlives the run.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw) });
        let mut turn = Turn {
            task: &mut Task::from_waker(&waker),
            budget,
            woken_by_task: false,
            is_asked: asked.is_some(),
        };
        let mut last = None;
        // SAFETY: the mailbox let this run begin.
        let ran = as_actor((cell, incarnation), asked, || unsafe {
            life::run(cell, life, &mut hand, is_stamped, &mut turn, &mut last)
        });
        count_messages(budget - turn.budget);
        if let Some(last) = last {
            fencing::ran(last.identity(), incarnation);
            // With it may go what the actor is built from, which is an author's.
            let _ = guarded(|| drop(last));
        }
        ran == Ran::Again
    }
}

impl<A: Actor> Run for Body<A> {
    #[inline]
    fn run(&self, budget: usize) -> bool {
        self.run_for(budget, None)
    }

    #[inline]
    fn prefetch(&self) {
        // SAFETY: the life is alive, and its reference to the cell is only read until it is freed.
        let cell = unsafe { Arc::as_ptr((*self.0.get()).stage.cx.cell()) };
        prefetch(cell, 3);
    }

    fn name(&self) -> (&str, u64) {
        // SAFETY: the life is alive, and its reference to the cell and its number are only read until it is freed.
        unsafe {
            let context = &(*self.0.get()).stage.cx;
            (context.path().as_str(), context.incarnation())
        }
    }

    fn abandon(&self) {
        let Some(life) = NonNull::new(self.0.get()) else {
            return;
        };
        // SAFETY: this life was ready, and is left to this call.
        let context = unsafe { &(*life.as_ptr()).stage.cx };
        let (cell, incarnation) = (Arc::clone(context.cell()), context.incarnation());
        // It may have been cut off before.
        cell.cut(incarnation);
        fencing::ran(cell.identity(), incarnation);
        cell.dispose(LifePtr(life))
            .lost(incarnation, Ended::killed());
    }
}

/// A life as a task of somebody else's runtime.
pub(super) struct LifeTask<A: Actor> {
    pub(super) cell: Arc<ActorCell<A>>,
    pub(super) incarnation: u64,
    pub(super) is_known: bool,
}

/// How many messages a life handles before it lets other tasks run.
const TASK_BUDGET: usize = 128;

impl<A: Actor> Future for LifeTask<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<()> {
        if !self.is_known {
            // A task has one waker, whichever clone of it one has.
            let waker = cx.waker().clone();
            let mut task = self.cell.apart.get_or_init(Apart::default).task.lock();
            // Asked under this lock: the task of a life that was cut off before it ran may come late.
            if self.cell.mailbox.is_read_by(self.incarnation) {
                *task = Some(waker);
            }
            drop(task);
            self.is_known = true;
        }
        let Some(life) = self.cell.mailbox.enter_task(self.incarnation) else {
            fencing::ran(self.cell.identity(), self.incarnation);
            return Poll::Ready(());
        };
        let mut turn = Turn {
            task: cx,
            budget: TASK_BUDGET,
            woken_by_task: true,
            is_asked: false,
        };
        // SAFETY: the mailbox let this run begin.
        let ran = as_actor((&*self.cell, self.incarnation), None, || unsafe {
            life::run(&self.cell, life.0, &mut None, false, &mut turn, &mut None)
        });
        fencing::ran(self.cell.identity(), self.incarnation);
        match ran {
            Ran::Rests => Poll::Pending,
            Ran::Again => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ran::Over => Poll::Ready(()),
        }
    }
}

impl<A: Actor> Drop for LifeTask<A> {
    /// A task that is cut short, or whose runtime ends, is the end of its life.
    fn drop(&mut self) {
        if let Some(boss) = self.cell.cut(self.incarnation) {
            boss.lost(self.incarnation, Ended::killed());
        }
    }
}
