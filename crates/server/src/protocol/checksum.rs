//! Checksums: which one a request contains, how those of parts are combined for an object, and how responses contain
//! them.

use crc_fast::{CrcAlgorithm, checksum_combine};
use s3s::S3Result;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, ChecksumType};
use s3s::s3_error;

use crate::store::{Algorithm, StoredChecksum, StoredPart};

/// Fills the checksum fields of a response; the output types have the same fields but no common type.
macro_rules! answer_checksum {
    ($output:expr, $stored:expr) => {{
        let fields = $crate::protocol::checksum::fields($stored);
        $output.checksum_crc32 = fields.checksum_crc32;
        $output.checksum_crc32c = fields.checksum_crc32c;
        $output.checksum_crc64nvme = fields.checksum_crc64nvme;
        $output.checksum_sha1 = fields.checksum_sha1;
        $output.checksum_sha256 = fields.checksum_sha256;
    }};
}
pub(super) use answer_checksum;

/// Takes the checksum fields out of a request's input or one of its elements.
macro_rules! sent_checksum {
    ($input:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $input.checksum_crc32.clone(),
            checksum_crc32c: $input.checksum_crc32c.clone(),
            checksum_crc64nvme: $input.checksum_crc64nvme.clone(),
            checksum_sha1: $input.checksum_sha1.clone(),
            checksum_sha256: $input.checksum_sha256.clone(),
            ..s3s::dto::Checksum::default()
        }
    };
}
pub(super) use sent_checksum;

/// The checksum fields of a response.
pub(super) fn fields(stored: Option<&StoredChecksum>) -> Checksum {
    let mut fields = Checksum::default();
    let Some(StoredChecksum { algorithm, value, .. }) = stored else { return fields };
    let field = match algorithm {
        Algorithm::Crc32 => &mut fields.checksum_crc32,
        Algorithm::Crc32c => &mut fields.checksum_crc32c,
        Algorithm::Crc64nvme => &mut fields.checksum_crc64nvme,
        Algorithm::Sha1 => &mut fields.checksum_sha1,
        Algorithm::Sha256 => &mut fields.checksum_sha256,
    };
    *field = Some(value.clone());
    fields.checksum_type = kind(stored);
    fields
}

/// Returns the protocol's type of a checksum.
pub(super) fn kind(stored: Option<&StoredChecksum>) -> Option<ChecksumType> {
    let name = if stored?.composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
    Some(ChecksumType::from_static(name))
}

/// Returns the value of one algorithm among the checksum fields of a request.
pub(super) fn value(fields: &Checksum, algorithm: Algorithm) -> Option<&String> {
    match algorithm {
        Algorithm::Crc32 => fields.checksum_crc32.as_ref(),
        Algorithm::Crc32c => fields.checksum_crc32c.as_ref(),
        Algorithm::Crc64nvme => fields.checksum_crc64nvme.as_ref(),
        Algorithm::Sha1 => fields.checksum_sha1.as_ref(),
        Algorithm::Sha256 => fields.checksum_sha256.as_ref(),
    }
}

/// Returns the computed checksum to store: that of the algorithm `wanted`, otherwise the first.
pub(super) fn stored(computed: &Checksum, wanted: Option<Algorithm>) -> Option<StoredChecksum> {
    let all = [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme, Algorithm::Sha1, Algorithm::Sha256];
    let found = |algorithm: Algorithm| {
        let value = value(computed, algorithm)?.clone();
        Some(StoredChecksum { algorithm, value, composite: false })
    };
    wanted.into_iter().chain(all).find_map(found)
}

/// Returns a hasher for one algorithm.
pub(super) fn hasher(algorithm: Option<Algorithm>) -> ChecksumHasher {
    let is = |one: Algorithm| algorithm == Some(one);
    ChecksumHasher {
        crc32: is(Algorithm::Crc32).then(Crc32::new),
        crc32c: is(Algorithm::Crc32c).then(Crc32c::new),
        crc64nvme: is(Algorithm::Crc64nvme).then(Crc64Nvme::new),
        sha1: is(Algorithm::Sha1).then(Sha1::new),
        sha256: is(Algorithm::Sha256).then(Sha256::new),
    }
}

/// Returns the checksum, without its value, that a new upload asks for.
pub(super) fn of_upload(algorithm: Option<&str>, kind: Option<&str>) -> S3Result<Option<StoredChecksum>> {
    let Some(name) = algorithm else {
        return match kind {
            Some(_) => Err(s3_error!(InvalidRequest, "x-amz-checksum-type needs x-amz-checksum-algorithm")),
            None => Ok(None),
        };
    };
    let algorithm = Algorithm::by_name(name)
        .ok_or_else(|| s3_error!(InvalidRequest, "x-amz-checksum-algorithm {name} is not a known algorithm"))?;
    let composite = match (kind, algorithm) {
        (None, algorithm) => algorithm != Algorithm::Crc64nvme,
        (Some(ChecksumType::FULL_OBJECT), Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Crc64nvme) => false,
        (Some(ChecksumType::COMPOSITE), Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Sha1 | Algorithm::Sha256) => {
            true
        }
        (Some(kind), _) => {
            return Err(s3_error!(InvalidRequest, "A checksum of type {kind} cannot be made with {name}"));
        }
    };
    Ok(Some(StoredChecksum { algorithm, value: String::new(), composite }))
}

/// Returns the checksum of an object assembled from `parts`; `None` if one of them has none.
pub(super) fn of_parts(upload: &StoredChecksum, parts: &[StoredPart]) -> Option<StoredChecksum> {
    let digests: Vec<Vec<u8>> = parts.iter().map(|part| decode(part.checksum.as_ref()?)).collect::<Option<_>>()?;
    let value = if upload.composite {
        let mut hasher = hasher(Some(upload.algorithm));
        for digest in &digests {
            hasher.update(digest);
        }
        format!("{}-{}", value(&hasher.finalize(), upload.algorithm)?, parts.len())
    } else {
        let (algorithm, width) = match upload.algorithm {
            Algorithm::Crc32 => (CrcAlgorithm::Crc32IsoHdlc, 4),
            Algorithm::Crc32c => (CrcAlgorithm::Crc32Iscsi, 4),
            Algorithm::Crc64nvme => (CrcAlgorithm::Crc64Nvme, 8),
            Algorithm::Sha1 | Algorithm::Sha256 => return None,
        };
        let number = |digest: &Vec<u8>| digest.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let mut sums = digests.iter().map(number).zip(parts);
        let (mut sum, _) = sums.next()?;
        for (next, part) in sums {
            sum = checksum_combine(algorithm, sum, next, part.size);
        }
        base64_simd::STANDARD.encode_to_string(&sum.to_be_bytes()[8 - width..])
    };
    Some(StoredChecksum { value, ..upload.clone() })
}

fn decode(text: &String) -> Option<Vec<u8>> {
    base64_simd::STANDARD.decode_to_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = hasher(Some(algorithm));
        hasher.update(bytes);
        value(&hasher.finalize(), algorithm).unwrap().clone()
    }

    fn parts(algorithm: Algorithm) -> Vec<StoredPart> {
        let part = |(index, bytes): (usize, &[u8])| StoredPart {
            number: u16::try_from(index + 1).unwrap(),
            size: bytes.len() as u64,
            checksum: Some(of(algorithm, bytes)),
        };
        [b"1234".as_slice(), b"567", b"89"].into_iter().enumerate().map(part).collect()
    }

    #[test]
    fn checksums_of_parts_combine_to_that_of_the_whole() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme] {
            let upload = of_upload(Some(algorithm.name()), Some("FULL_OBJECT")).unwrap().unwrap();
            assert_eq!(of_parts(&upload, &parts(algorithm)).unwrap().value, of(algorithm, b"123456789"));
        }
    }

    #[test]
    fn a_composite_checksum_is_that_of_the_digests_with_the_number_of_parts() {
        let upload = of_upload(Some("sha256"), None).unwrap().unwrap();
        let sum = of_parts(&upload, &parts(Algorithm::Sha256)).unwrap();
        // SHA-256 of the concatenated digests of 1234, 567 and 89, computed with Python's hashlib.
        assert_eq!(sum.value, "4f11QsBHiNzXIqaKZsWVYWBUVt8LRHJnkYu4ck9s0cw=-3");
    }

    #[test]
    fn types_that_an_algorithm_cannot_have_are_refused() {
        assert!(of_upload(Some("SHA256"), Some("FULL_OBJECT")).is_err());
        assert!(of_upload(Some("CRC64NVME"), Some("COMPOSITE")).is_err());
        assert!(of_upload(Some("MD4"), None).is_err() && of_upload(None, Some("COMPOSITE")).is_err());
        assert!(!of_upload(Some("CRC64NVME"), None).unwrap().unwrap().composite);
    }
}
