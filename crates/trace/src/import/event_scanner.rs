//! Finds the events of a trace-event document: the elements of an array that is the document itself or its member `traceEvents`.
//! The document is read in blocks of any length and may be a single line.

/// Maximum length of an event, bytes.
const LONGEST: usize = 1 << 20;

/// Scanner that finds events in a document byte by byte.
pub(super) struct EventScanner {
    place: Place,
    /// Whether the scanner is inside a string, and after a backslash in it.
    text: bool,
    escaped: bool,
    /// Number of open braces and brackets in the document's object or in an event.
    depth: usize,
    /// The last string at the top level of the document's object: the name of the next member.
    name: Vec<u8>,
    event: Vec<u8>,
    /// The current line, from 1, and the line in which the event began.
    line: u64,
    began: u64,
    /// Whether the current error has been reported.
    is_reported: bool,
    array: Array,
}

/// Location of the array of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Array {
    NotFound,
    /// A member of the document's object.
    Member,
    /// The document itself.
    Document,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// In the document's object, outside the array of events.
    Object,
    /// Between events.
    Events,
    Event,
    End,
}

/// Result of a scan.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An event; [`EventScanner::event`] returns its text.
    Event,
    /// Unexpected text.
    Broken(String),
}

impl Default for EventScanner {
    fn default() -> Self {
        Self {
            place: Place::Start,
            text: false,
            escaped: false,
            depth: 0,
            name: Vec::new(),
            event: Vec::new(),
            line: 1,
            began: 1,
            is_reported: false,
            array: Array::NotFound,
        }
    }
}

impl EventScanner {
    /// Returns the text of the last event.
    pub(super) fn event(&self) -> &[u8] {
        &self.event
    }

    /// Returns the line in which the last event began.
    pub(super) fn began(&self) -> u64 {
        self.began
    }

    /// Scans to the next event or error and removes the scanned bytes from `block`.
    pub(super) fn next(&mut self, block: &mut &[u8]) -> Option<Found> {
        while let Some((byte, rest)) = block.split_first() {
            *block = rest;
            self.line += u64::from(*byte == b'\n');
            if let Some(found) = self.byte(*byte) {
                return Some(found);
            }
        }
        None
    }

    /// Checks the end of the document. An array may lack its closing bracket, as those of killed processes do.
    pub(super) fn end(&mut self) -> Option<Found> {
        self.began = if self.place == Place::Event { self.began } else { self.line };
        match self.place {
            Place::Event => Some(broken("the document ends within this event")),
            Place::Object if self.array == Array::NotFound => Some(broken("the document has no array traceEvents")),
            _ => None,
        }
    }

    fn byte(&mut self, byte: u8) -> Option<Found> {
        match self.place {
            Place::Event => self.in_event(byte),
            Place::Object => {
                self.in_object(byte);
                None
            }
            _ if byte.is_ascii_whitespace() => None,
            Place::Start => {
                (self.place, self.array) = match byte {
                    b'[' => (Place::Events, Array::Document),
                    b'{' => (Place::Object, Array::NotFound),
                    _ => (Place::End, Array::NotFound),
                };
                self.depth = 1;
                None
            }
            Place::Events => self.between(byte),
            Place::End => self.report("text behind the end of the document"),
        }
    }

    fn between(&mut self, byte: u8) -> Option<Found> {
        match byte {
            b'{' => {
                self.event.clear();
                self.event.push(byte);
                (self.place, self.depth, self.began, self.is_reported) = (Place::Event, 1, self.line, false);
                None
            }
            b',' => None,
            b']' => {
                self.place = if self.array == Array::Document { Place::End } else { Place::Object };
                (self.depth, self.is_reported) = (1, false);
                None
            }
            _ => self.report("no event: expected an object"),
        }
    }

    /// Reports an error once.
    fn report(&mut self, what: &str) -> Option<Found> {
        self.began = self.line;
        (!std::mem::replace(&mut self.is_reported, true)).then(|| broken(what))
    }

    fn in_event(&mut self, byte: u8) -> Option<Found> {
        if self.event.len() >= LONGEST {
            (self.place, self.text, self.escaped, self.is_reported) = (Place::Events, false, false, true);
            return Some(broken(&format!("an event longer than {LONGEST} bytes")));
        }
        self.event.push(byte);
        if self.quoted(byte) {
            return None;
        }
        match byte {
            b'{' => self.depth += 1,
            b'}' => self.depth -= 1,
            _ => {}
        }
        if self.depth > 0 {
            return None;
        }
        self.place = Place::Events;
        Some(Found::Event)
    }

    fn in_object(&mut self, byte: u8) {
        let within = self.text;
        if self.quoted(byte) {
            if self.depth == 1 {
                match (within, self.text) {
                    (false, _) => self.name.clear(),
                    (true, true) if self.name.len() < 64 => self.name.push(byte),
                    _ => {}
                }
            }
            return;
        }
        match byte {
            b'[' if self.depth == 1 && self.name == b"traceEvents" => {
                (self.place, self.array) = (Place::Events, Array::Member);
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    // Without an array of events, the text after the object is ignored.
                    let found = self.array != Array::NotFound;
                    (self.place, self.depth) = if found { (Place::End, 0) } else { (Place::Object, 1) };
                }
            }
            _ => {}
        }
    }

    /// Whether a byte belongs to a string, including its quotes.
    fn quoted(&mut self, byte: u8) -> bool {
        let within = self.text;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if within => self.escaped = true,
            b'"' => self.text = !within,
            _ => {}
        }
        within || self.text
    }
}

fn broken(what: &str) -> Found {
    Found::Broken(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the events with their lines, and the errors, of a document read in blocks of `size` bytes.
    fn elements(text: &str, size: usize) -> (Vec<(u64, String)>, Vec<String>) {
        let (mut events, mut wrong) = (Vec::new(), Vec::new());
        let mut elements = EventScanner::default();
        let mut take = |elements: &EventScanner, found| match found {
            Found::Event => events.push((elements.began(), String::from_utf8(elements.event().to_vec()).unwrap())),
            Found::Broken(reason) => wrong.push(reason),
        };
        for mut block in text.as_bytes().chunks(size) {
            while let Some(found) = elements.next(&mut block) {
                take(&elements, found);
            }
        }
        if let Some(found) = elements.end() {
            take(&elements, found);
        }
        (events, wrong)
    }

    #[test]
    fn events_are_found_however_the_document_is_written() {
        let event = r#"{"name":"a \"}]{","args":{"x":[1,{}],"y":"]"}}"#;
        let spread = "{\n \"name\":\"b\"\n}";
        for text in [
            format!("[{event},{spread}]"),
            format!("[\n{event},\n{spread}\n"),
            format!("[{event}\n,{spread},"),
            format!(
                r#"{{"x":"traceEvents","o":{{"traceEvents":[{{}}]}},"traceEvents":[{event},{spread}],"z":[1,{{}}]}}"#
            ),
            format!(" {{\"traceEvents\" : [ {event} , {spread} ] , \"s\": \"[{{\"}}\n"),
        ] {
            for size in [1, 7, 4096] {
                let (events, wrong) = elements(&text, size);
                assert_eq!(wrong, Vec::<String>::new(), "{text}");
                let texts: Vec<&str> = events.iter().map(|(_, text)| text.as_str()).collect();
                assert_eq!(texts, [event, spread], "{text}");
            }
        }
    }

    #[test]
    fn text_between_events_is_reported_once() {
        for (text, events, wrong) in [
            ("[1, 2, {}, null]", 1, &["no event", "no event"][..]),
            ("[{\"a\":1", 0, &["ends within"]),
            ("{\"a\":[]}", 0, &["no array traceEvents"]),
            ("[{}] more text", 1, &["behind the end"]),
        ] {
            let (found, reasons) = elements(text, 3);
            assert_eq!((found.len(), reasons.len()), (events, wrong.len()), "{text}: {reasons:?}");
            assert!(reasons.iter().zip(wrong).all(|(reason, part)| reason.contains(part)), "{reasons:?}");
        }
        let (found, reasons) = elements(&format!("[{{\"a\":\"{}\"}},\n{{}}]", "x".repeat(LONGEST)), 4096);
        assert_eq!((found, reasons.len()), (vec![(2, "{}".to_owned())], 1));
    }
}
