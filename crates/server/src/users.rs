//! The users of a server: its own, and others listed in a file.

use std::collections::HashMap;

use crate::signature::Secrets;
use dlio_storage::registry::KeyPair;

use crate::Error;

/// Canonical id and display name of the server's own user.
pub const OWNER: &str = "dlio-rs";

/// A user in addition to the server's own, with their own buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Canonical id and display name.
    pub id: String,
    /// Key pair.
    pub credentials: KeyPair,
}

impl User {
    /// Parses users from text in the format of the AWS CLI's `credentials` file: each section names a user and
    /// contains `aws_access_key_id` and `aws_secret_access_key`.
    ///
    /// # Errors
    /// When a line is neither a section, nor a key with a value, nor a comment, or when a section lacks one of the
    /// two keys.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let mut users: Vec<Self> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let credentials = KeyPair { access_key: String::new(), secret_key: String::new() };
                users.push(Self { id: name.trim().to_owned(), credentials });
                continue;
            }
            let pair = users.last_mut().map(|user| &mut user.credentials);
            match (line.split_once('='), pair) {
                (Some((key, value)), Some(pair)) => match key.trim() {
                    "aws_access_key_id" => value.trim().clone_into(&mut pair.access_key),
                    "aws_secret_access_key" => value.trim().clone_into(&mut pair.secret_key),
                    _ => {}
                },
                _ => return Err(Error::Config(format!("line {} is neither [USER] nor a key with a value", index + 1))),
            }
        }
        let incomplete =
            |user: &&Self| user.credentials.access_key.is_empty() || user.credentials.secret_key.is_empty();
        match users.iter().find(incomplete) {
            Some(user) => {
                let missing = format!("[{}] needs aws_access_key_id and aws_secret_access_key", user.id);
                Err(Error::Config(missing))
            }
            None => Ok(users),
        }
    }
}

/// All users of a server, by access key.
#[derive(Debug)]
pub(crate) struct Users {
    by_access_key: HashMap<String, User>,
    /// Whether the server's own user is the only one.
    sole: bool,
}

impl Users {
    /// Creates the table from the server's own key pair and the other users.
    pub(crate) fn new(own: &KeyPair, others: &[User]) -> Result<Self, Error> {
        let own = User { id: OWNER.to_owned(), credentials: own.clone() };
        let mut by_access_key = HashMap::new();
        for user in others.iter().chain([&own]) {
            let key = user.credentials.access_key.clone();
            if let Some(other) = by_access_key.insert(key.clone(), user.clone()) {
                let (one, two) = (&other.id, &user.id);
                return Err(Error::Config(format!("users {one} and {two} have the same access key {key}")));
            }
        }
        Ok(Self { sole: others.iter().all(|user| user.id == OWNER), by_access_key })
    }

    /// Returns the user with an access key.
    pub(crate) fn by_access_key(&self, access_key: &str) -> Option<&User> {
        self.by_access_key.get(access_key)
    }

    /// Returns whether a user has this canonical id.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.by_access_key.values().any(|user| user.id == id)
    }

    /// Returns whether only the server's own user can sign requests.
    pub(crate) fn is_sole(&self) -> bool {
        self.sole
    }
}

impl Secrets for Users {
    fn secret(&self, access_key: &str) -> Option<String> {
        self.by_access_key(access_key).map(|user| user.credentials.secret_key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# lab\n[ann]\naws_access_key_id = A\naws_secret_access_key = a=\n\n[bob]\naws_access_key_id=B\n\
                       aws_secret_access_key=b\nregion = here\n";

    #[test]
    fn a_credentials_file_names_users() {
        let users = User::parse_all(TWO).unwrap();
        let seen: Vec<_> = users.iter().map(|user| (&*user.id, &*user.credentials.secret_key)).collect();
        assert_eq!(seen, [("ann", "a="), ("bob", "b")]);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        let text = |error: Error| error.to_string();
        assert!(text(User::parse_all("[ann]\naws_access_key_id=A\n").unwrap_err()).contains("[ann] needs"));
        assert!(text(User::parse_all("[ann]\nnonsense\n").unwrap_err()).contains("line 2"));
        let own = KeyPair { access_key: "A".into(), secret_key: "s".into() };
        let clash = Users::new(&own, &User::parse_all(TWO).unwrap()).unwrap_err();
        assert!(text(clash).contains("ann and dlio-rs have the same access key A"));
    }
}
