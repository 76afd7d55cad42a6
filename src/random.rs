//! Random numbers from the kernel.

use rustix::rand::{GetRandomFlags, getrandom};
use std::hash::{BuildHasher, RandomState};

/// 64 random bits.
pub fn bits() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        // The kernel is too old for the call; the standard library has fallbacks.
        _ => RandomState::new().hash_one(0),
    }
}

/// A number in [0, 1).
pub fn fraction() -> f64 {
    (bits() >> 11) as f64 / (1_u64 << 53) as f64
}
