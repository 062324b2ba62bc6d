//! Access control lists of buckets and objects.

use serde::{Deserialize, Serialize};

/// An access control list: grants in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acl(pub(crate) Vec<Grant>);

/// A permission given to a grantee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) grantee: Grantee,
    pub(crate) permission: Permission,
}

/// Recipient of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Grantee {
    /// A user, by canonical id.
    User(String),
    /// Everybody, including clients that do not sign requests.
    AllUsers,
    /// Everybody who signs requests.
    AuthenticatedUsers,
}

/// A permission of the S3 protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Permission {
    FullControl,
    Read,
    Write,
    ReadAcp,
    WriteAcp,
}

impl Permission {
    const ALL: [(Permission, &'static str); 5] = [
        (Permission::FullControl, "FULL_CONTROL"),
        (Permission::Read, "READ"),
        (Permission::Write, "WRITE"),
        (Permission::ReadAcp, "READ_ACP"),
        (Permission::WriteAcp, "WRITE_ACP"),
    ];

    /// Returns the protocol's name of the permission.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(one, _)| *one == self).map_or("", |(_, name)| name)
    }

    /// Returns the permission with this protocol name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(one, _)| *one)
    }
}

/// The sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A user, by canonical id.
    User(String),
    /// A client that does not sign requests.
    Anonymous,
}

/// Returns whether `caller` has the permission `wanted` on something that `owner` owns. Without a list, only the
/// owner has access. The owner may always read and write the list.
pub(crate) fn allows(owner: &str, acl: Option<&Acl>, caller: &Caller, wanted: Permission) -> bool {
    let is_owner = matches!(caller, Caller::User(id) if id == owner);
    let Some(Acl(grants)) = acl else { return is_owner };
    if is_owner && matches!(wanted, Permission::ReadAcp | Permission::WriteAcp) {
        return true;
    }
    grants.iter().any(|grant| {
        let reaches = match (&grant.grantee, caller) {
            (Grantee::AllUsers, _) | (Grantee::AuthenticatedUsers, Caller::User(_)) => true,
            (Grantee::User(id), Caller::User(caller)) => id == caller,
            _ => false,
        };
        reaches && (grant.permission == wanted || grant.permission == Permission::FullControl)
    })
}

impl Acl {
    /// Returns the list of a canned ACL; `None` for an unknown name.
    pub(crate) fn canned(name: &str, owner: &str, bucket_owner: &str) -> Option<Self> {
        let user = |id: &str, permission| Grant { grantee: Grantee::User(id.to_owned()), permission };
        let group = |grantee, permission| Grant { grantee, permission };
        let mut grants = vec![user(owner, Permission::FullControl)];
        match name {
            "public-read" => grants.push(group(Grantee::AllUsers, Permission::Read)),
            "public-read-write" => {
                grants.push(group(Grantee::AllUsers, Permission::Read));
                grants.push(group(Grantee::AllUsers, Permission::Write));
            }
            "authenticated-read" => grants.push(group(Grantee::AuthenticatedUsers, Permission::Read)),
            "bucket-owner-read" if owner != bucket_owner => grants.push(user(bucket_owner, Permission::Read)),
            "bucket-owner-full-control" if owner != bucket_owner => {
                grants.push(user(bucket_owner, Permission::FullControl));
            }
            "private" | "bucket-owner-read" | "bucket-owner-full-control" => {}
            _ => return None,
        }
        Some(Self(grants))
    }

    /// Returns whether the list grants something to a group.
    pub(crate) fn is_public(&self) -> bool {
        self.0.iter().any(|grant| !matches!(grant.grantee, Grantee::User(_)))
    }

    /// Returns the list without its grants to groups.
    pub(crate) fn without_public(&self) -> Self {
        Self(self.0.iter().filter(|grant| matches!(grant.grantee, Grantee::User(_))).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(acl: Option<&Acl>, caller: &Caller, wanted: Permission) -> bool {
        allows("ann", acl, caller, wanted)
    }

    #[test]
    fn without_a_list_only_the_owner_has_access() {
        let (ann, bob) = (Caller::User("ann".into()), Caller::User("bob".into()));
        for wanted in Permission::ALL.map(|(one, _)| one) {
            assert!(may(None, &ann, wanted));
            assert!(!may(None, &bob, wanted) && !may(None, &Caller::Anonymous, wanted));
        }
    }

    #[test]
    fn canned_lists_reach_whom_their_names_say() {
        let bob = Caller::User("bob".into());
        let read = Acl::canned("public-read", "ann", "ann").unwrap();
        assert!(may(Some(&read), &Caller::Anonymous, Permission::Read));
        assert!(!may(Some(&read), &bob, Permission::Write));
        let write = Acl::canned("public-read-write", "ann", "ann").unwrap();
        assert!(may(Some(&write), &bob, Permission::Write) && !may(Some(&write), &bob, Permission::ReadAcp));
        let signed = Acl::canned("authenticated-read", "ann", "ann").unwrap();
        assert!(may(Some(&signed), &bob, Permission::Read));
        assert!(!may(Some(&signed), &Caller::Anonymous, Permission::Read));
        assert_eq!(Acl::canned("public", "ann", "ann"), None);
        assert!(signed.is_public() && !signed.without_public().is_public());
    }

    #[test]
    fn an_owner_without_a_grant_can_still_change_the_list() {
        let ann = Caller::User("ann".into());
        let empty = Acl::default();
        assert!(!may(Some(&empty), &ann, Permission::Read));
        assert!(may(Some(&empty), &ann, Permission::WriteAcp));
    }
}
