//! Entity tags: those of S3, which are digests of the content, or opaque ones, which cost nothing.
//!
//! Invariant: an opaque tag never looks like a digest. It is neither 32 hexadecimal digits nor a digest with a number
//! of parts, so no client mistakes it for the MD5 of what it sent or received.

use std::fmt;

use s3s::crypto::{Checksum as _, Md5};

/// Kind of entity tag that a store gives to new objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EntityTags {
    /// Tags as S3 defines them: the MD5 of an object, or the MD5 of its parts' MD5s with the number of parts.
    #[default]
    Md5,
    /// Unique for every version of an object, computed without reading the content.
    Opaque,
}

/// The entity tag of an object or part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Unique for every version; not a digest.
    Opaque(u128),
    /// MD5 of the content.
    Md5([u8; 16]),
    /// MD5 of the parts' MD5s, with the number of parts.
    Parts { digest: [u8; 16], count: u16 },
}

impl Tag {
    /// Returns the tag of an object assembled from parts with these tags; `None` if one of them is not an MD5.
    pub(super) fn joined(parts: impl IntoIterator<Item = Tag>) -> Option<Self> {
        let (mut md5, mut count) = (Md5::new(), 0_u16);
        for part in parts {
            let Tag::Md5(digest) = part else { return None };
            md5.update(&digest);
            count = count.checked_add(1)?;
        }
        Some(Tag::Parts { digest: md5.finalize(), count })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Some clients take any tag without a hyphen for an MD5, whatever its length.
            Tag::Opaque(version) => write!(f, "dlio-{version:032x}"),
            Tag::Md5(digest) => write!(f, "{:032x}", u128::from_be_bytes(*digest)),
            Tag::Parts { digest, count } => write!(f, "{:032x}-{count}", u128::from_be_bytes(*digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md5(bytes: &[u8]) -> Tag {
        Tag::Md5(Md5::checksum(bytes))
    }

    #[test]
    fn tags_are_those_of_s3() {
        assert_eq!(md5(b"").to_string(), "d41d8cd98f00b204e9800998ecf8427e");
        // printf 'hello' | md5sum; (printf hello | md5sum | xxd -r -p; printf world | md5sum | xxd -r -p) | md5sum
        assert_eq!(md5(b"hello").to_string(), "5d41402abc4b2a76b9719d911017c592");
        let joined = Tag::joined([md5(b"hello"), md5(b"world")]).unwrap();
        assert_eq!(joined.to_string(), "065947336a2f2a95ba8899f3675c3be6-2");
    }

    #[test]
    fn parts_without_a_digest_have_no_common_one() {
        assert_eq!(Tag::joined([md5(b"hello"), Tag::Opaque(7)]), None);
    }

    #[test]
    fn an_opaque_tag_looks_like_no_digest() {
        for version in [0, 1, u128::MAX] {
            let text = Tag::Opaque(version).to_string();
            let (before, _) = text.split_once('-').unwrap();
            assert!(before.len() != 32 && !before.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        }
    }
}
