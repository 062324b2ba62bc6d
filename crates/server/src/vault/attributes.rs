//! What is kept of an object beside its bytes, and of a bucket beside its objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::acl::Acl;

/// What clients attach to an object or an upload. Only what differs from the default is written to disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    /// The time in the `Expires` header, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_unix_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) website_redirect: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checksum: Option<StoredChecksum>,
    /// The parts that the object was joined of; empty for an object that was written at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<StoredPart>,
    /// The upload that the object was completed by: a second completion of it is answered as the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upload_id: Option<String>,
    /// The user who wrote the object; `None`: the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// `None`: only the owner has access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acl: Option<Acl>,
}

/// A checksum algorithm of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    /// The name that the protocol uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// Finds an algorithm by the name that the protocol uses, in any case.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        let all = [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme, Algorithm::Sha1, Algorithm::Sha256];
        all.into_iter().find(|one| one.name().eq_ignore_ascii_case(name))
    }
}

/// A checksum as it is given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredChecksum {
    pub(crate) algorithm: Algorithm,
    /// Base64; of a composite checksum with `-N`, the number of parts. Empty for an upload in progress.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) value: String,
    /// Whether the checksum is one of the parts' checksums instead of one of the object's bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) composite: bool,
}

/// A part that an object was joined of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPart {
    /// Part number.
    #[serde(rename = "n")]
    pub(crate) number: u16,
    /// Bytes.
    #[serde(rename = "s")]
    pub(crate) size: u64,
    /// Base64 checksum of the part's bytes, by the object's algorithm.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(crate) checksum: Option<String>,
}

/// What is kept of a bucket beside its objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BucketSettings {
    /// The user who made the bucket; `None`: the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// `None`: only the owner has access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acl: Option<Acl>,
    /// The location constraint; `None`: us-east-1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_access_block: Option<PublicAccessBlock>,
}

/// What of public access is blocked, by the names of the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the four independent switches of the protocol")]
pub(crate) struct PublicAccessBlock {
    pub(crate) block_public_acls: bool,
    pub(crate) ignore_public_acls: bool,
    pub(crate) block_public_policy: bool,
    pub(crate) restrict_public_buckets: bool,
}
