//! Values made at random, but the same ones in every run.
#![allow(dead_code, reason = "each test program uses its part")]

use num_bigint::BigInt;
use resource::{Date, Map, Value};

/// SplitMix64: small, and good enough to make test data.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, longest: u64) -> Vec<u8> {
        (0..self.below(longest + 1))
            .map(|_| self.next() as u8)
            .collect()
    }

    pub(crate) fn text(&mut self) -> String {
        const ALPHABET: &[char] = &[
            'a', 'b', 'Z', '0', '"', '\\', '/', '\n', '\r', '\t', '\0', '\u{1f}', '\u{7f}', ',',
            ';', '{', ' ', 'é', '€', '\u{d7ff}', '\u{e000}', '\u{ffff}', '😀',
        ];
        (0..self.below(12))
            .map(|_| ALPHABET[self.below(ALPHABET.len() as u64) as usize])
            .collect()
    }

    /// An integer of any length, often at the edge of a width.
    pub(crate) fn integer(&mut self) -> Value {
        let edge = BigInt::from(1) << self.below(200);
        let near: BigInt = edge + self.below(3) - 1;
        Value::from(if self.below(2) == 0 { near } else { -near })
    }

    pub(crate) fn float(&mut self) -> f64 {
        match self.below(4) {
            0 => f64::from_bits(self.next()),
            1 => self.below(1000) as f64,
            2 => self.below(1_000_000) as f64 / 1000.0,
            _ => [f64::MAX, f64::MIN_POSITIVE, -0.0, f64::INFINITY][self.below(4) as usize],
        }
    }

    pub(crate) fn date(&mut self) -> Value {
        let span = 253_402_300_800_000 + 62_167_219_200_000;
        let millis = self.below(span) as i64 - 62_167_219_200_000;
        let rounded = if self.below(2) == 0 {
            millis
        } else {
            millis / 1000 * 1000
        };
        Value::Date(Date::from_millis(rounded).expect("within the years of a date"))
    }

    /// A value with all types that binary formats carry.
    pub(crate) fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 8 } else { 10 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => self.integer(),
            3 => Value::Int(self.next() as i64 >> self.below(64)),
            4 => Value::Float(self.float()),
            5 => Value::String(self.text()),
            6 => Value::Bytes(self.bytes(40).into()),
            7 => self.date(),
            8 => Value::Array((0..self.below(20)).map(|_| self.value(depth - 1)).collect()),
            _ => Value::Map(
                (0..self.below(20))
                    .map(|_| (self.text(), self.value(depth - 1)))
                    .collect::<Map>(),
            ),
        }
    }
}

/// Whether two values are the same; unlike `==`, NaN is NaN and the two zeros differ.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right.iter())
                    .all(|((ln, lv), (rn, rv))| ln == rn && same(lv, rv))
        }
        (left, right) => left == right,
    }
}
