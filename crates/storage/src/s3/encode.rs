//! Percent-encoding as Signature Version 4 wants it: everything but `A-Z a-z 0-9 - _ . ~` is escaped, per UTF-8 byte.

/// Appends a key; `/` stays.
pub(super) fn path(out: &mut String, key: &str) {
    escape(out, key, true);
}

/// Appends a query value; `/` is escaped.
pub(super) fn query(out: &mut String, value: &str) {
    escape(out, value, false);
}

fn escape(out: &mut String, text: &str, slash: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') || (slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Undoes the `encoding-type=url` of a listing, where a space is `+`.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match (bytes[at], escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
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
