//! The subset of Thrift's compact protocol that Parquet's page headers and footers use.

use crate::error::Error;
use crate::error::excerpt;

/// Wire types of fields and list elements.
pub(super) const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;
pub(super) const BYTE: u8 = 3;
pub(super) const I16: u8 = 4;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
pub(super) const DOUBLE: u8 = 7;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const SET: u8 = 10;
pub(super) const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;

/// Maximum depth of nested structs.
const DEPTH_MAX: u32 = 32;

/// A writer that appends a struct to a buffer.
#[derive(Debug)]
pub(super) struct Writer<'b> {
    out: &'b mut Vec<u8>,
    last: i16,
}

impl<'b> Writer<'b> {
    /// Creates a writer of a struct whose next field number is greater than `last`.
    pub(super) fn after(out: &'b mut Vec<u8>, last: i16) -> Self {
        Self { out, last }
    }

    pub(super) fn new(out: &'b mut Vec<u8>) -> Self {
        Self::after(out, 0)
    }

    fn field(&mut self, id: i16, kind: u8) {
        if let Ok(delta @ 1..=15) = u8::try_from(id - self.last) {
            self.out.push(delta << 4 | kind);
        } else {
            self.out.push(kind);
            varint(self.out, zigzag(i64::from(id)));
        }
        self.last = id;
    }

    pub(super) fn i16(&mut self, id: i16, value: i16) {
        self.field(id, I16);
        varint(self.out, zigzag(i64::from(value)));
    }

    pub(super) fn i32(&mut self, id: i16, value: i32) {
        self.field(id, I32);
        varint(self.out, zigzag(i64::from(value)));
    }

    /// Writes a length or an offset.
    pub(super) fn i64(&mut self, id: i16, value: u64) {
        self.field(id, I64);
        // Files have less than 2^63 bytes.
        varint(self.out, zigzag(value.cast_signed()));
    }

    pub(super) fn byte(&mut self, id: i16, value: u8) {
        self.field(id, BYTE);
        self.out.push(value);
    }

    pub(super) fn flag(&mut self, id: i16, value: bool) {
        self.field(id, if value { TRUE } else { FALSE });
    }

    pub(super) fn text(&mut self, id: i16, value: &str) {
        self.field(id, BINARY);
        text(self.out, value);
    }

    /// Writes the head of a list; the caller writes its elements next.
    pub(super) fn list(&mut self, id: i16, kind: u8, len: u64) -> &mut Vec<u8> {
        self.field(id, LIST);
        if len < 15 {
            self.out.push((len as u8) << 4 | kind);
        } else {
            self.out.push(0xF0 | kind);
            varint(self.out, len);
        }
        self.out
    }

    /// Writes a nested struct.
    pub(super) fn inner(&mut self, id: i16, write: impl FnOnce(&mut Writer<'_>)) {
        self.field(id, STRUCT);
        structure(self.out, write);
    }
}

/// Writes a whole struct.
pub(super) fn structure(out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    write(&mut Writer::new(out));
    out.push(0);
}

pub(super) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    varint(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

/// A reader of a file's footer. Every length is checked against the remaining bytes, and every error contains its
/// offset.
#[derive(Debug)]
pub(super) struct Reader<'f> {
    bytes: &'f [u8],
    at: usize,
    /// Offset of the footer in the file.
    base: u64,
    depth: u32,
}

impl<'f> Reader<'f> {
    pub(super) fn new(bytes: &'f [u8], base: u64) -> Self {
        Self { bytes, at: 0, base, depth: 0 }
    }

    #[cold]
    pub(super) fn malformed(&self, expected: &str) -> Error {
        let from = self.at.min(self.bytes.len());
        Error::Malformed {
            noun: "footer of the Parquet file",
            offset: self.base + from as u64,
            expected: expected.to_owned(),
            found: excerpt(&self.bytes[from..]),
        }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| self.malformed("more bytes"))?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a number of at most ten bytes"))
    }

    pub(super) fn number(&mut self) -> Result<i64, Error> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads a number of bytes or rows, or an offset.
    pub(super) fn size(&mut self) -> Result<u64, Error> {
        let number = self.number()?;
        u64::try_from(number).map_err(|_| self.malformed("a number that is not negative"))
    }

    pub(super) fn text(&mut self) -> Result<&'f [u8], Error> {
        let len = self.varint()?;
        let rest = &self.bytes[self.at..];
        let text = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let text = text.ok_or_else(|| self.malformed("a text that ends in the footer"))?;
        self.at += text.len();
        Ok(text)
    }

    /// Reads the head of a list: wire type and number of its elements.
    pub(super) fn list(&mut self) -> Result<(u8, u64), Error> {
        let head = self.byte()?;
        let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        // Every element takes at least one byte.
        if len > (self.bytes.len() - self.at) as u64 {
            return Err(self.malformed("a list that ends in the footer"));
        }
        Ok((head & 15, len))
    }

    /// Iterates over the fields of a struct. `field` reads the value of the fields it supports and returns whether it
    /// did.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i16, u8) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.malformed("fewer levels of structs"));
        }
        let mut last = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                break;
            }
            let id = match head >> 4 {
                0 => i16::try_from(self.number()?).map_err(|_| self.malformed("the number of a field"))?,
                delta => last.checked_add(i16::from(delta)).ok_or_else(|| self.malformed("the number of a field"))?,
            };
            last = id;
            if !field(self, id, head & 15)? {
                self.skip(head & 15)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn skip(&mut self, kind: u8) -> Result<(), Error> {
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.byte().map(drop),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => {
                let end = self.at.checked_add(8).filter(|&end| end <= self.bytes.len());
                self.at = end.ok_or_else(|| self.malformed("eight bytes more"))?;
                Ok(())
            }
            BINARY => self.text().map(drop),
            LIST | SET => {
                let (kind, len) = self.list()?;
                (0..len).try_for_each(|_| self.skip_element(kind))
            }
            MAP => self.skip_map(),
            STRUCT => self.fields(|_, _, _| Ok(false)),
            _ => Err(self.malformed("a wire type of Thrift's compact protocol")),
        }
    }

    /// Skips an element of a list, in which booleans take a byte.
    fn skip_element(&mut self, kind: u8) -> Result<(), Error> {
        if matches!(kind, TRUE | FALSE) {
            return self.byte().map(drop);
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.malformed("fewer levels of lists"));
        }
        self.skip(kind)?;
        self.depth -= 1;
        Ok(())
    }

    fn skip_map(&mut self) -> Result<(), Error> {
        let len = self.varint()?;
        if len == 0 {
            return Ok(());
        }
        if len > (self.bytes.len() - self.at) as u64 {
            return Err(self.malformed("a map that ends in the footer"));
        }
        let kinds = self.byte()?;
        (0..len).try_for_each(|_| self.skip_element(kinds >> 4).and_then(|()| self.skip_element(kinds & 15)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        structure(&mut bytes, |w| {
            w.i32(1, -3);
            w.text(2, "name");
            w.list(3, I32, 20).extend([2; 20]);
            w.inner(20, |w| w.flag(1, true));
            w.i64(21, u64::MAX >> 1);
        });
        let (mut number, mut name, mut last) = (0, Vec::new(), 0);
        let mut reader = Reader::new(&bytes, 100);
        let outcome = reader.fields(|r, id, _| {
            match id {
                1 => number = r.number()?,
                2 => name = r.text()?.to_vec(),
                21 => last = r.size()?,
                _ => return Ok(false),
            }
            Ok(true)
        });
        assert_eq!(outcome, Ok(()));
        assert_eq!((number, name.as_slice(), last), (-3, &b"name"[..], u64::MAX >> 1));
        assert_eq!(reader.at, bytes.len());
    }

    #[test]
    fn nonsense_ends_with_its_place() {
        for bytes in [&[0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..], &[0x1C; 100], &[0x18, 0x7F], &[0x1F], &[]] {
            let error = Reader::new(bytes, 7).fields(|_, _, _| Ok(false)).unwrap_err();
            assert!(matches!(error, Error::Malformed { offset: 7.., .. }), "{error}");
        }
    }
}
