//! Numbers as numpy prints them: integers in decimal, floats with the fewest digits that parse to the same value.

use std::io::Write as _;

use dlio_config::vocabulary::DType;

/// The text of every byte value followed by the separator, and the length of both.
const BYTES: [([u8; 4], u8); 256] = {
    let mut table = [([b','; 4], 0); 256];
    let mut value = 0_usize;
    while value < 256 {
        let digits = [(value / 100) as u8, (value / 10 % 10) as u8, (value % 10) as u8];
        let skipped = if value >= 100 {
            0
        } else if value >= 10 {
            1
        } else {
            2
        };
        let mut at = skipped;
        while at < 3 {
            table[value].0[at - skipped] = b'0' + digits[at];
            at += 1;
        }
        table[value].1 = 4 - skipped as u8;
        value += 1;
    }
    table
};

/// Runs `$body` for each little-endian number of type `$type` in `$bytes`.
macro_rules! each {
    ($type:ty, $bytes:expr, |$value:ident| $body:expr) => {
        for bytes in $bytes.as_chunks::<{ size_of::<$type>() }>().0 {
            let $value = <$type>::from_le_bytes(*bytes);
            $body;
        }
    };
}

/// Appends the numbers, each followed by a separator.
pub(super) fn append(dtype: DType, bytes: &[u8], out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let mut integer = |text: &mut itoa::Buffer, value: i128| {
        let text = match i64::try_from(value) {
            Ok(value) => text.format(value),
            Err(_) => text.format(value),
        };
        out.extend_from_slice(text.as_bytes());
        out.push(b',');
    };
    match dtype {
        DType::Uint8 => append_bytes(bytes, out),
        DType::Int8 => each!(i8, bytes, |value| integer(&mut digits, value.into())),
        DType::Int16 => each!(i16, bytes, |value| integer(&mut digits, value.into())),
        DType::Int32 => each!(i32, bytes, |value| integer(&mut digits, value.into())),
        DType::Int64 => each!(i64, bytes, |value| integer(&mut digits, value.into())),
        DType::Uint16 => each!(u16, bytes, |value| integer(&mut digits, value.into())),
        DType::Uint32 => each!(u32, bytes, |value| integer(&mut digits, value.into())),
        DType::Uint64 => each!(u64, bytes, |value| integer(&mut digits, value.into())),
        DType::Float32 => each!(f32, bytes, |value| float32(value, out)),
        DType::Float64 => each!(f64, bytes, |value| float64(value, out)),
        // `Layout::new` refuses bfloat16.
        DType::Float16 | DType::Bfloat16 => each!(u16, bytes, |value| float16(value, out)),
        DType::Bool => each!(u8, bytes, |value| out.extend_from_slice(truth(value))),
    }
}

fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut at = out.len();
    out.resize(at + bytes.len() * 4, 0);
    for &byte in bytes {
        let (text, length) = BYTES[usize::from(byte)];
        out[at..at + 4].copy_from_slice(&text);
        at += usize::from(length);
    }
    out.truncate(at);
}

fn truth(value: u8) -> &'static [u8] {
    if value == 0 { b"False," } else { b"True," }
}

/// Returns the length of what `append` would append, in bytes. `scratch` is a buffer for types whose text must be
/// generated for this.
pub(super) fn length(dtype: DType, bytes: &[u8], scratch: &mut Vec<u8>) -> u64 {
    if dtype == DType::Uint8 {
        return bytes.iter().map(|&byte| 2 + u64::from(byte >= 10) + u64::from(byte >= 100)).sum();
    }
    scratch.clear();
    append(dtype, bytes, scratch);
    scratch.len() as u64
}

/// Python prints an exponent for numbers below this limit.
const SMALL: f64 = 1e-4;

fn float64(value: f64, out: &mut Vec<u8>) {
    if value != 0.0 && value.abs() < SMALL {
        return exponent(&format!("{value:e}"), out);
    }
    out.extend_from_slice(ryu::Buffer::new().format(value).as_bytes());
    out.push(b',');
}

fn float32(value: f32, out: &mut Vec<u8>) {
    if value != 0.0 && f64::from(value.abs()) < SMALL {
        return exponent(&format!("{value:e}"), out);
    }
    out.extend_from_slice(ryu::Buffer::new().format(value).as_bytes());
    out.push(b',');
}

/// Appends a number in Python's form, with two digits in the exponent: `1e-5` becomes `1e-05`.
fn exponent(text: &str, out: &mut Vec<u8>) {
    let (mantissa, power) = text.split_once("e-").unwrap_or((text, "0"));
    // Writing to a vector cannot fail.
    let _ = write!(out, "{mantissa}e-{power:0>2},");
}

/// Appends the fewest digits whose value is closer to this half-precision number than to its neighbours. Values are
/// in [0, 1).
fn float16(bits: u16, out: &mut Vec<u8>) {
    let (power, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let step = 2_f64.powi(power.max(1) - 25);
    let value = if power == 0 { mantissa * step } else { (1024.0 + mantissa) * step };
    let texts = (0..5).map(|digits| format!("{value:.digits$e}"));
    let close = |text: &String| text.parse::<f64>().is_ok_and(|found| (found - value).abs() < step / 2.0);
    let shortest = texts.clone().find(close).unwrap_or_else(|| format!("{value:e}"));
    float64(shortest.parse().unwrap_or(value), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dtype: DType, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        append(dtype, bytes, &mut out);
        assert_eq!(length(dtype, bytes, &mut Vec::new()), out.len() as u64);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_are_decimal() {
        let all: Vec<u8> = (0..=255).collect();
        let expected: Vec<String> = (0..=255).map(|value| value.to_string()).collect();
        assert_eq!(text(DType::Uint8, &all), expected.join(",") + ",");
        assert_eq!(text(DType::Int8, &[0, 127, 128, 255]), "0,127,-128,-1,");
        assert_eq!(text(DType::Int16, &[0, 128, 255, 127]), "-32768,32767,");
        assert_eq!(text(DType::Uint64, &[255; 8]), "18446744073709551615,");
        assert_eq!(text(DType::Int64, &i64::MIN.to_le_bytes()), "-9223372036854775808,");
        assert_eq!(text(DType::Bool, &[0, 1]), "False,True,");
    }

    /// Expected texts are those of `str(numpy.float64(x))`, `str(numpy.float32(x))` and `str(numpy.float16(x))`.
    #[test]
    fn floats_are_what_numpy_prints() {
        let doubles =
            [(0.0, "0.0,"), (0.5, "0.5,"), (0.1, "0.1,"), (1e-4, "0.0001,"), (9.5e-5, "9.5e-05,"), (1e-5, "1e-05,")];
        for (value, expected) in doubles {
            assert_eq!(text(DType::Float64, &f64::to_le_bytes(value)), expected);
        }
        for (value, expected) in
            [(0.706_573_84_f32, "0.70657384,"), (1e-5, "1e-05,"), (0.25, "0.25,"), (2.5e-10, "2.5e-10,")]
        {
            assert_eq!(text(DType::Float32, &value.to_le_bytes()), expected);
        }
        let halves = [
            (0x0000_u16, "0.0,"),
            (0x2E66, "0.1,"),
            (0x3800, "0.5,"),
            (0x3BFF, "0.9995,"),
            (0x3555, "0.3333,"),
            (0x0001, "6e-08,"),
            (0x0400, "6.104e-05,"),
        ];
        for (bits, expected) in halves {
            assert_eq!(text(DType::Float16, &bits.to_le_bytes()), expected, "{bits:#x}");
        }
    }
}
