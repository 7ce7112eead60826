//! What went wrong: panics and errors of actors, caught and described.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe, Location};
use std::pin::Pin;
use std::sync::{Arc, Once, OnceLock};
use std::task::Poll;
use std::time::Instant;

use parking_lot::Mutex;

use crate::chain::Chain;
use crate::line::{Line, TEXT_MAX};
use crate::{CrashReport, LifeEnd, Path, SupervisorDecision};

/// The report of one failure: who, in which life, doing what, and why.
///
/// A clone costs two reference counts.
#[derive(Clone)]
pub struct Failure {
    inner: Arc<Inner>,
    /// Apart, as it has in it the failure that it is of, without it.
    report: Option<Arc<CrashReport>>,
}

struct Inner {
    path: Path,
    incarnation: u64,
    during: During,
    kind: FailureKind,
    text: Arc<str>,
    decisions: Chain,
    location: Option<String>,
    backtrace: Option<Arc<Backtrace>>,
}

/// What an actor was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum During {
    /// Building a life: `Actor::start`.
    Start,
    /// Handling a message of this type (as `std::any::type_name` spells it).
    Message(&'static str),
    /// Running a background future, a stream or a timer of the actor.
    Background,
    /// Ending a life: `Actor::stop`, or dropping the actor's state.
    Stop,
    /// Nothing of its own: an actor that it was [linked](crate::Context::link) to had ended.
    Link,
}

/// In which way an actor failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The code returned `Err`.
    Error,
    /// The code panicked.
    Panic,
    /// The actor was [killed](crate::ActorRef::kill), or did not stop within its deadline and was cut off.
    Killed,
}

impl FailureKind {
    /// Returns the word used in metrics and logs: `error`, `panic` or `killed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::Error => "error",
            FailureKind::Panic => "panic",
            FailureKind::Killed => "killed",
        }
    }
}

impl Failure {
    pub(crate) fn new(path: Path, incarnation: u64, during: During, cause: Cause) -> Self {
        let (kind, text, location, backtrace) = match cause {
            Cause::Error(text) => (FailureKind::Error, text, None, None),
            Cause::Panic(panic) => (
                FailureKind::Panic,
                panic.text,
                panic.location,
                panic.backtrace,
            ),
            Cause::Killed(text) => (FailureKind::Killed, text, None, None),
        };
        let inner = Inner {
            path,
            incarnation,
            during,
            kind,
            text: text.into(),
            decisions: Chain::default(),
            location,
            backtrace,
        };
        Failure {
            inner: Arc::new(inner),
            report: None,
        }
    }

    /// The same failure, with what else is known of it.
    pub(crate) fn reported(self, report: Arc<CrashReport>) -> Self {
        Failure {
            report: Some(report),
            ..self
        }
    }

    /// A supervisor has decided about it.
    pub(crate) fn decided(&self, decision: SupervisorDecision) {
        self.inner.decisions.add(decision);
    }

    /// The same for a history, which is kept for long.
    pub(crate) fn life_end(&self) -> LifeEnd {
        let text = &self.inner.text;
        let is_long = text.len() > TEXT_MAX;
        LifeEnd::Failed {
            kind: self.inner.kind,
            during: self.inner.during,
            text: match is_long {
                true => text[..text.floor_char_boundary(TEXT_MAX)].into(),
                false => Arc::clone(text),
            },
        }
    }

    /// Returns the path of the actor that failed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Returns which life of the actor failed, counted from 1.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.inner.incarnation
    }

    /// Returns what the actor was doing.
    #[must_use]
    pub fn during(&self) -> During {
        self.inner.during
    }

    /// Returns whether it was an error, a panic or a missed stop deadline.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.inner.kind
    }

    /// Returns the text of the error or of the panic.
    ///
    /// An error is shown with `{:#}`, which for error types that carry a chain
    /// includes their causes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// Returns `file:line:column` of a panic.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.inner.location.as_deref()
    }

    /// Returns the backtrace of a panic, whether or not `RUST_BACKTRACE` is set.
    ///
    /// The first panic of each second at a [place](Self::location) has its own, and
    /// those that follow there within that second share it, so their callers may be others:
    /// a backtrace takes several times as long as all else of a restart. It is
    /// captured unresolved; showing it resolves the symbols. An error has none: the place where an
    /// `Err` reaches the runtime says nothing about where it began.
    #[must_use]
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.inner.backtrace.as_deref()
    }

    /// Returns what else is known of the life that failed: its last messages, its mailbox, the lives before it.
    ///
    /// It is made where the log has records of errors, or an actor has ever subscribed to
    /// [`SupervisionEvent`](crate::SupervisionEvent): it takes about as long as the rest of a restart. There is none of a
    /// supervisor, nor of a life that was ended before it was up.
    #[must_use]
    pub fn crash_report(&self) -> Option<&CrashReport> {
        self.report.as_deref()
    }

    /// Returns what supervisors have decided about it so far, the first one first.
    ///
    /// The first is of the supervisor of the actor that failed. As long as each gives
    /// up there is one more, of the one above; the last one is what ends the
    /// escalation, or is of the root of the tree. There are none before the first
    /// has decided, as where [`SupervisionEvent::Ended`](crate::SupervisionEvent::Ended) is
    /// told; whoever keeps the failure may ask again.
    #[must_use]
    pub fn decisions(&self) -> Vec<SupervisorDecision> {
        self.inner.decisions.all()
    }

    /// Whether the log has a record of a failure on this thread.
    pub(crate) fn is_logged() -> bool {
        // It is asked of the author's subscriber.
        guarded(|| tracing::enabled!(tracing::Level::ERROR)).unwrap_or(false)
    }

    /// Writes the failure to the log, or to standard error where nobody listens.
    ///
    /// The record has what the crash report has, under the names of its fields.
    /// A newcomer who has set up no `tracing` subscriber still sees why an actor
    /// crashed, as they would see a plain panic.
    pub(crate) fn log(&self) {
        logged(|| self.write());
    }

    fn write(&self) {
        if tracing::dispatcher::has_been_set() {
            let report = self.crash_report();
            let in_hand = report.and_then(|report| report.in_hand.as_ref());
            tracing::error!(
                actor = %self.inner.path,
                incarnation = self.inner.incarnation,
                during = %self.inner.during,
                kind = self.inner.kind.as_str(),
                location = self.location(),
                error = %Line(self.text()),
                cause = report.map(|report| report.cause.as_str()),
                ran_for = report.map(|report| debug(report.ran_for)),
                in_hand = in_hand.map(|message| display(Line(message))),
                last_messages = report.and_then(CrashReport::last).map(|last| display(Line(last))),
                queued = report.map(|report| report.queued),
                queued_types = report.and_then(CrashReport::types).map(|types| display(Line(types))),
                waiting_senders = report.map(|report| report.waiting_senders),
                history = report.and_then(CrashReport::lives).map(|lives| display(Line(lives))),
                "Actor failed."
            );
            if let Some(backtrace) = self.backtrace() {
                tracing::debug!(actor = %self.inner.path, %backtrace, "Backtrace of the failure.");
            }
        } else {
            say(&format_args!("{self}"));
        }
    }
}

/// Writes to the log, which is code of the application's: a panic of it ends here.
pub(crate) fn logged(record: impl FnOnce()) {
    let _ = guarded(record);
}

/// Writes one line to standard error; where that is broken, as a closed pipe, there is nobody to tell.
pub(crate) fn say(line: &dyn fmt::Display) {
    let _ = writeln!(std::io::stderr(), "greenroom: {line}");
}

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            During::Start => f.write_str("starting"),
            During::Message(name) => write!(f, "handling {}", ShortType(name)),
            During::Background => f.write_str("in a background task"),
            During::Stop => f.write_str("stopping"),
            During::Link => f.write_str("by a link"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            path,
            incarnation,
            during,
            kind,
            text,
            location,
            ..
        } = &*self.inner;
        write!(f, "{path} (incarnation {incarnation}) failed {during}: ")?;
        match (kind, location) {
            (FailureKind::Panic, Some(at)) => write!(f, "panicked at {at}: {text}"),
            (FailureKind::Panic, None) => write!(f, "panicked: {text}"),
            _ => f.write_str(text),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({self})")
    }
}

/// A type's name without the modules, as people say it: `Vec<Reading>`.
pub(crate) struct ShortType<'a>(pub(crate) &'a str);

impl fmt::Display for ShortType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{{closure}}` and `{impl#0}` stand in the place of modules. By bytes, as this is part of every
        // restart; a letter beyond ASCII is part of a word.
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || b"_:{}#".contains(&b);
        let mut rest = self.0;
        while !rest.is_empty() {
            let end = |of: &str, word: bool| of.bytes().position(|b| is_word(b) != word);
            let (word, tail) = rest.split_at(end(rest, true).unwrap_or(rest.len()));
            f.write_str(word.rsplit_once("::").map_or(word, |(_, last)| last))?;
            let (between, after) = tail.split_at(end(tail, false).unwrap_or(tail.len()));
            f.write_str(between)?;
            rest = after;
        }
        Ok(())
    }
}

/// The bare reason of a failure, before it is known whose it is.
pub(crate) enum Cause {
    Error(String),
    Panic(Panic),
    Killed(String),
}

pub(crate) struct Panic {
    text: String,
    location: Option<String>,
    backtrace: Option<Arc<Backtrace>>,
}

impl Panic {
    /// Puts on record that the code of an event, or a filter of it, panicked outside of its actor.
    #[cold]
    pub(crate) fn log_event(&self, event: &str, what: &str) {
        let event = ShortType(event).to_string();
        let (panic, location) = (&*self.text, self.location.as_deref());
        tracing::error!(event, what, panic, location, "Code for an event panicked.");
    }
}

/// Runs a future to its end, turning a panic in it, or in dropping it, into a [`Panic`].
///
/// The future is boxed so that it can be dropped inside the guard: what it
/// captured may panic as well.
pub(crate) async fn catch<T>(
    mut future: Pin<Box<dyn Future<Output = T> + Send + '_>>,
) -> Result<T, Panic> {
    let outcome = poll_fn(|cx| match guarded(|| future.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await;
    match guarded(|| drop(future)) {
        Ok(()) => outcome,
        Err(panic) => outcome.and(Err(panic)),
    }
}

/// Calls `f`, turning a panic into a value with its place and backtrace.
#[inline(always)]
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    install_hook();
    GUARDED.set(GUARDED.get() + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(GUARDED.get() - 1);
    result.map_err(caught)
}

#[cold]
fn caught(payload: Box<dyn Any + Send>) -> Panic {
    let text = payload_text(&*payload);
    // Dropping the payload runs the user's code once more.
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    // A place that was noted for another panic, which its author caught, is not this one's.
    let site = SITE.take().filter(|site| site.text == text);
    let (location, backtrace) = site.map_or((None, None), |site| {
        (Some(site.place), Some(site.backtrace))
    });
    Panic {
        text,
        location,
        backtrace,
    }
}

/// Shows an author's error; what panics in its `Display` is no reason to lose the failure.
pub(crate) fn text_of(error: &impl fmt::Display) -> String {
    guarded(|| format!("{error:#}")).unwrap_or_else(|_| "its error panicked when shown".to_owned())
}

fn payload_text(payload: &dyn Any) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "the panic carried a value that is not text".to_owned()
    }
}

/// What the hook noted of a panic.
struct Site {
    text: String,
    place: String,
    backtrace: Arc<Backtrace>,
}

/// The latest backtraces, by place and second; places that share a slot have more of them made than they need.
struct Traced([Mutex<Option<Trace>>; 256]);

/// A backtrace, and the mark of its place and second.
type Trace = (u64, Arc<Backtrace>);

impl Traced {
    const fn new() -> Self {
        Traced([const { Mutex::new(None) }; 256])
    }

    /// Returns the backtrace of the first panic at this place in this second; makes it, if this is that one.
    fn backtrace(
        &self,
        place: &Location<'_>,
        second: u64,
        make: impl FnOnce() -> Backtrace,
    ) -> Arc<Backtrace> {
        // The address of the file name will do: were it in memory twice, a place would be traced twice. The
        // multiplication spreads it (Fibonacci hashing, Knuth vol. 3).
        let line = u64::from(place.line()) << 16 | u64::from(place.column());
        let file = place.file().as_ptr().addr() as u64;
        let hash = (file ^ line.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let slot = &self.0[(hash >> 56) as usize];
        // The upper half tells the place, the lower half the second after this one; never 0.
        let mark = (hash & !u64::from(u32::MAX)) | (second + 1) & u64::from(u32::MAX);
        if let Some((of, backtrace)) = &*slot.lock()
            && *of == mark
        {
            return Arc::clone(backtrace);
        }
        // Not under the lock: it takes a while, and others panic at other places.
        let backtrace = Arc::new(make());
        let before = slot.lock().replace((mark, Arc::clone(&backtrace)));
        drop(before);
        backtrace
    }
}

/// Returns how many seconds this process has known about panics.
fn second() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed().as_secs()
}

thread_local! {
    /// How many guards are on this thread's stack.
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    /// Where the latest guarded panic of this thread happened.
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}

/// Takes note of guarded panics instead of printing them; all others go to the hook that was there before.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.try_with(Cell::get).unwrap_or(0) == 0 {
                return before(info);
            }
            let place = info
                .location()
                .map_or_else(String::new, ToString::to_string);
            let text = payload_text(info.payload());
            static TRACED: Traced = Traced::new();
            let backtrace = match info.location() {
                Some(place) => TRACED.backtrace(place, second(), Backtrace::force_capture),
                None => Arc::new(Backtrace::force_capture()),
            };
            let site = Site {
                text,
                place,
                backtrace,
            };
            // A panic while this thread's storage is torn down is caught all the same, without its place.
            let _ = SITE.try_with(|slot| slot.replace(Some(site)));
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_type_name_has_no_modules() {
        let name = std::any::type_name::<Option<std::collections::BTreeMap<String, [u8; 4]>>>();
        assert_eq!(
            ShortType(name).to_string(),
            "Option<BTreeMap<String, [u8; 4]>>"
        );
    }

    #[test]
    fn a_type_inside_a_function_has_its_own_name_only() {
        struct Inner;
        let name = std::any::type_name::<Vec<Inner>>();
        assert_eq!(ShortType(name).to_string(), "Vec<Inner>");
        assert_eq!(ShortType("a::b::{{closure}}::Go").to_string(), "Go");
        assert_eq!(
            ShortType("a::Größe<dyn b::Ü + c::Send>").to_string(),
            "Größe<dyn Ü + Send>"
        );
    }

    #[test]
    fn a_caught_panic_tells_its_text_place_and_backtrace() {
        let panic = guarded(|| panic!("no {}", "lamp")).expect_err("it panicked");
        assert_eq!(panic.text, "no lamp");
        assert!(panic.location.is_some_and(|at| at.contains("failure.rs:")));
        assert!(panic.backtrace.is_some());
    }

    #[test]
    fn a_place_is_traced_once_in_a_second() {
        let traced = Traced::new();
        let (here, there) = (Location::caller(), place());
        let mut made = 0;
        let mut backtrace = |place, second| {
            traced.backtrace(place, second, || {
                made += 1;
                Backtrace::disabled()
            })
        };
        let first = backtrace(here, 0);
        assert!(Arc::ptr_eq(&first, &backtrace(here, 0)));
        backtrace(there, 0);
        let next = backtrace(here, 1);
        assert!(!Arc::ptr_eq(&first, &next));
        assert!(Arc::ptr_eq(&next, &backtrace(here, 1)));
        assert_eq!(made, 3, "another place, and another second, have their own");
    }

    fn place() -> &'static Location<'static> {
        Location::caller()
    }

    #[test]
    fn panics_in_quick_succession_keep_text_and_place() {
        let panics: Vec<Panic> = (0..100)
            .map(|n| guarded(|| panic!("no. {n}")).expect_err("it panicked"))
            .collect();
        let traced = panics.iter().filter_map(|panic| panic.backtrace.as_ref());
        let mut traced: Vec<_> = traced.map(Arc::as_ptr).collect();
        assert_eq!(traced.len(), 100);
        traced.dedup();
        assert!(traced.len() < 100, "most share one");
        for (n, panic) in panics.iter().enumerate() {
            assert_eq!(panic.text, format!("no. {n}"));
            assert_eq!(panic.location, panics[0].location);
        }
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_survived() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("second");
            }
        }
        let panic = guarded(|| panic::panic_any(Bomb)).expect_err("it panicked");
        assert_eq!(panic.text, "the panic carried a value that is not text");
    }
}
