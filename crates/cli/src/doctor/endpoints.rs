//! Checks of the responses of endpoints.

use dlio_storage::s3::{Examination, LOOKUP_REFUSED, Step, UnsignedResponse};

use super::clocks;
use super::verdict::{Checks, Verdict};
use dlio_run::failure::Code;

/// Access of a workload to a bucket or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    /// Objects that must exist are read.
    pub(crate) reads: bool,
    /// Objects are written.
    pub(crate) writes: bool,
    /// Objects are always listed.
    pub(crate) lists: bool,
}

/// Checks one endpoint; `target` names bucket and prefix, `now` is this node's wall clock at the response, in seconds since 1970.
pub(crate) fn judge(checks: &mut Checks, found: &Examination, target: &str, of: Use, now: i64) {
    let subject = found.endpoint.as_str();
    let reach = "check that the server runs there, that storage.endpoint_uris names it, and the network between";
    checks.add("endpoint.tcp", subject, step(&found.connect, reach, |took| format!("connected in {}", ms(*took))));
    if subject.starts_with("https:") {
        let remedy = "check that the endpoint speaks TLS; a private authority's certificate goes into AWS_CA_BUNDLE";
        checks.add("endpoint.tls", subject, step(&found.tls, remedy, |took| format!("agreed in {}", ms(*took))));
    }
    let remedy = "check that an S3 server answers at this address (http or https?) and is not overloaded";
    checks.add(
        "endpoint.http",
        subject,
        step(&found.answer, remedy, |answered| format!("status {} in {}", answered.status, ms(answered.latency))),
    );
    checks.add("endpoint.clock", subject, clock(&found.answer, now));
    let remedy = "correct the access key and its secret (storage.storage_options, AWS_ACCESS_KEY_ID and \
                  AWS_SECRET_ACCESS_KEY, or the registry's)";
    checks.add(
        "endpoint.credentials",
        subject,
        step(&found.credentials, remedy, |()| "a signed request is accepted".into()),
    );
    let subject = format!("{target} at {subject}");
    checks.add("bucket", &subject, bucket(found, of));
    checks.add("bucket.listing", &subject, listing(found, of));
    if of.reads {
        checks.add("data.first_file", &subject, first_file(found));
    }
    if of.writes {
        let reason =
            "writing would change the bucket; the run's own preflight writes, reads and deletes a small object";
        checks.add("bucket.write", &subject, Verdict::not_checked(reason));
    }
}

fn step<T>(step: &Step<T>, remedy: &str, evidence: impl FnOnce(&T) -> String) -> Verdict {
    match step {
        Step::Done(found) => Verdict::pass(evidence(found)),
        Step::Failed(why) => Verdict::fail(why, named(why).unwrap_or(remedy)),
        Step::Skipped(why) => Verdict::not_checked(why),
    }
}

/// Returns the remedy for errors whose message names the cause, independent of the request.
fn named(why: &str) -> Option<&'static str> {
    const WAYS: [(&str, &str); 5] = [
        ("clock of this node", "set the clocks of this node and of the server right (chrony, NTP)"),
        ("storage_options.region=", "set storage.storage_options.region to the region that the server names"),
        ("sends this elsewhere", "put the address that the server names into storage.endpoint_uris"),
        (
            "not a ListBucketResult",
            "check that an S3 server answers at this address, and that no path is missing or too much",
        ),
        ("through the proxy", "see to the proxy that the evidence names, or put the endpoint's host into NO_PROXY"),
    ];
    WAYS.iter().find(|(sign, _)| why.contains(sign)).map(|(_, remedy)| *remedy)
}

fn clock(answer: &Step<UnsignedResponse>, now: i64) -> Verdict {
    let Step::Done(UnsignedResponse { date, .. }) = answer else {
        return Verdict::not_checked("there is no HTTP answer");
    };
    let Some(date) = date else { return Verdict::not_checked("the answer has no Date") };
    match clocks::http_date(date) {
        Some(theirs) => clocks::skew(theirs.saturating_sub(now)),
        None => Verdict::not_checked(format!("the answer's Date is none: {date:?}")),
    }
}

fn bucket(found: &Examination, of: Use) -> Verdict {
    match &found.bucket {
        Step::Failed(why) if of.writes && !of.reads && why.contains("404") => {
            Verdict::not_checked(format!("it does not exist; the run creates it, if these credentials may: {why}"))
        }
        Step::Failed(why) => {
            let create = "create the bucket, or correct storage.storage_root or dataset.data_folder";
            Verdict::fail(why, named(why).unwrap_or(create))
        }
        Step::Done(()) => Verdict::pass("exists"),
        Step::Skipped(why) if of.writes && !of.reads && why.starts_with(LOOKUP_REFUSED) => Verdict::fail(
            why,
            "allow s3:ListBucket to these credentials: who generates looks first whether the bucket is there",
        ),
        Step::Skipped(why) => Verdict::not_checked(why),
    }
}

fn listing(found: &Examination, of: Use) -> Verdict {
    match &found.listing {
        Step::Failed(why) if !of.lists => {
            Verdict::not_checked(format!("refused, and needed only where the first file has another name: {why}"))
        }
        Step::Failed(why) => Verdict::fail(why, "allow s3:ListBucket to these credentials"),
        Step::Done(Some(key)) => Verdict::pass(format!("works; the first key is {key}")),
        Step::Done(None) => Verdict::pass("works; nothing is below the prefix"),
        Step::Skipped(why) => Verdict::not_checked(why),
    }
}

fn first_file(found: &Examination) -> Verdict {
    match (&found.object, &found.listing) {
        (Step::Done(bytes), _) => Verdict::pass(format!("the first file of the dataset is there, {bytes} bytes")),
        (Step::Failed(why), Step::Done(Some(key))) if why.contains("HTTP 404") => Verdict::pass(format!(
            "the first file is not there under its computed name, but others are, {key} the first: a run lists them"
        )),
        (Step::Failed(why), _) if why.contains("HTTP 404") => Verdict::fail_as(
            Code::Data,
            why,
            "generate the dataset (`dlio-rs generate` with the same configuration), or correct dataset.data_folder and the file counts",
        ),
        (Step::Failed(why), _) if why.contains("HTTP 40") => Verdict::fail(
            why,
            named(why).unwrap_or(
                "allow HEAD and GET of the dataset's objects to these credentials (s3:GetObject; who lacks s3:ListBucket is \
                 refused a missing object with the same words)",
            ),
        ),
        (Step::Failed(why), _) => Verdict::fail(why, "check that the server answers reads, and is not overloaded"),
        (Step::Skipped(why), _) => Verdict::not_checked(why),
    }
}

fn ms(nanos: u64) -> String {
    format!("{:.1} ms", nanos as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: Use = Use { reads: true, writes: false, lists: false };

    fn good() -> Examination {
        let answered =
            UnsignedResponse { status: 403, date: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()), latency: 1_500_000 };
        Examination {
            endpoint: "http://a:1".into(),
            connect: Step::Done(200_000),
            tls: Step::Skipped("http has no TLS".into()),
            answer: Step::Done(answered),
            credentials: Step::Done(()),
            bucket: Step::Done(()),
            listing: Step::Done(None),
            object: Step::Done(7),
        }
    }

    fn verdict(found: &Examination, of: Use, name: &str) -> Verdict {
        let mut checks = Checks::new("here");
        judge(&mut checks, found, "s3://b", of, 784_111_777);
        checks.list.into_iter().find(|check| check.name == name).unwrap().verdict
    }

    #[test]
    fn an_endpoint_that_answers_everything_passes_everything() {
        let mut checks = Checks::new("here");
        judge(&mut checks, &good(), "s3://b", READS, 784_111_777);
        assert_eq!(checks.list.len(), 7);
        assert!(checks.list.iter().all(|check| check.verdict.word() == "pass"), "{:?}", checks.list);
    }

    #[test]
    fn every_step_that_fails_is_the_check_that_fails() {
        let failed = || "why".to_owned();
        let cases: [(&str, Examination); 5] = [
            ("endpoint.tcp", Examination { connect: Step::Failed(failed()), ..good() }),
            ("endpoint.http", Examination { answer: Step::Failed(failed()), ..good() }),
            ("endpoint.credentials", Examination { credentials: Step::Failed(failed()), ..good() }),
            ("bucket", Examination { bucket: Step::Failed(failed()), ..good() }),
            ("data.first_file", Examination { object: Step::Failed(failed()), ..good() }),
        ];
        for (name, found) in cases {
            assert!(
                matches!(verdict(&found, READS, name), Verdict::Fail { evidence, .. } if evidence == "why"),
                "{name}"
            );
        }
        let secure = Examination { endpoint: "https://a".into(), tls: Step::Failed(failed()), ..good() };
        assert_eq!(verdict(&secure, READS, "endpoint.tls").word(), "fail");
    }

    #[test]
    fn a_refusal_is_told_from_missing_data_and_has_the_remedy_that_its_words_name() {
        let code = |why: &str| match verdict(
            &Examination { object: Step::Failed(why.into()), ..good() },
            READS,
            "data.first_file",
        ) {
            Verdict::Fail { code, remedy, .. } => (code, remedy),
            other => panic!("{other:?}"),
        };
        assert_eq!(code("s3://b/a: HTTP 404 NoSuchKey").0, Code::Data);
        assert_eq!(code("s3://b/404: HTTP 403 AccessDenied").0, Code::Storage);
        assert_eq!(code("s3://b/a: no answer within 5 s").0, Code::Storage);
        for (why, sign) in [
            ("HTTP 403 RequestTimeTooSkewed; the clock of this node is 4000 s ahead of the server's", "clocks"),
            ("HTTP 301; bucket `b` is in region r: set storage.storage_options.region=r", "region"),
            ("the answer to a listing is not a ListBucketResult", "S3 server"),
            ("HTTP 403 InvalidAccessKeyId", "correct the access key"),
            ("through the proxy http://p:1 (HTTP_PROXY): the proxy wants a user and a password", "NO_PROXY"),
        ] {
            let found = Examination { credentials: Step::Failed(why.into()), ..good() };
            let verdict = verdict(&found, READS, "endpoint.credentials");
            assert!(matches!(&verdict, Verdict::Fail { remedy, .. } if remedy.contains(sign)), "{verdict:?}");
        }
        let moved =
            Examination { bucket: Step::Failed("in region r: set storage.storage_options.region=r".into()), ..good() };
        let moved = verdict(&moved, READS, "bucket");
        assert!(matches!(&moved, Verdict::Fail { remedy, .. } if remedy.contains("region")), "{moved:?}");
    }

    #[test]
    fn a_bucket_that_cannot_be_looked_up_ends_who_generates() {
        let hidden =
            Examination { bucket: Step::Skipped(format!("{LOOKUP_REFUSED}: HTTP 403 AccessDenied")), ..good() };
        assert_eq!(verdict(&hidden, Use { reads: false, writes: true, lists: false }, "bucket").word(), "fail");
        assert_eq!(verdict(&hidden, READS, "bucket").word(), "not checked");
    }

    #[test]
    fn a_skewed_date_fails_and_a_missing_one_is_unknown() {
        let mut found = good();
        let mut checks = Checks::new("here");
        judge(&mut checks, &found, "s3://b", READS, 784_111_777 + 3600);
        assert!(checks.list.iter().any(|check| check.name == "endpoint.clock" && check.verdict.word() == "fail"));
        found.answer = Step::Done(UnsignedResponse { status: 200, date: None, latency: 1 });
        assert_eq!(verdict(&found, READS, "endpoint.clock").word(), "not checked");
    }

    #[test]
    fn what_the_workload_does_decides_what_counts() {
        let missing = Examination { bucket: Step::Failed("HTTP 404 NoSuchBucket".into()), ..good() };
        assert_eq!(verdict(&missing, READS, "bucket").word(), "fail");
        let writes = Use { reads: false, writes: true, lists: false };
        assert_eq!(verdict(&missing, writes, "bucket").word(), "not checked");
        assert_eq!(verdict(&good(), writes, "bucket.write").word(), "not checked");
        let unlisted = Examination { listing: Step::Failed("AccessDenied".into()), ..good() };
        assert_eq!(verdict(&unlisted, READS, "bucket.listing").word(), "not checked");
        assert_eq!(verdict(&unlisted, Use { lists: true, ..READS }, "bucket.listing").word(), "fail");
    }
}
