//! Subscriptions by the tokens of their patterns, so that a subject finds those that match.
//!
//! A node stands for the tokens on the way to it. At each, a subject goes on in at most two
//! places, the node of its next token and the node of `*`:
//!
//! ```text
//!   (root)                         home.>                     1
//!     +- home   rest: 1            home.*.temperature         2
//!          +- *                    home.kitchen.temperature   3, 4
//!          |   +- temperature   here: 2
//!          +- kitchen
//!              +- temperature   here: 3, 4
//! ```
//!
//! # What a visit costs
//! A node is reached on one way only, so it is looked at once at the most, and only if all
//! tokens on the way to it match. With *p* patterns of up to *m* tokens and a subject of *d*
//! these are at most 2^*k* and at most *p* nodes at the depth *k*: in all no more than
//! 1 + *p* min(*d*, *m*), however the patterns branch. So many are looked at only where
//! nearly all patterns begin with what matches, such as all that are made of `a` and `*`;
//! patterns that begin with something else cost nothing. Of a subject that is deeper than
//! 32 tokens the rest is only read for empty tokens.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::radix::Radix;
use super::token::Token;
use super::{ANY, Pattern, REST, Subject};

/// The subscriptions that match a subject; see [the module](super).
///
/// A clone shares all nodes and costs a count. A change copies the nodes on its way
/// while a clone has them too, and changes them in place if none does.
#[derive(Clone)]
pub(crate) struct Index<T, S = RandomState> {
    root: Arc<Node<T>>,
    len: usize,
    /// A hash that is seeded by chance, since tokens may be made up by those who would make them
    /// collide; no order depends on it.
    hasher: S,
}

#[derive(Clone)]
struct Node<T> {
    /// The last token on the way to it; empty at the root and below `*`.
    token: Token,
    /// Those whose pattern ends here, by id.
    here: Radix<T>,
    /// Those whose pattern ends with a `>` behind this.
    rest: Radix<T>,
    any: Option<Arc<Node<T>>>,
    /// By the hash of the token, or the next number that is free.
    named: Radix<Arc<Node<T>>>,
}

/// A subject on its way, with the hashes that were needed so far; 0 is none yet.
struct Way<'a, S> {
    subject: Subject<'a>,
    hashes: [u64; Pattern::TOKENS_MAX],
    hasher: &'a S,
}

impl<T> Index<T> {
    pub(crate) fn new() -> Self {
        Index::default()
    }
}

impl<T, S: Default> Default for Index<T, S> {
    fn default() -> Self {
        Index {
            root: Arc::new(Node::of("")),
            len: 0,
            hasher: S::default(),
        }
    }
}

impl<T, S: BuildHasher> Index<T, S> {
    /// How many there are: pairs of a pattern and an id.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, pattern: &Pattern, id: u64) -> Option<&T> {
        let mut node = &self.root;
        for token in pattern.tokens() {
            node = match token {
                REST => return node.rest.get(id),
                ANY => node.any.as_ref()?,
                name => node.child(name.as_bytes(), hash(&self.hasher, name.as_bytes()))?,
            };
        }
        node.here.get(id)
    }

    /// Calls `f` with id and value of each that matches, in the order that the module tells.
    pub(crate) fn visit<'i>(&'i self, subject: &str, mut f: impl FnMut(u64, &'i T)) {
        self.look(subject, &mut f);
    }

    /// Returns how many nodes it has looked at.
    fn look<'i>(&'i self, subject: &str, f: &mut impl FnMut(u64, &'i T)) -> usize {
        if self.is_empty() {
            return 0;
        }
        let Some(subject) = Subject::parse(subject) else {
            return 0;
        };
        let mut way = Way {
            subject,
            hashes: [0; Pattern::TOKENS_MAX],
            hasher: &self.hasher,
        };
        self.root.look(0, &mut way, f)
    }
}

impl<T: Clone, S: BuildHasher> Index<T, S> {
    /// Puts a subscription under a pattern; returns the one that had this id there.
    pub(crate) fn insert(&mut self, pattern: &Pattern, id: u64, value: T) -> Option<T> {
        let mut node = Arc::make_mut(&mut self.root);
        let mut tokens = pattern.tokens();
        let before = loop {
            node = match tokens.next() {
                None => break node.here.insert(id, value),
                Some(REST) => break node.rest.insert(id, value),
                Some(ANY) => Arc::make_mut(node.any.get_or_insert_with(|| Arc::new(Node::of("")))),
                Some(name) => {
                    let hash = hash(&self.hasher, name.as_bytes());
                    let place = node.place(name.as_bytes(), hash);
                    let child = || Arc::new(Node::of(name));
                    Arc::make_mut(node.named.get_or_insert_with(place, child))
                }
            };
        };
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes a subscription out of a pattern; what nobody needs any more is let go with it.
    pub(crate) fn remove(&mut self, pattern: &Pattern, id: u64) -> Option<T> {
        // Looked for first, so that nothing is copied for one that is not there.
        self.get(pattern, id)?;
        let root = Arc::make_mut(&mut self.root);
        let gone = root.remove(&mut pattern.tokens(), id, &self.hasher);
        self.len -= usize::from(gone.is_some());
        gone
    }

    /// Adds a clone of each value that matches to `out`.
    pub(crate) fn matches(&self, subject: &str, out: &mut Vec<T>) {
        self.visit(subject, |_, value| out.push(value.clone()));
    }
}

impl<T> Node<T> {
    fn of(token: &str) -> Self {
        Node {
            token: Token::of(token.as_bytes()),
            here: Radix::default(),
            rest: Radix::default(),
            any: None,
            named: Radix::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.rest.is_empty() && self.any.is_none() && self.named.is_empty()
    }

    /// Returns the child of this token.
    #[inline]
    fn child(&self, token: &[u8], hash: u64) -> Option<&Arc<Node<T>>> {
        let mut key = hash;
        loop {
            let child = self.named.get(key)?;
            if child.token.as_bytes() == token {
                return Some(child);
            }
            key = key.wrapping_add(1);
        }
    }

    /// Returns under which number it is, or would be.
    fn place(&self, token: &[u8], hash: u64) -> u64 {
        let is_other = |child: &Arc<Node<T>>| child.token.as_bytes() != token;
        let mut key = hash;
        while self.named.get(key).is_some_and(is_other) {
            key = key.wrapping_add(1);
        }
        key
    }

    fn look<'i, S: BuildHasher>(
        &'i self,
        mut depth: usize,
        way: &mut Way<'_, S>,
        f: &mut impl FnMut(u64, &'i T),
    ) -> usize {
        let mut node = self;
        let mut looked = 1;
        while let Some(&token) = way.subject.tokens().get(depth) {
            node.rest.for_each(f);
            if let Some(any) = &node.any {
                looked += any.look(depth + 1, way, f);
            }
            if node.named.is_empty() {
                return looked;
            }
            let Some(child) = node.child(token, way.hash(depth, token)) else {
                return looked;
            };
            node = child;
            looked += 1;
            depth += 1;
        }
        // Behind the last token that a pattern can have there may be more of the subject.
        if !way.subject.goes_on {
            node.here.for_each(f);
        }
        looked
    }
}

impl<T: Clone> Node<T> {
    fn remove<'p, S: BuildHasher>(
        &mut self,
        tokens: &mut impl Iterator<Item = &'p str>,
        id: u64,
        hasher: &S,
    ) -> Option<T> {
        match tokens.next() {
            None => self.here.remove(id),
            Some(REST) => self.rest.remove(id),
            Some(ANY) => {
                let child = Arc::make_mut(self.any.as_mut()?);
                let gone = child.remove(tokens, id, hasher);
                if child.is_empty() {
                    self.any = None;
                }
                gone
            }
            Some(name) => {
                let name = name.as_bytes();
                let place = self.place(name, hash(hasher, name));
                let child = Arc::make_mut(self.named.get_mut(place)?);
                let gone = child.remove(tokens, id, hasher);
                if child.is_empty() {
                    self.forget(place, hasher);
                }
                gone
            }
        }
    }

    /// Lets a child go, and puts those where they belong that had to stand behind it.
    fn forget<S: BuildHasher>(&mut self, place: u64, hasher: &S) {
        self.named.remove(place);
        let mut next = place.wrapping_add(1);
        while let Some(child) = self.named.remove(next) {
            let token = child.token.as_bytes();
            let place = self.place(token, hash(hasher, token));
            self.named.insert(place, child);
            next = next.wrapping_add(1);
        }
    }
}

impl<S: BuildHasher> Way<'_, S> {
    /// The hash of the token at a depth, taken once however many nodes want it.
    #[inline]
    fn hash(&mut self, depth: usize, token: &[u8]) -> u64 {
        let known = &mut self.hashes[depth];
        if *known == 0 {
            *known = hash(self.hasher, token);
        }
        *known
    }
}

#[inline]
fn hash<S: BuildHasher>(hasher: &S, token: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(token);
    hasher.finish()
}

#[cfg(test)]
mod tests;
