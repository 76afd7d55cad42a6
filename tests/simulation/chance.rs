//! Chance: the random numbers of a schedule, and how likely each fault is in it.

use crate::world::L;

/// A small generator of random numbers: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

/// How likely each fault is in this schedule.
pub struct Faults {
    pub request_lost: f64,
    pub answer_lost: f64,
    pub delayed: f64,
    pub refused: f64,
    pub sent_twice: f64,
    pub watch_lags: f64,
    pub watch_cut: f64,
    /// Once in this many nanoseconds something happens to a candidate or to the lock.
    pub mischief_every: u64,
    pub same_identity: bool,
}

impl Faults {
    pub fn drawn(random: &mut Random) -> Faults {
        let mut probability = |most: f64| if random.happens(0.5) { random.unit() * most } else { 0.0 };
        let (request_lost, answer_lost, delayed) = (probability(0.3), probability(0.3), probability(0.3));
        let (refused, sent_twice) = (probability(0.2), probability(0.2));
        let (watch_lags, watch_cut) = (probability(0.5), probability(0.2));
        let mischief_every = L / 8 + random.below(4 * L);
        let same_identity = random.happens(0.2);
        Faults {
            request_lost,
            answer_lost,
            delayed,
            refused,
            sent_twice,
            watch_lags,
            watch_cut,
            mischief_every,
            same_identity,
        }
    }
}
