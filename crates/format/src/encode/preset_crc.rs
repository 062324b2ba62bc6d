//! Payload whose CRC is chosen before the payload exists.
//!
//! A zip local header carries the CRC-32 of the data that follow, and an upload cannot go back to fill it in. CRC is
//! linear: flipping 32 suitable bits near the end of the data can bring it to any value. So the value is drawn first,
//! and the last bytes of the payload are adjusted to it: one pass, whatever the length. Only bits that leave an
//! element in its range are flipped (mantissas of floats, the lowest bit of a bool).

use std::sync::Arc;

use crate::buffer::clamp;
use crate::crc::{BLOCK, Crc32, Crc32c};
use crate::payload::{Element, Stream};

/// Number of bytes at the end of a payload whose bits may be flipped; a multiple of every element size.
const TAIL: usize = 64;
/// The reflected polynomial of CRC-32 (ISO-HDLC, as in zip).
const POLYNOMIAL: u32 = 0xEDB8_8320;
/// The reflected polynomial of CRC-32C (iSCSI).
const CASTAGNOLI: u32 = 0x82F6_3B78;

/// The bit flips that set a CRC to a chosen value, for one element type and one polynomial.
#[derive(Debug)]
pub(crate) struct PresetCrc {
    /// Change of the CRC whose leading bit is the index, and the flips (one bit per position) that cause it.
    rows: [(u32, u32); 32],
    /// Position of each flip: byte of the tail, bit of the byte.
    positions: Vec<(usize, u8)>,
}

impl PresetCrc {
    /// Computes the flips for CRC-32.
    pub(crate) fn crc32(element: Element) -> Self {
        Self::over(POLYNOMIAL, element)
    }

    /// Computes the flips for CRC-32C.
    pub(crate) fn crc32c(element: Element) -> Self {
        Self::over(CASTAGNOLI, element)
    }

    fn over(polynomial: u32, element: Element) -> Self {
        let mut preset = Self { rows: [(0, 0); 32], positions: Vec::with_capacity(32) };
        // Change of the CRC when the bit that is `distance` bits from the end is flipped; the last bit has distance
        // 1.
        let mut change = 1_u32;
        for distance in 1..=TAIL * 8 {
            change = if change & 1 == 1 { change >> 1 ^ polynomial } else { change >> 1 };
            let (byte, bit) = (TAIL - 1 - (distance - 1) / 8, 7 - ((distance - 1) % 8) as u8);
            if preset.positions.len() < 32 && may_flip(element, byte, bit) {
                preset.add(change, (byte, bit));
            }
        }
        preset
    }

    /// Keeps a position if its change is linearly independent of those already kept.
    fn add(&mut self, mut change: u32, position: (usize, u8)) {
        let mut flips = 1_u32 << self.positions.len();
        while change != 0 {
            let row = &mut self.rows[change.ilog2() as usize];
            if row.0 == 0 {
                *row = (change, flips);
                self.positions.push(position);
                return;
            }
            change ^= row.0;
            flips ^= row.1;
        }
    }

    /// Flips bits of the tail so that the CRC changes by `difference`.
    fn adjust(&self, mut difference: u32, tail: &mut [u8; TAIL]) {
        let mut flips = 0_u32;
        while difference != 0 {
            let (change, caused_by) = self.rows[difference.ilog2() as usize];
            if change == 0 {
                // Unreachable: all 32 rows exist for every element (tested).
                return;
            }
            difference ^= change;
            flips ^= caused_by;
        }
        for (index, &(byte, bit)) in self.positions.iter().enumerate() {
            tail[byte] ^= ((flips >> index & 1) as u8) << bit;
        }
    }
}

/// Returns whether an element stays in its range when this bit of the tail is flipped.
fn may_flip(element: Element, byte: usize, bit: u8) -> bool {
    match element {
        Element::Raw => byte >= TAIL - 4,
        Element::Float16 => byte.is_multiple_of(2) || bit < 2,
        Element::Bfloat16 => byte.is_multiple_of(2) && bit < 7,
        Element::Float32 => byte % 4 < 2 || byte % 4 == 2 && bit < 7,
        Element::Float64 => byte % 8 < 6 || byte % 8 == 6 && bit < 4,
        Element::Bool => bit == 0,
    }
}

/// Payload whose last bytes give prefix and payload together a chosen CRC.
#[derive(Debug, Clone)]
pub(crate) struct PresetPayload {
    body: Stream,
    tail: Stream,
    /// The adjusted tail and the number of its bytes already written.
    adjusted: Option<([u8; TAIL], usize)>,
    crc: RunningCrc,
    wanted: u32,
    preset: Arc<PresetCrc>,
}

/// A running checksum of either polynomial.
#[derive(Debug, Clone)]
enum RunningCrc {
    Zip(Crc32),
    Castagnoli(Box<Crc32c>),
}

impl RunningCrc {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            RunningCrc::Zip(crc) => crc.update(bytes),
            RunningCrc::Castagnoli(crc) => crc.update(bytes),
        }
    }

    fn value(&self) -> u32 {
        match self {
            RunningCrc::Zip(crc) => crc.value(),
            RunningCrc::Castagnoli(crc) => crc.value(),
        }
    }
}

impl PresetPayload {
    /// Returns the payload and the CRC-32 of prefix and payload. The CRC is `wanted`, unless the payload is so short
    /// that it keeps its own CRC.
    pub(crate) fn crc32(preset: &Arc<PresetCrc>, prefix: &[u8], payload: Stream, wanted: u32) -> (Self, u32) {
        let mut crc = Crc32::new();
        crc.update(prefix);
        Self::with_crc(wanted, preset, RunningCrc::Zip(crc), payload)
    }

    /// Returns the payload and its CRC-32C, without a prefix. `preset` must have been computed for CRC-32C.
    pub(crate) fn crc32c(preset: &Arc<PresetCrc>, payload: Stream, wanted: u32) -> (Self, u32) {
        Self::with_crc(wanted, preset, RunningCrc::Castagnoli(Box::new(Crc32c::new())), payload)
    }

    fn with_crc(wanted: u32, preset: &Arc<PresetCrc>, mut crc: RunningCrc, mut payload: Stream) -> (Self, u32) {
        let (len, preset) = (payload.remaining(), Arc::clone(preset));
        if len <= TAIL as u64 {
            let mut tail = [0; TAIL];
            let from = TAIL - len as usize;
            payload.fill(&mut tail[from..]);
            crc.update(&tail[from..]);
            let own = crc.value();
            let spent = payload.range(len, len);
            return (
                Self { body: spent.clone(), tail: spent, adjusted: Some((tail, from)), crc, wanted: own, preset },
                own,
            );
        }
        let cut = len - TAIL as u64;
        let (body, tail) = (payload.range(0, cut), payload.range(cut, len));
        (Self { body, tail, adjusted: None, crc, wanted, preset }, wanted)
    }

    pub(crate) fn remaining(&self) -> u64 {
        let adjusted = self.adjusted.as_ref().map_or(0, |(_, written)| TAIL - written);
        self.body.remaining() + self.tail.remaining() + adjusted as u64
    }

    /// Writes the next bytes. `buffer` must not be longer than what remains.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        let body = clamp(self.body.remaining(), buffer.len());
        let (front, back) = buffer.split_at_mut(body);
        for block in front.chunks_mut(BLOCK) {
            self.body.fill(block);
            self.crc.update(block);
        }
        if back.is_empty() {
            return;
        }
        let (tail, written) = self.adjusted.get_or_insert_with(|| {
            let mut tail = [0; TAIL];
            self.tail.fill(&mut tail);
            self.crc.update(&tail);
            self.preset.adjust(self.crc.value() ^ self.wanted, &mut tail);
            (tail, 0)
        });
        back.copy_from_slice(&tail[*written..*written + back.len()]);
        *written += back.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crc::crc32c_repeated;
    use crate::encode::{Encoder, Piece};
    use crate::payload::Payload;

    #[test]
    fn any_crc_can_be_reached_with_every_element_type() {
        for element in
            [Element::Raw, Element::Float16, Element::Bfloat16, Element::Float32, Element::Float64, Element::Bool]
        {
            let preset = Arc::new(PresetCrc::crc32(element));
            assert_eq!(preset.positions.len(), 32, "{element:?}");
            for (len, wanted) in [(72, 0), (128, u32::MAX), (4096, 0x1234_5678), (100_000, 1)] {
                let stream = Payload::new(1).stream(2, element, len);
                let (piece, crc) = PresetPayload::crc32(&preset, b"prefix", stream, wanted);
                assert_eq!(crc, wanted);
                let mut encoder = Encoder::pieces([Piece::bytes(b"prefix".to_vec()), Piece::Preset(Box::new(piece))]);
                let mut bytes = vec![0; encoder.len() as usize];
                assert_eq!(encoder.fill(&mut bytes), bytes.len());
                assert_eq!(crate::crc::crc32(&bytes), wanted, "{element:?} {len}");
            }
        }
    }

    #[test]
    fn the_other_crc_can_be_reached_too_and_that_of_a_repeated_word_is_known() {
        let iscsi = |bytes: &[u8]| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
        for element in [Element::Raw, Element::Float16, Element::Bfloat16, Element::Float32, Element::Float64] {
            let preset = Arc::new(PresetCrc::crc32c(element));
            assert_eq!(preset.positions.len(), 32, "{element:?}");
            for (len, wanted) in [(8, 5), (72, 0), (4096, 0x1234_5678), (100_000, 1)] {
                let (piece, crc) = PresetPayload::crc32c(&preset, Payload::new(1).stream(2, element, len), wanted);
                let mut bytes = vec![0; len as usize];
                Encoder::pieces([Piece::Preset(Box::new(piece))]).fill(&mut bytes);
                assert_eq!(iscsi(&bytes), u64::from(crc), "{element:?} {len}");
                assert!(len == 8 || crc == wanted);
            }
        }
        for len in [0, 1, 7, 8, 9, 100, 8192, 100_003] {
            let bytes: Vec<u8> = (0..len).map(|at| [0, 0x3C, 7, 0x3D, 1, 2, 3, 4][at % 8]).collect();
            let word = u64::from_le_bytes([0, 0x3C, 7, 0x3D, 1, 2, 3, 4]);
            assert_eq!(crc32c_repeated(word, len as u64), iscsi(&bytes), "{len}");
        }
    }

    #[test]
    fn bent_elements_stay_in_their_range() {
        let tail = |element, wanted| {
            let preset = Arc::new(PresetCrc::crc32(element));
            let (piece, _) = PresetPayload::crc32(&preset, b"", Payload::new(1).stream(2, element, 128), wanted);
            let mut bytes = vec![0; 128];
            Encoder::pieces([Piece::Preset(Box::new(piece))]).fill(&mut bytes);
            bytes
        };
        for wanted in (0..200_u32).map(|number| number.wrapping_mul(0x9E37_79B9)) {
            for bytes in tail(Element::Float64, wanted).as_chunks::<8>().0 {
                assert!((0.0..1.0).contains(&f64::from_le_bytes(*bytes)));
            }
            for bytes in tail(Element::Float32, wanted).as_chunks::<4>().0 {
                assert!((0.0..1.0).contains(&f32::from_le_bytes(*bytes)));
            }
            // Half-precision numbers are ordered like their bits; 0x3C00 is 1.
            for bytes in tail(Element::Float16, wanted).as_chunks::<2>().0 {
                assert!(u16::from_le_bytes(*bytes) < 0x3C00);
            }
            assert!(tail(Element::Bool, wanted).iter().all(|&byte| byte < 2));
        }
    }

    #[test]
    fn a_payload_too_short_to_bend_keeps_its_own_crc() {
        let preset = Arc::new(PresetCrc::crc32(Element::Raw));
        let (piece, crc) = PresetPayload::crc32(&preset, b"p", Payload::new(1).stream(2, Element::Raw, 3), 99);
        let mut bytes = vec![0; 4];
        Encoder::pieces([Piece::bytes(b"p".to_vec()), Piece::Preset(Box::new(piece))]).fill(&mut bytes);
        assert_eq!(crc, crate::crc::crc32(&bytes));
    }
}
