//! Signatures compared with the examples of AWS's documentation, and requests signed for regions that `s3s` refuses.

use bytes::Bytes;
use futures::StreamExt;
use hyper::Method;
use s3s::dto::StreamingBlob;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const HOST: &str = "examplebucket.s3.amazonaws.com";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct Example;

impl Secrets for Example {
    fn secret(&self, access_key: &str) -> Option<String> {
        (access_key == "AKIAIOSFODNN7EXAMPLE").then(|| SECRET.to_owned())
    }
}

fn request(method: Method, target: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target).header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn authorization(region: &str, headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/{region}/s3/aws4_request,SignedHeaders={headers},Signature={signature}"
    )
}

/// A GET with headers, as in the documentation.
fn get(region: &str, signature: &str) -> Request<Body> {
    let authorization = authorization(region, "host;range;x-amz-content-sha256;x-amz-date", signature);
    let headers = [
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20130524T000000Z"),
        ("authorization", &authorization),
    ];
    request(Method::GET, "/test.txt", &headers)
}

fn signed(request: &Request<Body>) -> Signed {
    Signed::of(request.method(), request.uri(), request.headers()).unwrap()
}

/// Signs a request for the region that it names.
fn expected(request: Request<Body>) -> String {
    let signed = signed(&request);
    let key = Key::new(SECRET, &signed, &signed.region);
    sign(&request.into_parts().0, &signed, &key, PathForm::Encoded)
}

const GET_SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
const PRESIGNED: &str = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

fn presigned(region: &str, signature: &str) -> Request<Body> {
    let target = format!(
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F{region}%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
    );
    request(Method::GET, &target, &[])
}

#[test]
fn the_examples_of_the_documentation_verify() {
    for (request, signature) in
        [(get("us-east-1", GET_SIGNATURE), GET_SIGNATURE), (presigned("us-east-1", PRESIGNED), PRESIGNED)]
    {
        assert_eq!(signed(&request).signature, signature);
        assert_eq!(expected(request), signature);
    }
}

#[test]
fn a_request_of_another_region_becomes_the_one_of_the_known_region() {
    for region in ["US", "RegionOne", "us_east", "a.b"] {
        let there = expected(get(region, ""));
        assert_eq!(signed(&with_known_region(get(region, &there), &Example)).signature, GET_SIGNATURE);
        let there = expected(presigned(region, ""));
        let here = with_known_region(presigned(region, &there), &Example);
        assert_eq!((signed(&here).region.as_str(), signed(&here).signature.as_str()), ("us-east-1", PRESIGNED));
    }
}

#[test]
fn what_does_not_verify_is_not_signed_again() {
    // This includes one that would be valid for the replacing region.
    for forged in [get("US", GET_SIGNATURE), presigned("US", PRESIGNED), presigned("US", "")] {
        let passed_on = with_known_region(forged, &Example);
        assert_eq!(
            (signed(&passed_on).region.as_str(), signed(&passed_on).signature.as_str()),
            ("us-east-1", NEVER_VALID)
        );
    }
}

/// The upload in signed chunks from the documentation, with the given signatures.
fn chunked(region: &str, seed: &str) -> Request<Body> {
    let names = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class";
    let authorization = authorization(region, names, seed);
    let headers = [
        ("content-encoding", "aws-chunked"),
        ("content-length", "66824"),
        ("x-amz-content-sha256", CHUNKS),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("authorization", &authorization),
    ];
    let mut request = request(Method::PUT, "/examplebucket/chunkObject.txt", &headers);
    request.headers_mut().insert("host", HeaderValue::from_static("s3.amazonaws.com"));
    request
}

const CHUNK_BYTES: [usize; 3] = [65_536, 1024, 0];
const CHUNK_SIGNATURES: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];
const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";

/// Returns the body of [`chunked`], cut into frames of the given size.
fn chunked_body(signatures: &[String], frame: usize) -> Body {
    let mut bytes = Vec::new();
    for (size, signature) in CHUNK_BYTES.into_iter().zip(signatures) {
        bytes.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        bytes.resize(bytes.len() + size, b'a');
        bytes.extend_from_slice(b"\r\n");
    }
    let frames: Vec<_> =
        bytes.chunks(frame).map(|frame| Ok::<_, std::io::Error>(Bytes::copy_from_slice(frame))).collect();
    Body::from(StreamingBlob::wrap(futures::stream::iter(frames)))
}

/// Returns the signatures of the chunks, each following from the previous one.
fn chunk_signatures(key: &Key, seed: &str) -> Vec<String> {
    let mut previous = seed.to_owned();
    let sign = |size: &usize| {
        let content = hex(&Sha256::digest(vec![b'a'; *size]));
        previous = key.sign("AWS4-HMAC-SHA256-PAYLOAD", &[&previous, EMPTY, &content]);
        previous.clone()
    };
    CHUNK_BYTES.iter().map(sign).collect()
}

async fn collected(body: Body) -> Result<Vec<u8>, String> {
    let pieces: Vec<_> = StreamingBlob::from(body).collect().await;
    let pieces = pieces.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn signed_chunks_verify_however_they_arrive() {
    assert_eq!(expected(chunked("us-east-1", "")), SEED);
    for frame in [1, 7, 65_536, 1 << 20] {
        let sent = chunked("US", &expected(chunked("US", "")));
        let signed = signed(&sent);
        let key = Key::new(SECRET, &signed, "US");
        let body = chunked_body(&chunk_signatures(&key, &signed.signature), frame);
        let passed_on = with_known_region(sent.map(|_| body), &Example);
        let headers = passed_on.headers();
        assert_eq!(
            (&headers[CONTENT_LENGTH], &headers[CONTENT_SHA256]),
            (&"66560".parse().unwrap(), &UNSIGNED.parse().unwrap())
        );
        assert!(!headers.contains_key(CONTENT_ENCODING));
        assert_eq!(collected(passed_on.into_body()).await.unwrap(), vec![b'a'; 66_560]);
    }
}

#[tokio::test]
async fn chunks_are_checked_against_the_documentation_and_forged_ones_are_an_error() {
    let signed = signed(&chunked("us-east-1", SEED));
    let check = |signatures: Vec<String>| {
        let seed = Seed { key: Key::new(SECRET, &signed, "us-east-1"), signature: SEED.to_owned() };
        collected(chunks::verified(chunked_body(&signatures, 1000), seed, Framing::None))
    };
    let good: Vec<String> = CHUNK_SIGNATURES.map(str::to_owned).into();
    assert_eq!(check(good.clone()).await.unwrap().len(), 66_560);
    for forged in 0..good.len() {
        let mut signatures = good.clone();
        signatures[forged] = "0".repeat(64);
        assert_eq!(check(signatures).await.unwrap_err(), "SignatureMismatch");
    }
    assert!(check(good[..2].to_vec()).await.unwrap_err().contains("ends"), "the last chunk is missing");
}

#[tokio::test]
async fn a_signed_trailer_is_verified_and_kept() {
    // AWS's documentation, "Signature calculations … including trailing headers".
    let mut signed = signed(&chunked("us-east-1", SEED));
    signed.signature = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e".to_owned();
    let signatures = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ];
    for (trailer, intact) in [
        (
            "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
            true,
        ),
        (
            "x-amz-checksum-crc32c:sOO9/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
            false,
        ),
        ("x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n", false),
    ] {
        let mut bytes = collected(chunked_body(&signatures.map(str::to_owned), 4096)).await.unwrap();
        bytes.extend_from_slice(trailer.as_bytes());
        let seed = Seed { key: Key::new(SECRET, &signed, "us-east-1"), signature: signed.signature.clone() };
        let passed_on = collected(chunks::verified(Body::from(bytes), seed, Framing::WithTrailer)).await;
        assert_eq!(passed_on.is_ok(), intact, "{trailer}");
        if let Ok(passed_on) = passed_on {
            let text = String::from_utf8(passed_on).unwrap();
            assert!(
                text.starts_with("10000\r\naaa") && text.ends_with("a\r\n0\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n\r\n")
            );
        }
    }
}

#[test]
fn aws_chunked_is_no_encoding_of_an_object() {
    for (sent, kept) in
        [("aws-chunked", None), ("gzip,aws-chunked", Some("gzip")), ("aws-chunked, gzip , br", Some("gzip,br"))]
    {
        assert_eq!(without_chunked(sent).as_deref(), kept, "{sent}");
    }
}
