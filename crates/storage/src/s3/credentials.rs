//! Credentials, and the form in which rank 0 broadcasts them.

use std::time::Duration;

use dlio_event::Secret;

/// First byte of the broadcast form.
const FORM: u8 = 1;

/// Credentials for signing requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: Secret,
    /// Session token of temporary credentials.
    pub session_token: Option<Secret>,
}

impl Credentials {
    /// Returns long-lived credentials.
    #[must_use]
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: Secret::new(secret_access_key),
            session_token: None,
        }
    }
}

/// Credentials with their expiry time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temporary {
    /// The credentials.
    pub credentials: Credentials,
    /// Expiry time since 1970; `None`: never.
    pub ends: Option<Duration>,
}

impl Credentials {
    /// Returns the form that rank 0 broadcasts. It contains the secret: send it, never store or print it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let token = self.session_token.as_ref().map(Secret::expose);
        let mut out = vec![FORM, u8::from(token.is_some())];
        for text in [&self.access_key_id, self.secret_access_key.expose(), token.unwrap_or_default()] {
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Parses [`Credentials::to_bytes`]; `None` if the bytes have another form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[form, token], mut rest) = bytes.split_first_chunk::<2>()?;
        let mut text = || {
            let (len, tail) = rest.split_first_chunk::<8>()?;
            let (text, tail) = tail.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
            rest = tail;
            String::from_utf8(text.to_vec()).ok()
        };
        let (id, secret, session) = (text()?, text()?, text()?);
        if form != FORM || token > 1 || !rest.is_empty() {
            return None;
        }
        let session_token = (token == 1).then(|| Secret::new(session));
        Some(Self { access_key_id: id, secret_access_key: Secret::new(secret), session_token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broadcast_form_holds_everything() {
        let plain = Credentials::new("AKID", "sécret");
        let temporary = Credentials { session_token: Some(Secret::new("")), ..plain.clone() };
        for credentials in [plain, temporary] {
            let bytes = credentials.to_bytes();
            assert_eq!(Credentials::from_bytes(&bytes).as_ref(), Some(&credentials));
            for end in 0..bytes.len() {
                assert_eq!(Credentials::from_bytes(&bytes[..end]), None, "cut at {end}");
            }
        }
    }
}
