//! Access control lists in the form of the protocol.

use s3s::dto::{
    AccessControlPolicy, BucketCannedACL, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput,
    Grant as GrantDto, Grantee as GranteeDto, ObjectCannedACL, Owner, Permission as PermissionDto, PutBucketAclInput,
    PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::access::{caller, owner_id, owner_of};
use super::read::check_version;
use super::{Gateway, Reply};
use crate::store::{Acl, Caller, Grant, Grantee, Permission};

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// Pairs each permission with the header that grants it; `grant_write` is passed if the request can have that header.
macro_rules! granted {
    ($input:expr $(, $grant_write:ident)?) => {
        [
            ($crate::store::Permission::FullControl, $input.grant_full_control.as_deref()),
            ($crate::store::Permission::Read, $input.grant_read.as_deref()),
            $(($crate::store::Permission::Write, $input.$grant_write.as_deref()),)?
            ($crate::store::Permission::ReadAcp, $input.grant_read_acp.as_deref()),
            ($crate::store::Permission::WriteAcp, $input.grant_write_acp.as_deref()),
        ]
    };
}
pub(super) use granted;

/// Returns the access control list in the headers of a write; `None` if they contain none.
macro_rules! acl_of {
    ($gateway:expr, $input:expr, $caller:expr, $bucket:expr) => {{
        let canned = $input.acl.as_ref().map(|canned| canned.as_str());
        let granted = $crate::protocol::control::granted!($input);
        if canned.is_none() && granted.iter().all(|(_, header)| header.is_none()) {
            None
        } else {
            $gateway.acl_of_headers(canned, &granted, $caller, $bucket).await?
        }
    }};
}
pub(super) use acl_of;

/// Permissions with the values of the headers that grant them.
type Granted<'a> = [(Permission, Option<&'a str>)];

impl Gateway {
    /// Returns the list that a canned name or grant headers describe, for something that `caller` creates in
    /// `bucket`.
    pub(super) async fn acl_of_headers(
        &self,
        canned: Option<&str>,
        granted: &Granted<'_>,
        caller: &Caller,
        bucket: &str,
    ) -> S3Result<Option<Acl>> {
        let settings = self.store.settings(bucket).await.unwrap_or_default();
        let owner = owner_of(caller);
        let acl = self.list_of(canned, granted, owner_id(owner.as_ref()), owner_id(settings.owner.as_ref()))?;
        self.refuse_blocked(bucket, acl.as_ref()).await?;
        Ok(acl)
    }

    /// Returns the list that a canned name or grant headers describe.
    pub(super) fn list_of(
        &self,
        canned: Option<&str>,
        granted: &Granted<'_>,
        owner: &str,
        bucket_owner: &str,
    ) -> S3Result<Option<Acl>> {
        let mut grants = Vec::new();
        for (permission, header) in granted {
            for grantee in header.unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty()) {
                grants.push(Grant { grantee: self.grantee_of_header(grantee)?, permission: *permission });
            }
        }
        match (canned, grants.is_empty()) {
            (Some(_), false) => {
                Err(s3_error!(InvalidRequest, "Specifying both Canned ACLs and Header Grants is not allowed"))
            }
            // A private list is the same as none.
            (Some("private") | None, true) => Ok(None),
            (Some(name), true) => match Acl::canned(name, owner, bucket_owner) {
                Some(acl) => Ok(Some(acl)),
                None => Err(s3_error!(InvalidArgument, "There is no canned ACL {name}")),
            },
            (None, false) => Ok(Some(Acl(grants))),
        }
    }

    /// Parses a grantee of the form `id="…"` or `uri="…"`.
    fn grantee_of_header(&self, text: &str) -> S3Result<Grantee> {
        let (kind, value) = text.split_once('=').unwrap_or((text, ""));
        let value = value.trim().trim_matches('"');
        match kind.trim() {
            "id" => self.user(value),
            "uri" => group(value),
            _ => Err(s3_error!(NotImplemented, "Grantees are named by id or uri here, not by {kind}")),
        }
    }

    fn user(&self, id: &str) -> S3Result<Grantee> {
        if self.users.knows(id) {
            return Ok(Grantee::User(id.to_owned()));
        }
        Err(s3_error!(InvalidArgument, "Invalid id: no user {id}"))
    }

    /// Returns the list in the body of a request.
    fn list_of_body(&self, policy: AccessControlPolicy, owner: &str) -> S3Result<Acl> {
        if policy.owner.and_then(|named| named.id).is_some_and(|named| named != owner) {
            return Err(s3_error!(AccessDenied, "The owner cannot be changed"));
        }
        let grant = |grant: GrantDto| {
            let grantee = match grant.grantee {
                Some(GranteeDto { id: Some(id), .. }) => self.user(&id)?,
                Some(GranteeDto { uri: Some(uri), .. }) => group(&uri)?,
                Some(GranteeDto { email_address: Some(_), .. }) => {
                    return Err(s3_error!(UnresolvableGrantByEmailAddress, "Grantees are named by id or uri here"));
                }
                _ => return Err(s3_error!(MalformedACLError, "A grant has no grantee")),
            };
            let permission = grant.permission.as_ref().and_then(|name| Permission::by_name(name.as_str()));
            let permission = permission.ok_or_else(|| s3_error!(MalformedACLError, "A grant has no permission"))?;
            Ok(Grant { grantee, permission })
        };
        Ok(Acl(policy.grants.unwrap_or_default().into_iter().map(grant).collect::<S3Result<_>>()?))
    }

    /// Refuses a public list if the bucket blocks public lists.
    pub(super) async fn refuse_blocked(&self, bucket: &str, acl: Option<&Acl>) -> S3Result<()> {
        let Some(acl) = acl.filter(|acl| acl.is_public()) else { return Ok(()) };
        let settings = self.store.settings(bucket).await.unwrap_or_default();
        if settings.public_access_block.is_some_and(|block| block.block_public_acls) && !acl.0.is_empty() {
            return Err(s3_error!(AccessDenied, "The bucket blocks public access control lists"));
        }
        Ok(())
    }

    pub(super) async fn bucket_acl(&self, input: GetBucketAclInput) -> Reply<GetBucketAclOutput> {
        let settings = self.store.settings(&input.bucket).await?;
        let owner = owner_id(settings.owner.as_ref());
        let grants = Some(grants(settings.acl.as_ref(), owner));
        Ok(S3Response::new(GetBucketAclOutput { grants, owner: Some(person(owner)) }))
    }

    pub(super) async fn object_acl(&self, input: GetObjectAclInput) -> Reply<GetObjectAclOutput> {
        check_version(input.version_id.as_deref())?;
        let attributes = self.store.open(&input.bucket, &input.key).await?.attributes;
        let owner = owner_id(attributes.owner.as_ref());
        let grants = Some(grants(attributes.acl.as_ref(), owner));
        let owner = Some(person(owner));
        Ok(S3Response::new(GetObjectAclOutput { grants, owner, ..GetObjectAclOutput::default() }))
    }

    pub(super) async fn set_bucket_acl(&self, input: PutBucketAclInput) -> Reply<PutBucketAclOutput> {
        let settings = self.store.settings(&input.bucket).await?;
        let owner = owner_id(settings.owner.as_ref()).to_owned();
        let granted = granted!(input, grant_write);
        let acl = match input.access_control_policy {
            Some(policy) => Some(self.list_of_body(policy, &owner)?),
            None => self.list_of(input.acl.as_ref().map(BucketCannedACL::as_str), &granted, &owner, &owner)?,
        };
        self.refuse_blocked(&input.bucket, acl.as_ref()).await?;
        self.store.change_settings(&input.bucket, move |settings| settings.acl = acl).await?;
        Ok(S3Response::new(PutBucketAclOutput::default()))
    }

    pub(super) async fn set_object_acl(&self, request: S3Request<PutObjectAclInput>) -> Reply<PutObjectAclOutput> {
        let caller = caller(&request);
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        let settings = self.store.settings(&input.bucket).await?;
        let attributes = self.store.open(&input.bucket, &input.key).await?.attributes;
        let owner = owner_id(attributes.owner.as_ref()).to_owned();
        let granted = granted!(input, grant_write);
        let canned = input.acl.as_ref().map(ObjectCannedACL::as_str);
        let acl = match input.access_control_policy {
            Some(policy) => Some(self.list_of_body(policy, &owner)?),
            None => self.list_of(canned, &granted, &owner, owner_id(settings.owner.as_ref()))?,
        };
        if caller == Caller::Anonymous {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        self.refuse_blocked(&input.bucket, acl.as_ref()).await?;
        self.store.change_attributes(&input.bucket, &input.key, move |attributes| attributes.acl = acl).await?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }
}

fn group(uri: &str) -> S3Result<Grantee> {
    match uri {
        ALL_USERS => Ok(Grantee::AllUsers),
        AUTHENTICATED_USERS => Ok(Grantee::AuthenticatedUsers),
        _ => Err(s3_error!(InvalidArgument, "Invalid group uri: {uri}")),
    }
}

/// Returns a user as responses describe one.
pub(super) fn person(id: &str) -> Owner {
    Owner { display_name: Some(id.to_owned()), id: Some(id.to_owned()) }
}

fn grants(acl: Option<&Acl>, owner: &str) -> Vec<GrantDto> {
    let private = || {
        let grantee = Grantee::User(owner.to_owned());
        Acl(vec![Grant { grantee, permission: Permission::FullControl }])
    };
    let acl = acl.cloned().unwrap_or_else(private);
    let grant = |grant: &Grant| {
        let named = |kind: &'static str| GranteeDto {
            display_name: None,
            email_address: None,
            id: None,
            type_: Type::from_static(kind),
            uri: None,
        };
        let grantee = match &grant.grantee {
            Grantee::User(id) => {
                GranteeDto { display_name: Some(id.clone()), id: Some(id.clone()), ..named(Type::CANONICAL_USER) }
            }
            Grantee::AllUsers => GranteeDto { uri: Some(ALL_USERS.to_owned()), ..named(Type::GROUP) },
            Grantee::AuthenticatedUsers => {
                GranteeDto { uri: Some(AUTHENTICATED_USERS.to_owned()), ..named(Type::GROUP) }
            }
        };
        GrantDto { grantee: Some(grantee), permission: Some(PermissionDto::from_static(grant.permission.name())) }
    };
    acl.0.iter().map(grant).collect()
}
