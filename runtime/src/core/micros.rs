//! A time in six bytes, for where eight have no room.

use std::time::Duration;

/// Microseconds since a beginning that its owner knows; after nine years it stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Micros([u16; 3]);

const MAX: u64 = (1 << 48) - 1;

impl Micros {
    pub(crate) fn new(since: Duration) -> Self {
        let n = u64::try_from(since.as_micros()).unwrap_or(MAX).min(MAX);
        Micros([n as u16, (n >> 16) as u16, (n >> 32) as u16])
    }

    fn get(self) -> u64 {
        let [low, middle, high] = self.0.map(u64::from);
        low | middle << 16 | high << 32
    }

    /// How long it was from an earlier time to this one.
    pub(crate) fn since(self, earlier: Micros) -> Duration {
        Duration::from_micros(self.get().saturating_sub(earlier.get()))
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn it_is_true_to_a_microsecond_for_nine_years_and_stands_still_then() {
        assert_eq!((size_of::<Micros>(), align_of::<Micros>()), (6, 2));
        let year = Duration::from_secs(365 * 86_400);
        for time in [
            Duration::ZERO,
            Duration::from_micros(1),
            Duration::from_micros(0x1234_5678_9abc),
            8 * year,
        ] {
            assert_eq!(Micros::new(time).since(Micros::default()), time);
        }
        assert_eq!(Micros::new(9 * year), Micros::new(Duration::MAX));
        let (early, late) = (Micros::new(year), Micros::new(2 * year));
        assert_eq!(
            (late.since(early), early.since(late)),
            (year, Duration::ZERO)
        );
    }
}
