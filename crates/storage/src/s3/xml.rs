//! The little XML that S3 speaks: flat elements without attributes that matter, looked up by name.

/// Content of each element of that name, in order.
pub(super) fn each<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (content, after) = next(rest, name)?;
        rest = after;
        Some(content)
    })
}

/// Text of the first element of that name, entities decoded.
pub(super) fn text(xml: &str, name: &str) -> Option<String> {
    next(xml, name).map(|(content, _)| unescape(content.trim()))
}

/// Content of the first element of that name, and what follows it.
fn next<'a>(xml: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = xml;
    loop {
        let at = rest.find('<')?;
        rest = &rest[at + 1..];
        let Some(tail) = rest.strip_prefix(name) else { continue };
        if !tail.starts_with(['>', ' ', '/', '\n', '\t', '\r']) {
            continue;
        }
        let close = tail.find('>')?;
        let after = &tail[close + 1..];
        if tail[..close].ends_with('/') {
            return Some(("", after));
        }
        let end = find_end(after, name)?;
        let behind = &after[end..];
        return Some((&after[..end], &behind[behind.find('>')? + 1..]));
    }
}

fn find_end(xml: &str, name: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + xml[from..].find("</")?;
        if xml[at + 2..].strip_prefix(name).is_some_and(|tail| tail.trim_start().starts_with('>')) {
            return Some(at);
        }
        from = at + 2;
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest.find(';').and_then(|end| Some((decode(&rest[1..end])?, end + 1)));
        let (character, used) = entity.unwrap_or(('&', 1));
        out.push(character);
        rest = &rest[used..];
    }
    out.push_str(rest);
    out
}

fn decode(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Text as the content of an element.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3\"><KeyCount>2</KeyCount>\
        <Contents><Key>a&amp;b &#x41;&#66;</Key><Size>3</Size></Contents>\
        <Contents >\n <Key>c</Key><Size> 4 </Size></Contents><Empty/></ListBucketResult>";

    #[test]
    fn elements_are_found_in_order() {
        let found: Vec<_> = each(LISTING, "Contents").map(|c| (text(c, "Key").unwrap(), text(c, "Size"))).collect();
        assert_eq!(found, [("a&b AB".into(), Some("3".into())), ("c".to_owned(), Some("4".to_owned()))]);
    }

    #[test]
    fn a_name_does_not_match_a_longer_one() {
        assert_eq!(text(LISTING, "KeyC"), None);
        assert_eq!(text(LISTING, "Key").as_deref(), Some("a&b AB"));
    }

    #[test]
    fn empty_and_broken_elements_do_no_harm() {
        assert_eq!(text(LISTING, "Empty").as_deref(), Some(""));
        assert_eq!(text("<Key>never closed", "Key"), None);
        assert_eq!(text("<Key", "Key"), None);
        assert_eq!(text("<Code>a&b;c&</Code>", "Code").as_deref(), Some("a&b;c&"));
    }

    #[test]
    fn escaping_is_undone_by_reading() {
        let nasty = "<\"a\"&'b'>";
        assert_eq!(text(&format!("<K>{}</K>", escape(nasty)), "K").as_deref(), Some(nasty));
    }
}
