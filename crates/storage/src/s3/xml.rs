//! XML of S3: elements are looked up by name; attributes are ignored.
//!
//! Many responses of servers and gateways are not well-formed, so parsing continues as far as possible.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

/// Returns the content of each element with that name, in order.
pub(super) fn each<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut reader = lenient(xml);
    std::iter::from_fn(move || next(&mut reader, xml, name))
}

/// Returns the text of the first element with that name, with entities resolved.
pub(super) fn text(xml: &str, name: &str) -> Option<String> {
    next(&mut lenient(xml), xml, name).map(|content| unescape(content.trim()))
}

/// Returns a reader that tolerates as many errors as possible.
fn lenient(xml: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    (config.check_end_names, config.allow_unmatched_ends, config.allow_dangling_amp) = (false, true, true);
    reader
}

/// Returns the content of the next element with that name, including markup.
fn next<'a>(reader: &mut Reader<&'a [u8]>, xml: &'a str, name: &str) -> Option<&'a str> {
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if start.name().as_ref() == name.as_bytes() => {
                let content = reader.read_to_end(start.name()).ok()?;
                return xml.get(usize::try_from(content.start).ok()?..usize::try_from(content.end).ok()?);
            }
            Event::Empty(empty) if empty.name().as_ref() == name.as_bytes() => return Some(""),
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// Resolves entities; an unknown one is kept.
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
    let Some(number) = entity.strip_prefix('#') else { return resolve_xml_entity(entity)?.chars().next() };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code)
}

/// Escapes text for the content of an element.
pub(super) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
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
