//! Meaning of unquoted words. A YAML file follows `PyYAML` with OmegaConf's rule for floats (YAML 1.1 booleans, octal
//! numbers, `1e-3`); the command line follows Hydra's grammar.

use crate::document::Value;

/// Parses an unquoted scalar of a YAML file.
pub(crate) fn yaml(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Value::Bool(false),
        _ => {}
    }
    if let Some(number) = yaml_int(text) {
        return Value::Int(number);
    }
    if let Some(number) = yaml_float(text) {
        return Value::Float(number);
    }
    Value::Text(text.to_owned())
}

/// Parses an unquoted word of a command-line override.
pub(crate) fn hydra(text: &str) -> Value {
    if text.eq_ignore_ascii_case("null") {
        return Value::Null;
    }
    if text.eq_ignore_ascii_case("true") {
        return Value::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Value::Bool(false);
    }
    let (negative, body) = signed(text);
    if let Some(number) = hydra_int(body) {
        return Value::Int(if negative { -number } else { number });
    }
    let magnitude = if body.eq_ignore_ascii_case("inf") {
        Some(f64::INFINITY)
    } else if body.eq_ignore_ascii_case("nan") {
        Some(f64::NAN)
    } else {
        decimal(body)
    };
    match magnitude {
        Some(number) => Value::Float(if negative { -number } else { number }),
        None => Value::Text(text.to_owned()),
    }
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn hydra_int(body: &str) -> Option<i128> {
    if body == "0" {
        return Some(0);
    }
    let plain = body.starts_with(|c: char| ('1'..='9').contains(&c))
        && !body.ends_with('_')
        && !body.contains("__")
        && body.chars().all(|c| c.is_ascii_digit() || c == '_');
    if plain { body.replace('_', "").parse().ok() } else { None }
}

fn yaml_int(text: &str) -> Option<i128> {
    let (negative, body) = signed(text);
    let digits = |rest: &str, radix: u32| i128::from_str_radix(&rest.replace('_', ""), radix).ok();
    let clean = |rest: &str| rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let magnitude = if let Some(rest) = body.strip_prefix("0b") {
        if clean(rest) { digits(rest, 2) } else { None }
    } else if let Some(rest) = body.strip_prefix("0x") {
        if clean(rest) { digits(rest, 16) } else { None }
    } else if body == "0" {
        Some(0)
    } else if let Some(rest) = body.strip_prefix('0') {
        if clean(rest) { digits(rest, 8) } else { None }
    } else if body.starts_with(|c: char| c.is_ascii_digit()) {
        sexagesimal_int(body)
    } else {
        None
    }?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Parses `90`, `1_000`, and base-60 numbers of YAML 1.1 such as `1:30`.
fn sexagesimal_int(body: &str) -> Option<i128> {
    let mut parts = body.split(':');
    let first = parts.next()?;
    if !first.chars().all(|c| c.is_ascii_digit() || c == '_') {
        return None;
    }
    let mut total: i128 = first.replace('_', "").parse().ok()?;
    for part in parts {
        let sixtieth = part.len() <= 2 && !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        let part: i128 = part.parse().ok().filter(|&part: &i128| sixtieth && part < 60)?;
        total = total.checked_mul(60)?.checked_add(part)?;
    }
    Some(total)
}

fn yaml_float(text: &str) -> Option<f64> {
    let (negative, body) = signed(text);
    let magnitude = match body {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" => f64::NAN,
        _ => decimal(body)?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// Parses `1.5`, `1.`, `.5`, `1e-3` and `1_0.5e+3`. The text must have a digit, and a point or an exponent.
fn decimal(body: &str) -> Option<f64> {
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_') && !part.starts_with('_');
    let exponent_is_number = exponent.is_none_or(|exponent| {
        let (_, exponent) = signed(exponent);
        !exponent.is_empty() && exponent.chars().all(|c| c.is_ascii_digit())
    });
    let shaped = digits(whole)
        && fraction.is_none_or(digits)
        && exponent_is_number
        && (fraction.is_some() || exponent.is_some())
        && mantissa.chars().any(|c| c.is_ascii_digit());
    if shaped { body.replace('_', "").parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_file_mean_what_omegaconf_reads() {
        for (text, expected) in [
            ("off", Value::Bool(false)),
            ("Yes", Value::Bool(true)),
            ("y", Value::Text("y".into())),
            ("none", Value::Text("none".into())),
            ("~", Value::Null),
            ("1_000", Value::Int(1000)),
            ("0x10", Value::Int(16)),
            ("010", Value::Int(8)),
            ("0b101", Value::Int(5)),
            ("0o17", Value::Text("0o17".into())),
            ("09", Value::Text("09".into())),
            ("1:30", Value::Int(90)),
            ("1:75", Value::Text("1:75".into())),
            ("-5", Value::Int(-5)),
            ("1e-3", Value::Float(0.001)),
            ("1E3", Value::Float(1000.0)),
            ("1.", Value::Float(1.0)),
            (".5", Value::Float(0.5)),
            ("-.inf", Value::Float(f64::NEG_INFINITY)),
            ("inf", Value::Text("inf".into())),
            ("114660.07", Value::Float(114_660.07)),
            ("1.2.3", Value::Text("1.2.3".into())),
            ("e5", Value::Text("e5".into())),
            ("2026-06-17", Value::Text("2026-06-17".into())),
            ("0x", Value::Text("0x".into())),
            ("0x-1", Value::Text("0x-1".into())),
        ] {
            assert_eq!(yaml(text), expected, "{text}");
        }
    }

    #[test]
    fn words_of_the_command_line_mean_what_hydra_reads() {
        for (text, expected) in [
            ("off", Value::Text("off".into())),
            ("yes", Value::Text("yes".into())),
            ("none", Value::Text("none".into())),
            ("TRUE", Value::Bool(true)),
            ("null", Value::Null),
            ("1_000", Value::Int(1000)),
            ("0x10", Value::Text("0x10".into())),
            ("010", Value::Text("010".into())),
            ("1e-3", Value::Float(0.001)),
            ("-inf", Value::Float(f64::NEG_INFINITY)),
            ("+7", Value::Int(7)),
            ("~", Value::Text("~".into())),
            ("/data/x", Value::Text("/data/x".into())),
        ] {
            assert_eq!(hydra(text), expected, "{text}");
        }
    }
}
