//! Random mutations of inputs.

use std::ops::Range;

/// The maximum length of an input: several heads of maximum length.
const MOST_BYTES: usize = 40 * 1024;

/// Tokens that parsers often handle wrong.
const TOKENS: [&[u8]; 41] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PRI * HTTP/2.0\r\n\r\n",
    b"/",
    b"*",
    b"/isLeader",
    b"/leader",
    b"/healthz",
    b"/readyz",
    b"/status",
    b"/events",
    b"/metrics",
    b"http://host/",
    b"?",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/9.9\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"Content-Length: ",
    b"18446744073709551616",
    b"10000000000000000",
    b"-1",
    b"0",
    b"Transfer-Encoding: chunked\r\n",
    b"ffffffffffffffff\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Host: x\r\n",
    b"\xff\xfe",
    b"\x16\x03\x01",
];

/// A random input of the pool with a few random changes, such as another input appended.
pub(super) fn mutate(pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.of(pool).clone();
    for _ in 0..random.below(8) + 1 {
        let range = random.range(input.len());
        match random.below(10) {
            0 => input.extend_from_slice(random.of::<Vec<u8>>(pool)),
            1 => drop(input.splice(range, random.of(pool).iter().copied())),
            2 => drop(input.drain(range)),
            3 => input.truncate(range.end),
            4 => {
                let again = input[range.clone()].repeat(random.size().min(300));
                input.splice(range.end..range.end, again);
            }
            5 => {
                let filler = vec![random.next() as u8; random.size()];
                input.splice(range.start..range.start, filler);
            }
            6 if !range.is_empty() => input[range.start] ^= 1 << random.below(8),
            7 if !range.is_empty() => input[range.start] = random.next() as u8,
            8 => drop(input.splice(range, random.of(&TOKENS).iter().copied())),
            _ => drop(input.splice(range.start..range.start, random.of(&TOKENS).iter().copied())),
        }
        input.truncate(MOST_BYTES);
    }
    input
}

/// xorshift64*: a small generator of random numbers.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    pub(super) fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One or more, rarely many.
    pub(super) fn size(&mut self) -> usize {
        let magnitude = self.below(14);
        1 + self.below(1 << magnitude)
    }

    /// From one to `most`; `most` itself if there is no limit.
    pub(super) fn up_to(&mut self, most: usize) -> usize {
        if most == usize::MAX { most } else { 1 + self.below(most) }
    }

    /// A random range within `length`, possibly empty.
    pub(super) fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.size() - 1).min(length)
    }
}
