//! The name of an actor: its place in the tree.

use std::borrow::Borrow;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// The place of an actor in the tree, as in `home/kitchen/lights`.
///
/// One path is the name to find an actor by, the field in its log records and
/// its row in a console. Metric labels use the actor's bounded
/// [group](crate::Spec::group) instead, because paths are not bounded.
/// A clone costs one reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<str>);

impl Path {
    pub(crate) fn root(name: &str) -> Self {
        Path(Arc::from(name))
    }

    pub(crate) fn join(&self, name: &str) -> Self {
        thread_local! {
            static TEXT: Cell<String> = const { Cell::new(String::new()) };
        }
        // Put together where the thread has room, so that it is allocated once.
        let mut text = TEXT.take();
        text.clear();
        text.extend([&*self.0, "/", name]);
        let path = Path(Arc::from(&*text));
        TEXT.set(text);
        path
    }

    /// Reads a path from text; `None` if a part of it cannot be a name.
    ///
    /// ```
    /// use greenroom::Path;
    ///
    /// let path = Path::parse("home/kitchen/lights").expect("three names");
    /// assert_eq!(path.name(), "lights");
    /// assert!(Path::parse("home//lights").is_none());
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.split('/')
            .all(is_valid_name)
            .then(|| Path(Arc::from(text)))
    }

    /// Whether this is `other` or lies below it.
    pub(crate) fn is_within(&self, other: &Path) -> bool {
        let rest = self.0.strip_prefix(&*other.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The place of the supervisor above, if there is one.
    pub(crate) fn parent(&self) -> Option<Path> {
        let (parent, _) = self.0.rsplit_once('/')?;
        Some(Path(Arc::from(parent)))
    }

    /// Returns the path as text, without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last part: the name under which its supervisor knows the actor.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Path {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Path {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether `name` can be one part of a path.
pub(crate) fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}
