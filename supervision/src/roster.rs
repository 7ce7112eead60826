//! What is known of children, by rising numbers, in as little room as they leave.

use std::iter::{Rev, Zip};
use std::ops::RangeInclusive;
use std::slice;

/// A map from numbers that mostly rise, as those of children do that come and go.
///
/// It is two sorted vectors, so an entry is hardly larger than what it holds, and one that is
/// numbered higher than all others is pushed. The place of one that is removed stays empty until
/// half of all are; then they close up. So finding takes O(log n), mostly less, and the rest the
/// same on average, but for an entry that is numbered lower than others: then these are moved.
///
/// # Examples
///
/// ```
/// use greenroom_supervision::Roster;
///
/// let mut roster = Roster::new();
/// for (number, name) in [(3, "store"), (4, "cache"), (9, "lights")] {
///     roster.insert(number, name);
/// }
/// assert_eq!(roster.remove(4), Some("cache"));
/// assert!(roster.iter().eq([(3, &"store"), (9, &"lights")]));
/// ```
#[derive(Clone, Debug)]
pub struct Roster<T> {
    numbers: Vec<u64>,
    /// Of each number; empty where it was removed.
    values: Vec<Option<T>>,
    live: usize,
}

/// How many places may be empty before anything closes up.
const EMPTY_MIN: usize = 8;

impl<T> Roster<T> {
    /// Returns one that is empty.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            numbers: Vec::new(),
            values: Vec::new(),
            live: 0,
        }
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Returns whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The place of the lowest number that is not below this one.
    fn place(&self, number: u64) -> usize {
        // Most numbers follow upon each other.
        if let Some(first) = self.numbers.first()
            && let Some(ahead) = number.checked_sub(*first)
            && let Ok(guess) = usize::try_from(ahead)
            && self.numbers.get(guess) == Some(&number)
        {
            return guess;
        }
        self.numbers.partition_point(|&n| n < number)
    }

    fn find(&self, number: u64) -> Option<usize> {
        let place = self.place(number);
        (self.numbers.get(place) == Some(&number)).then_some(place)
    }

    /// Enters a value and returns the one that it takes the place of.
    pub fn insert(&mut self, number: u64, value: T) -> Option<T> {
        if self.numbers.last().is_none_or(|&last| last < number) {
            self.numbers.push(number);
            self.values.push(Some(value));
            self.live += 1;
            return None;
        }
        let place = self.place(number);
        if self.numbers.get(place) != Some(&number) {
            self.numbers.insert(place, number);
            self.values.insert(place, None);
        }
        let before = self.values[place].replace(value);
        self.live += usize::from(before.is_none());
        before
    }

    /// Returns the value of a number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&T> {
        self.values[self.find(number)?].as_ref()
    }

    /// Returns the value of a number, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.find(number)?;
        self.values[place].as_mut()
    }

    /// Takes an entry out.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.find(number)?;
        let value = self.values[place].take()?;
        self.live -= 1;
        if self.values.len() > 2 * self.live + EMPTY_MIN {
            self.close_up();
        }
        Some(value)
    }

    /// How many places there is room for.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.values.capacity().max(self.numbers.capacity())
    }

    fn close_up(&mut self) {
        let mut taken = self.values.iter().map(Option::is_some);
        self.numbers.retain(|_| taken.next().unwrap_or_default());
        self.values.retain(Option::is_some);
        // Half of it stays free for those to come.
        let room = 2 * self.live + EMPTY_MIN;
        self.numbers.shrink_to(room);
        self.values.shrink_to(room);
    }

    /// Returns all entries in the order of their numbers.
    #[must_use]
    pub fn iter(&self) -> Entries<'_, T> {
        Entries {
            places: self.numbers.iter().zip(&self.values),
            left: self.live,
        }
    }

    /// Returns the entries whose numbers are in a range, in their order.
    #[must_use]
    pub fn range(&self, range: RangeInclusive<u64>) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let (first, last) = range.into_inner();
        let from = self.place(first);
        let to = match last.checked_add(1) {
            Some(end) => self.place(end).max(from),
            None => self.numbers.len(),
        };
        let places = self.numbers[from..to].iter().zip(&self.values[from..to]);
        places.filter_map(Entries::entry)
    }
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T> IntoIterator for &'a Roster<T> {
    type Item = (u64, &'a T);
    type IntoIter = Entries<'a, T>;

    fn into_iter(self) -> Entries<'a, T> {
        self.iter()
    }
}

/// The entries of a [`Roster`] in the order of their numbers.
#[derive(Clone, Debug)]
pub struct Entries<'a, T> {
    places: Zip<slice::Iter<'a, u64>, slice::Iter<'a, Option<T>>>,
    left: usize,
}

impl<'a, T> Entries<'a, T> {
    fn entry((number, value): (&u64, &'a Option<T>)) -> Option<(u64, &'a T)> {
        Some((*number, value.as_ref()?))
    }
}

impl<'a, T> Iterator for Entries<'a, T> {
    type Item = (u64, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.places.find_map(Self::entry);
        self.left -= usize::from(next.is_some());
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> DoubleEndedIterator for Entries<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let mut places: Rev<_> = self.places.by_ref().rev();
        let next = places.find_map(Self::entry);
        self.left -= usize::from(next.is_some());
        next
    }
}

impl<T> ExactSizeIterator for Entries<'_, T> {}
