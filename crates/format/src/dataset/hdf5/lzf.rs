//! LZF compression as h5py's filter 32000 implements it: literal runs and references into the last 8 KiB.

/// Binary logarithm of the size of the table of last positions.
const TABLE_BITS: u32 = 14;
/// Maximum distance and length of a reference, and maximum length of a literal run, in bytes.
const DISTANCE_MAX: usize = 1 << 13;
const MATCH_MAX: usize = 264;
const LITERALS_MAX: usize = 32;
/// Minimum length of a reference in bytes.
const MATCH_MIN: usize = 3;
/// A reference whose length does not fit into three bits has another byte.
const SHORT: usize = 7;

/// Last position of three bytes, by their hash.
pub(super) type Table = Vec<u32>;

/// Compresses less than 4 GiB of input. Returns `false` if the output would not be shorter than the input; the output
/// is then invalid.
pub(super) fn compress(input: &[u8], table: &mut Table, output: &mut Vec<u8>) -> bool {
    output.clear();
    table.clear();
    table.resize(1 << TABLE_BITS, u32::MAX);
    let (mut position, mut literals) = (0, 0);
    while position + MATCH_MIN <= input.len() {
        let key = u32::from_le_bytes([input[position], input[position + 1], input[position + 2], 0]);
        let slot = &mut table[(key.wrapping_mul(0x9E37_79B1) >> (32 - TABLE_BITS)) as usize];
        let before = std::mem::replace(slot, position as u32) as usize;
        let length = if before < position && position - before <= DISTANCE_MAX {
            let room = MATCH_MAX.min(input.len() - position);
            (0..room).take_while(|&at| input[before + at] == input[position + at]).count()
        } else {
            0
        };
        if length < MATCH_MIN {
            position += 1;
            continue;
        }
        copy(&input[literals..position], output);
        refer(position - before, length, output);
        position += length;
        literals = position;
    }
    copy(&input[literals..], output);
    output.len() < input.len()
}

/// Expands `packed` to at most `most` bytes of output.
///
/// # Errors
/// Returns a description of the damage.
pub(super) fn expand(mut packed: &[u8], most: usize, output: &mut Vec<u8>) -> Result<(), String> {
    let cut = || "LZF data that end in the middle".to_owned();
    while let [control, rest @ ..] = packed {
        let control = usize::from(*control);
        if control < LITERALS_MAX {
            let (literals, rest) = rest.split_at_checked(control + 1).ok_or_else(cut)?;
            output.extend_from_slice(literals);
            packed = rest;
        } else {
            let (more, rest) = if control >> 5 == SHORT { rest.split_first().ok_or_else(cut)? } else { (&0, rest) };
            let (back, rest) = rest.split_first().ok_or_else(cut)?;
            let distance = ((control & 31) << 8 | usize::from(*back)) + 1;
            let start = output.len().checked_sub(distance).ok_or("an LZF reference before the beginning")?;
            for at in start..start + (control >> 5) + usize::from(*more) + 2 {
                output.push(output[at]);
            }
            packed = rest;
        }
        if output.len() > most {
            return Err(format!("more than the {most} bytes of a chunk"));
        }
    }
    Ok(())
}

fn copy(literals: &[u8], output: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS_MAX) {
        output.push(run.len() as u8 - 1);
        output.extend_from_slice(run);
    }
}

fn refer(distance: usize, length: usize, output: &mut Vec<u8>) {
    let (back, length) = (distance - 1, length - 2);
    output.push(((length.min(SHORT) << 5) | (back >> 8)) as u8);
    if length >= SHORT {
        output.push((length - SHORT) as u8);
    }
    output.push(back as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        expand(packed, usize::MAX, &mut plain).unwrap();
        plain
    }

    #[test]
    fn what_is_compressed_is_expanded_to_the_same() {
        let mut noise = 1_u32;
        let mut random = |_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        let tail: Vec<u8> = (0..700).map(&mut random).collect();
        let repeated = [tail.clone(), vec![0; 9000], tail.clone(), tail.clone(), vec![7; 300]].concat();
        for plain in [vec![1; 8], vec![5; 270], repeated, [vec![0; 40], tail.clone(), vec![3; 3]].concat()] {
            let mut packed = Vec::new();
            assert!(compress(&plain, &mut Table::new(), &mut packed));
            assert!(expanded(&packed) == plain);
        }
        for plain in [tail, vec![1, 2], Vec::new(), vec![1; 3]] {
            assert!(!compress(&plain, &mut Table::new(), &mut Vec::new()), "{plain:?}");
        }
    }
}
