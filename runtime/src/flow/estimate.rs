//! Whose messages were those that nobody looked at?
//!
//! How many came to a kind is known: its mailboxes count them all. Who sent them was noted of two kinds of samples. The
//! *first* of a mailbox in each tick of the coarse clock: they are many where little flows, but who sends when the clock
//! ticks is among them more often than is fair. And one message in some hundred wherever it comes (it is *drawn*): they are
//! fair, but rare where little flows.
//!
//! So what was not noted is shared out as the drawn ones are shared, which is right on average whatever the senders do; and
//! where there are few of them, as the first ones are: those count as much as [`PRIOR`] drawn ones. The sum is exact, so
//! an edge that has its receivers for itself is exact too.

use super::{Edge, Traffic};

/// As much as so many samples that were drawn, the first ones of all ticks say: of one message in 256 these are
/// 4,000 messages.
const PRIOR: f64 = 16.0;

/// What came to the actors of a kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received {
    /// The kind.
    pub(crate) by: String,
    /// All of it.
    pub(crate) messages: u64,
    /// What flowed on edges that have no place of their own.
    pub(crate) rest: Traffic,
}

impl Received {
    pub(super) fn less(&self, earlier: &Received) -> Received {
        Received {
            by: self.by.clone(),
            messages: self.messages.saturating_sub(earlier.messages),
            rest: self.rest.less(earlier.rest),
        }
    }
}

/// Adds to each edge its share of what was not noted; returns what flowed on edges that have no place of their own.
pub(super) fn share_out(edges: &mut [Edge], received: &[Received]) -> Traffic {
    let mut all_rest = Traffic::default();
    for Received { by, messages, rest } in received {
        let mut rest = *rest;
        let mut parts: Vec<&mut Traffic> = Vec::new();
        let to_it = edges.iter_mut().filter(|edge| edge.to == *by);
        parts.extend(to_it.filter_map(|edge| edge.observed.as_mut()));
        parts.push(&mut rest);
        share(&mut parts, *messages);
        all_rest.add(rest);
    }
    all_rest
}

/// The same for the edges that end at one kind, to which so many messages came.
fn share(parts: &mut [&mut Traffic], messages: u64) {
    let sum = |of: fn(&Traffic) -> u64| parts.iter().map(|part| of(part)).sum::<u64>();
    let (samples, firsts) = (sum(|part| part.samples), sum(|part| part.firsts));
    let drawn = samples.saturating_sub(firsts);
    let unknown = messages.saturating_sub(samples) as f64;
    let prior = if firsts > 0 { PRIOR } else { 0.0 };
    let mut passed = 0.0;
    for part in parts {
        let of_drawn = part.samples.saturating_sub(part.firsts) as f64;
        let of_firsts = part.firsts as f64 / firsts.max(1) as f64;
        let weight = (of_drawn + prior * of_firsts) / (drawn as f64 + prior).max(1.0);
        // The parts are whole, and so is their sum.
        let next: f64 = passed + unknown * weight;
        part.messages = part.samples + (next.round() - f64::round(passed)) as u64;
        passed = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(samples: u64, firsts: u64) -> Traffic {
        Traffic {
            samples,
            firsts,
            ..Traffic::default()
        }
    }

    fn shared(messages: u64, mut parts: Vec<Traffic>) -> Vec<u64> {
        share(&mut parts.iter_mut().collect::<Vec<_>>(), messages);
        parts.iter().map(|part| part.messages).collect()
    }

    #[test]
    fn who_is_alone_has_all_and_of_several_the_sum_is_exact() {
        for (samples, firsts) in [(1, 1), (1, 0), (11, 11), (12, 11), (700, 3)] {
            assert_eq!(shared(795, vec![traffic(samples, firsts)]), [795]);
        }
        for n in 1..50 {
            let parts = (0..n).map(|i| traffic(1 + i % 3, i % 2)).collect();
            assert_eq!(shared(10_007, parts).iter().sum::<u64>(), 10_007);
        }
    }

    #[test]
    fn what_is_all_noted_is_exact_and_what_is_not_noted_at_all_is_nobodys() {
        assert_eq!(shared(5, vec![traffic(2, 1), traffic(3, 0)]), [2, 3]);
        // What was noted a moment ago is not counted yet.
        assert_eq!(shared(4, vec![traffic(2, 1), traffic(3, 0)]), [2, 3]);
        assert_eq!(shared(9, vec![traffic(0, 0), traffic(0, 0)]), [0, 0]);
        // Who was seen in an earlier time has nothing of this one.
        assert_eq!(shared(900, vec![traffic(0, 0), traffic(3, 3)]), [0, 900]);
    }

    #[test]
    fn where_little_flows_the_first_ones_tell_the_shares() {
        let parts = shared(160, vec![traffic(8, 8), traffic(2, 2)]);
        assert_eq!(parts, [128, 32]);
    }

    #[test]
    fn who_always_sends_when_the_clock_ticks_has_no_more_than_its_share_for_long() {
        // One sends ten messages a second just then, and the other a hundred times as many: for ten minutes.
        let (often, all) = (600_000, 606_000);
        let parts = shared(all, vec![traffic(6_000, 6_000), traffic(often / 256, 0)]);
        assert!(parts[0] < 11_000, "{parts:?}");
        assert_eq!(parts.iter().sum::<u64>(), all);
    }

    /// Senders that take their turns at random, sampled as a mailbox does it: in each window the error of each edge is
    /// what that of so many samples may be, and over all windows there is next to none.
    #[test]
    fn rates_are_right_on_average_and_not_far_off_in_any_window() {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut random = 7_u64;
        for per_second in [40_u64, 160, 2_000, 50_000] {
            let mut number = 0_u64;
            let (mut sent_by_all, mut told_of_all) = ([0_u64; 2], [0_u64; 2]);
            for _ in 0..200 {
                let mut sent = [0_u64; 2];
                let mut seen = [traffic(0, 0), traffic(0, 0)];
                for i in 0..2 * per_second {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    // One sends a quarter.
                    let who = usize::from(random.is_multiple_of(4));
                    sent[who] += 1;
                    number += 1;
                    let is_first = i % (per_second / 10) == 0;
                    if is_first || number.wrapping_mul(GOLDEN) >> 56 == 0 {
                        seen[who].samples += 1;
                        seen[who].firsts += u64::from(is_first);
                    }
                }
                let told = shared(2 * per_second, seen.to_vec());
                for who in 0..2 {
                    sent_by_all[who] += sent[who];
                    told_of_all[who] += told[who];
                    // Of twenty samples a standard error is a tenth.
                    let error = told[who].abs_diff(sent[who]) as f64 / (2 * per_second) as f64;
                    assert!(error < 0.45, "{per_second}/s: sent {sent:?}, told {told:?}");
                }
            }
            let error = told_of_all[1].abs_diff(sent_by_all[1]) as f64 / sent_by_all[1] as f64;
            assert!(
                error < 0.1,
                "{per_second}/s: {sent_by_all:?}, {told_of_all:?}"
            );
        }
    }
}
