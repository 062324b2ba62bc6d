//! Buckets and their configuration. A configuration that this server does not support is answered as S3 answers for a
//! bucket where it was never set; `docs/server.md` lists them.

use s3s::dto::{
    Bucket, BucketCannedACL, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketTaggingInput, GetBucketTaggingOutput, GetPublicAccessBlockInput,
    GetPublicAccessBlockOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput,
    PublicAccessBlockConfiguration, PutBucketTaggingInput, PutBucketTaggingOutput, PutPublicAccessBlockInput,
    PutPublicAccessBlockOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::access::{caller, owner_id, owner_of};
use super::attach::{BUCKET_TAGS, tag_set, tags_of_body};
use super::control::{granted, person};
use super::{Gateway, Reply};
use crate::store::{BucketSettings, Caller, ListStart, PublicAccessBlock, Query, StoreError, is_bucket_name};
use crate::users::OWNER;

/// Bucket limit that Ceph reports for a user without a quota.
const BUCKETS_OF_USER: u64 = 1000;
/// Most buckets on a page; the limit of S3.
const BUCKETS: usize = 10_000;

impl Gateway {
    pub(super) async fn make_bucket(&self, request: S3Request<CreateBucketInput>) -> Reply<CreateBucketOutput> {
        let caller = caller(&request);
        let input = request.input;
        let bucket = input.bucket;
        check_name(&bucket)?;
        if input.object_lock_enabled_for_bucket == Some(true) {
            return Err(s3_error!(NotImplemented, "This server has no object lock"));
        }
        let owner = owner_of(&caller);
        let granted = granted!(input, grant_write);
        let id = owner_id(owner.as_ref());
        let acl = self.list_of(input.acl.as_ref().map(BucketCannedACL::as_str), &granted, id, id)?;
        let location = input.create_bucket_configuration.and_then(|configuration| configuration.location_constraint);
        let location = location.map(|name| name.as_str().to_owned()).filter(|name| !name.is_empty());
        let settings = BucketSettings { owner: owner.clone(), acl, location, ..BucketSettings::default() };
        match self.store.create_bucket(&bucket, settings).await {
            Err(StoreError::BucketExists) => self.made_before(&bucket, owner.as_ref()).await?,
            made => made?,
        }
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
    }

    pub(super) async fn look_at_bucket(&self, request: S3Request<HeadBucketInput>) -> Reply<HeadBucketOutput> {
        let bucket = &request.input.bucket;
        let bucket_region = self.store.settings(bucket).await?.location;
        let mut response = S3Response::new(HeadBucketOutput { bucket_region, ..HeadBucketOutput::default() });
        if request.uri.query().is_some_and(|query| query.contains("read-stats=true")) {
            let (objects, bytes) = self.usage(bucket).await?;
            let numbers = [
                ("x-rgw-object-count", objects),
                ("x-rgw-bytes-used", bytes),
                ("x-rgw-quota-max-buckets", BUCKETS_OF_USER),
            ];
            for (name, number) in numbers {
                response.headers.insert(hyper::header::HeaderName::from_static(name), number.into());
            }
        }
        Ok(response)
    }

    /// Returns number and total size of a bucket's objects, by listing all of them.
    async fn usage(&self, bucket: &str) -> S3Result<(u64, u64)> {
        let (mut objects, mut bytes, mut from) = (0, 0, ListStart::Start);
        loop {
            let query = Query { prefix: String::new(), delimiter: None, from, limit: 10_000 };
            let page = self.store.list(bucket, query).await?;
            objects += page.objects.len() as u64;
            bytes += page.objects.iter().map(|(_, stat)| stat.size).sum::<u64>();
            match page.next {
                Some(next) => from = next,
                None => return Ok((objects, bytes)),
            }
        }
    }

    /// Creating a bucket again is no error for its owner, as in us-east-1.
    async fn made_before(&self, bucket: &str, owner: Option<&String>) -> S3Result<()> {
        let settings = self.store.settings(bucket).await?;
        if settings.owner.as_ref() == owner {
            return Ok(());
        }
        Err(s3_error!(BucketAlreadyExists, "The bucket {bucket} exists and belongs to somebody else"))
    }

    pub(super) async fn list_all_buckets(&self, request: S3Request<ListBucketsInput>) -> Reply<ListBucketsOutput> {
        let caller = caller(&request);
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.unwrap_or_default();
        let limit = match input.max_buckets {
            None => BUCKETS,
            Some(most) => usize::try_from(most)
                .ok()
                .filter(|most| (1..=BUCKETS).contains(most))
                .ok_or_else(|| s3_error!(InvalidArgument, "max-buckets is not within 1..={BUCKETS}"))?,
        };
        let mut found = Vec::new();
        for (name, created) in self.store.buckets().await? {
            if name.starts_with(&prefix) && name > after && self.is_bucket_of(&name, &caller).await {
                found.push((name, created));
            }
        }
        let is_truncated = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|(name, _)| name.clone()).filter(|_| is_truncated);
        let buckets = found.into_iter().map(|(name, created)| Bucket {
            name: Some(name),
            creation_date: Some(created.into()),
            ..Bucket::default()
        });
        let owner = match &caller {
            Caller::User(id) => person(id),
            Caller::Anonymous => person("anonymous"),
        };
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            continuation_token: next,
            owner: Some(owner),
            prefix: input.prefix,
        }))
    }

    async fn is_bucket_of(&self, bucket: &str, caller: &Caller) -> bool {
        let Caller::User(id) = caller else { return false };
        if self.users.is_sole() {
            return true;
        }
        let settings = self.store.settings(bucket).await.unwrap_or_default();
        settings.owner.as_deref().unwrap_or(OWNER) == id
    }

    pub(super) async fn location(&self, input: GetBucketLocationInput) -> Reply<GetBucketLocationOutput> {
        // S3 reports us-east-1 as an absent constraint.
        let location = self.store.settings(&input.bucket).await?.location;
        let location_constraint = location.map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    pub(super) async fn bucket_tags(&self, input: GetBucketTaggingInput) -> Reply<GetBucketTaggingOutput> {
        let tags = self.store.settings(&input.bucket).await?.tags;
        if tags.is_empty() {
            return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist"));
        }
        Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tag_set(&tags) }))
    }

    pub(super) async fn put_bucket_tags(&self, input: PutBucketTaggingInput) -> Reply<PutBucketTaggingOutput> {
        let tags = tags_of_body(input.tagging.tag_set, Some(BUCKET_TAGS))?;
        self.store.change_settings(&input.bucket, move |settings| settings.tags = tags).await?;
        Ok(S3Response::new(PutBucketTaggingOutput::default()))
    }

    pub(super) async fn blocked(&self, input: GetPublicAccessBlockInput) -> Reply<GetPublicAccessBlockOutput> {
        let Some(block) = self.store.settings(&input.bucket).await?.public_access_block else {
            return Err(missing(
                "NoSuchPublicAccessBlockConfiguration",
                "The public access block configuration was not found",
            ));
        };
        Ok(S3Response::new(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(PublicAccessBlockConfiguration {
                block_public_acls: Some(block.block_public_acls),
                block_public_policy: Some(block.block_public_policy),
                ignore_public_acls: Some(block.ignore_public_acls),
                restrict_public_buckets: Some(block.restrict_public_buckets),
            }),
        }))
    }

    pub(super) async fn put_block(&self, input: PutPublicAccessBlockInput) -> Reply<PutPublicAccessBlockOutput> {
        let asked = input.public_access_block_configuration;
        let block = PublicAccessBlock {
            block_public_acls: asked.block_public_acls.unwrap_or(false),
            ignore_public_acls: asked.ignore_public_acls.unwrap_or(false),
            block_public_policy: asked.block_public_policy.unwrap_or(false),
            restrict_public_buckets: asked.restrict_public_buckets.unwrap_or(false),
        };
        self.store.change_settings(&input.bucket, move |settings| settings.public_access_block = Some(block)).await?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }
}

/// Refuses names that a new bucket cannot have: S3's rules, extended by upper-case letters and `_`, which DLIO's
/// users write.
fn check_name(name: &str) -> S3Result<()> {
    let is_ip = name.parse::<std::net::Ipv4Addr>().is_ok();
    let ends = name.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
    let bad = ["..", ".-", "-."].iter().any(|pair| name.contains(pair));
    if is_bucket_name(name) && name.len() >= 3 && ends && !is_ip && !bad {
        return Ok(());
    }
    Err(s3_error!(
        InvalidBucketName,
        "The specified bucket is not valid: {name} is not 3 to 63 letters, digits, '.', '-' or '_' that begin with a letter \
         or digit and do not end with '.' or '-'"
    ))
}

/// Returns the response for a configuration that was never set.
pub(super) fn missing(code: &'static str, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(hyper::StatusCode::NOT_FOUND);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_s3_with_capitals_and_underscores() {
        for good in ["abc", "Data_Sets", "a.b-c", "1st"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["ab", "", "192.168.5.123", "a..b", "a.-b", "a-.b", "abc-", "-abc", "a b", &"a".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
