//! Percent-encoding as Signature Version 4 requires it: everything but `A-Z a-z 0-9 - _ . ~` is escaped, per UTF-8
//! byte.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters that are escaped in a query value.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Characters that are escaped in a path.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Appends an encoded key; `/` is not escaped.
pub(super) fn path(out: &mut String, key: &str) {
    out.extend(utf8_percent_encode(key, PATH));
}

/// Appends an encoded query value; `/` is escaped.
pub(super) fn query(out: &mut String, value: &str) {
    out.extend(utf8_percent_encode(value, QUERY));
}

/// Decodes the `encoding-type=url` of a listing, where a space is `+`.
pub(super) fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_byte_by_byte() {
        let mut out = String::new();
        path(&mut out, "a b/ü+%=&~x");
        assert_eq!(out, "a%20b/%C3%BC%2B%25%3D%26~x");
    }

    #[test]
    fn query_values_escape_the_slash() {
        let mut out = String::new();
        query(&mut out, "a/b");
        assert_eq!(out, "a%2Fb");
    }

    #[test]
    fn decoding_undoes_what_servers_do_to_names() {
        assert_eq!(decode("a+b/%C3%BC%2B%25"), "a b/ü+%");
        assert_eq!(decode("%zz%4"), "%zz%4", "what is no escape stays");
    }
}
