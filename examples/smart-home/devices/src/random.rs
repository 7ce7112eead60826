//! Seeded randomness: SplitMix64, so that a seed means the same home on every machine.
//!
//! Small and well distributed, and not for secrets. It is written out here rather than taken from
//! a crate because a recorded day must not change when a dependency is updated.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts the stream that `seed`, `name` and `index` name; any other name or index gives an
    /// independent one.
    pub(crate) fn new(seed: u64, name: &str, index: u64) -> Random {
        let named = name
            .bytes()
            .fold(mix(seed), |state, byte| mix(state ^ u64::from(byte)));
        Random(mix(named ^ mix(index)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        finish(self.0)
    }

    /// Returns a number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        to_unit(self.next())
    }

    /// Returns a number in `from..to`.
    pub(crate) fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// Returns a whole number in `from..to`, or `from` if that is empty.
    pub(crate) fn whole(&mut self, from: i64, to: i64) -> i64 {
        from + (self.unit() * (to - from).max(0) as f64) as i64
    }

    /// Returns `true` with probability `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }
}

/// A smooth random curve over time in `-1.0..1.0`, as a pure function: it has no state to advance.
///
/// Random values at every whole `x`, blended in between.
pub(crate) fn noise(seed: u64, channel: u64, x: f64) -> f64 {
    let floor = x.floor();
    let at = |index: f64| {
        let label = (index as i64) as u64;
        to_unit(mix(mix(seed ^ mix(channel)) ^ mix(label))) * 2.0 - 1.0
    };
    let fraction = x - floor;
    let blend = fraction * fraction * (3.0 - 2.0 * fraction);
    at(floor) * (1.0 - blend) + at(floor + 1.0) * blend
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(value: u64) -> u64 {
    finish(value.wrapping_add(GOLDEN))
}

fn finish(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn to_unit(value: u64) -> f64 {
    // The upper 53 bits: as many as a double has.
    (value >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // The first outputs of the reference implementation for the seed 0.
        let mut random = Random(0);
        assert_eq!(random.next(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.next(), 0x6E78_9E6A_A1B9_65F4);
        assert_eq!(random.next(), 0x06C4_5D18_8009_454F);
    }

    #[test]
    fn other_names_and_indexes_give_other_streams() {
        let first = |seed, name, index| Random::new(seed, name, index).next();
        assert_eq!(first(42, "plan", 1), first(42, "plan", 1));
        assert_ne!(first(42, "plan", 1), first(42, "plan", 2));
        assert_ne!(first(42, "plan", 1), first(42, "lag", 1));
        assert_ne!(first(42, "plan", 1), first(43, "plan", 1));
    }

    #[test]
    fn noise_is_smooth_and_bounded() {
        let mut before = noise(42, 7, -3.0);
        for step in -3000..3000 {
            let value = noise(42, 7, f64::from(step) / 1000.0);
            assert!(value.abs() <= 1.0);
            assert!((value - before).abs() < 0.01);
            before = value;
        }
    }
}
