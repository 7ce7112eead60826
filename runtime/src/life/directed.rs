//! How a life is run where a director watches, and may disturb it; see [`simulation`](crate::simulation).

use std::any::TypeId;
use std::future::poll_fn;
use std::ptr::NonNull;
use std::task::Poll;

use parking_lot::Mutex;

use super::{Life, Outcome, Turn, discard};
use crate::Actor;
use crate::cell::ActorCell;
use crate::core::pooled::{Pooled, Then};
use crate::envelope::{Begun, Letter};
use crate::failure::{Cause, guarded};
use crate::role::Role;
use crate::simulation::{Director, Fault, Moment, Step};

/// Takes a message in hand where somebody watches, and may disturb what is to be done.
///
/// # Safety
/// As [`begin`](super::begin).
pub(super) unsafe fn begin_directed<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    hand: &mut Option<Letter<A>>,
    turn: &mut Turn<'_, '_>,
    director: &Mutex<Box<dyn Director>>,
) -> Begun {
    let place = life.as_ptr();
    let Some(letter) = hand else {
        return Begun::Ended;
    };
    let table = letter.table();
    // SAFETY: as the caller promises. `stage` is touched only while there is no future.
    unsafe {
        let incarnation = (*place).stage.cx.incarnation();
        if let Some(check) = table.check
            && let Err(why) = check(letter, incarnation)
        {
            discard(cell, life, hand, why);
            director.lock().saw(&Step::Discarded {
                path: cell.path.as_str(),
                incarnation,
                name: (table.message_type)(),
            });
            return Begun::Ended;
        }
        let moment = Moment::Message {
            path: cell.path.as_str(),
            incarnation,
            actor: TypeId::of::<A>(),
            name: (table.message_type)(),
            message: (table.message)(letter),
        };
        let fault = director.lock().disturb(&moment);
        match &fault {
            Some(Fault::Panic(_) | Fault::Error(_) | Fault::Delay(_)) => {
                (*place).future = Some((table.defer)(hand, life));
                disturb(cell, life, fault);
                go_on(life, turn)
            }
            fault => {
                match fault {
                    Some(Fault::Stop) => (*place).stage.cx.stop(),
                    Some(Fault::Kill) => cell.kill(incarnation),
                    Some(Fault::Unsubscribe) => cell.unsubscribe_all(),
                    _ => {}
                }
                (table.begin)(hand, life, turn.task)
            }
        }
    }
}

/// Polls the future that a message has been made into, if it has not failed before.
///
/// # Safety
/// As [`begin`](super::begin).
unsafe fn go_on<A: Actor>(life: NonNull<Life<A>>, turn: &mut Turn<'_, '_>) -> Begun {
    let place = life.as_ptr();
    // SAFETY: as the caller promises; while the future is polled nothing else of the life is touched.
    unsafe {
        let Some(future) = &mut (*place).future else {
            return Begun::Failed;
        };
        let Poll::Ready(outcome) = future.poll(turn.task) else {
            return Begun::Pends;
        };
        (*place).future = None;
        match outcome {
            Outcome::Well => Begun::Ended,
            Outcome::CutOff => Begun::CutOff,
            Outcome::Failed(error) => {
                Life::failed_at_once(life, error);
                Begun::Failed
            }
        }
    }
}

/// Disturbs what is to be done, which is the future that has just been made.
///
/// # Safety
/// As [`begin`](super::begin).
pub(super) unsafe fn disturb<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    fault: Option<Fault>,
) {
    // SAFETY: as the caller promises. While the future is there only its place is touched, and not
    // the stage, which it borrows.
    let rest = unsafe { Life::rest(life).as_mut() };
    match fault {
        Some(Fault::Panic(text)) => {
            let future = rest.take();
            let _ = guarded(|| drop(future));
            panic!("{text}");
        }
        Some(Fault::Error(text)) => {
            let future = rest.take();
            let _ = guarded(|| drop(future));
            // SAFETY: as the caller promises; there is no future now.
            unsafe { (*life.as_ptr()).fail(cell, Cause::Error(text)) };
        }
        Some(Fault::Delay(time)) => {
            let sleep = cell.system.sleep(time);
            if let Some(mut future) = rest.take() {
                *rest = Some(Pooled::new(AsItIs, || async move {
                    sleep.await;
                    poll_fn(|task| future.poll(task)).await
                }));
            }
        }
        _ => {}
    }
}

/// What follows a future that stood behind something else: its own result.
struct AsItIs;

impl<E> Then<Outcome<E>> for AsItIs {
    type Result = Outcome<E>;

    fn then(self, outcome: Outcome<E>) -> Outcome<E> {
        outcome
    }
}
