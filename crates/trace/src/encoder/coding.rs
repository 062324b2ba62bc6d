//! Encodings of Parquet pages: run lengths with bit packing, packed differences, variable-length integers.

/// Number of values in a block of packed differences, and in a miniblock, which has a bit width of its own.
const BLOCK: usize = 256;
const MINI: usize = 64;
/// Number of equal values from which on a run is shorter than packed bits.
const RUN: usize = 8;

/// Appends an unsigned number with seven bits per byte.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// Appends a signed number; small numbers of either sign are short.
pub(super) fn zigzag(value: i64, out: &mut Vec<u8>) {
    varint((value << 1 ^ value >> 63).cast_unsigned(), out);
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Returns the number of bits of a value.
pub(super) fn width(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Appends numbers of `width` bits, at most 32, as runs of equal numbers and bit-packed groups of eight.
pub(super) fn runs<T: Copy + PartialEq + Into<u64>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    let (mut packed_from, mut at) = (0, 0);
    while at < values.len() {
        let first = values[at];
        let run = values[at..].iter().take_while(|value| **value == first).count();
        if run < RUN {
            // A run can begin only at the border of a group.
            at = (at + RUN).min(values.len());
            continue;
        }
        groups(&values[packed_from..at], width, out);
        varint((run as u64) << 1, out);
        let bytes = first.into().to_le_bytes();
        out.extend_from_slice(&bytes[..width.div_ceil(8) as usize]);
        at += run;
        packed_from = at;
    }
    groups(&values[packed_from..], width, out);
}

fn groups<T: Copy + Into<u64>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    if !values.is_empty() {
        let groups = values.len().div_ceil(8);
        varint((groups as u64) << 1 | 1, out);
        pack(values.iter().map(|value| (*value).into()), groups * 8, width, out);
    }
}

/// Appends the low `width` bits of all values, padded with zeros to `count` values, a multiple of 8.
fn pack(values: impl Iterator<Item = u64>, count: usize, width: u32, out: &mut Vec<u8>) {
    let end = out.len() + count * width as usize / 8;
    let (mut word, mut bits) = (0_u64, 0_u32);
    for value in values {
        word |= value << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            bits -= u64::BITS;
            // The bits that did not fit into the word.
            word = value.checked_shr(width - bits).unwrap_or(0);
        }
    }
    let rest = word.to_le_bytes();
    out.extend_from_slice(&rest[..(bits.div_ceil(8) as usize).min(end - out.len())]);
    out.resize(end, 0);
}

/// Appends numbers as packed differences (`DELTA_BINARY_PACKED`).
pub(super) fn differences(values: &[i64], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint((BLOCK / MINI) as u64, out);
    varint(values.len() as u64, out);
    let mut before = values.first().copied().unwrap_or(0);
    zigzag(before, out);
    let mut deltas = [0_i64; BLOCK];
    for block in values.get(1..).unwrap_or_default().chunks(BLOCK) {
        for (delta, value) in deltas.iter_mut().zip(block) {
            // The format adds modulo 2^64.
            *delta = value.wrapping_sub(before);
            before = *value;
        }
        let deltas = &deltas[..block.len()];
        let smallest = deltas.iter().copied().min().unwrap_or(0);
        zigzag(smallest, out);
        let widths = out.len();
        out.resize(widths + BLOCK / MINI, 0);
        for (at, mini) in deltas.chunks(MINI).enumerate() {
            let above = |delta: &i64| delta.wrapping_sub(smallest).cast_unsigned();
            let bits = width(mini.iter().map(above).fold(0, |all, value| all | value));
            out[widths + at] = low_byte(u64::from(bits));
            if bits > 0 {
                pack(mini.iter().map(above), MINI, bits, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_varint(bytes: &[u8], at: &mut usize) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
        }
        unreachable!()
    }

    fn unpack(bytes: &[u8], number: usize, width: usize) -> u64 {
        (0..width).fold(0, |value, bit| {
            let place = number * width + bit;
            value | u64::from(bytes[place / 8] >> (place % 8) & 1) << bit
        })
    }

    fn read_runs(bytes: &[u8], width: usize, count: usize) -> Vec<u64> {
        let (mut values, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let head = read_varint(bytes, &mut at);
            let n = usize::try_from(head >> 1).unwrap();
            if head & 1 == 1 {
                values.extend((0..n * 8).map(|number| unpack(&bytes[at..], number, width)));
                at += n * width;
            } else {
                let mut word = [0; 8];
                word[..width.div_ceil(8)].copy_from_slice(&bytes[at..at + width.div_ceil(8)]);
                values.extend(std::iter::repeat_n(u64::from_le_bytes(word), n));
                at += width.div_ceil(8);
            }
        }
        assert!(values.len() >= count && values.len() < count + 8);
        values.truncate(count);
        values
    }

    #[test]
    fn runs_and_packed_groups_hold_every_number_of_every_width() {
        for width in 1..=32_u32 {
            let mask = u64::from(u32::MAX >> (32 - width));
            let mut values = Vec::new();
            for round in 0..40_u64 {
                let number = |i: u64| u32::try_from((i * 2_654_435_761 + round) & mask).unwrap();
                values.extend((0..round).map(number));
                values.extend(std::iter::repeat_n(number(round), usize::try_from(round % 23).unwrap()));
            }
            for length in [0, 1, 7, 8, 9, 63, values.len()] {
                let mut bytes = Vec::new();
                runs(&values[..length], width, &mut bytes);
                let expected: Vec<u64> = values[..length].iter().map(|value| u64::from(*value)).collect();
                assert_eq!(read_runs(&bytes, width as usize, length), expected, "width {width}");
            }
        }
    }

    #[test]
    fn equal_values_cost_a_run() {
        let mut bytes = Vec::new();
        runs(&vec![1_u8; 100_000], 1, &mut bytes);
        assert_eq!(bytes.len(), 4);
    }

    fn read_differences(bytes: &[u8]) -> Vec<i64> {
        let mut at = 0;
        let next = |at: &mut usize| read_varint(bytes, at);
        let signed = |value: u64| (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
        assert_eq!((next(&mut at), next(&mut at)), (256, 4));
        let count = usize::try_from(next(&mut at)).unwrap();
        let mut value = signed(next(&mut at));
        let mut values = vec![value];
        while values.len() < count {
            let smallest = signed(next(&mut at));
            let widths = at;
            at += 4;
            for mini in 0..4 {
                let width = usize::from(bytes[widths + mini]);
                if values.len() >= count {
                    assert_eq!(width, 0, "no bytes for what is not there");
                }
                for number in 0..64.min(count - values.len()) {
                    value =
                        value.wrapping_add(smallest).wrapping_add(unpack(&bytes[at..], number, width).cast_signed());
                    values.push(value);
                }
                at += width * 8;
            }
        }
        assert_eq!(at, bytes.len());
        values.truncate(count);
        values
    }

    #[test]
    fn differences_hold_every_number() {
        let steps = [0, 1, -1, 5, 1 << 20, -(1 << 40), i64::MAX, i64::MIN, 63, 64];
        for length in [1_usize, 2, 64, 65, 256, 257, 258, 1_000, 5_000] {
            for shift in 0..steps.len() {
                let mut value = 1_795_245_458_719_968_308_i64;
                let values: Vec<i64> = (0..length)
                    .map(|i| {
                        value = value.wrapping_add(steps[(i / 70 + shift) % steps.len()]);
                        value
                    })
                    .collect();
                let mut bytes = Vec::new();
                differences(&values, &mut bytes);
                assert_eq!(read_differences(&bytes), values);
            }
        }
        let mut bytes = Vec::new();
        differences(&[], &mut bytes);
        assert_eq!(bytes, [0x80, 2, 4, 0, 0]);
    }
}
