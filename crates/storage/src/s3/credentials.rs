//! The form in which rank 0 tells the other ranks the credentials that it found.

use super::{Credentials, Secret};

/// First byte of the broadcast form.
const FORM: u8 = 1;

impl Credentials {
    /// The form in which rank 0 tells the others. It contains the secret: send it, never store or print it.
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

    /// Reads [`Credentials::to_bytes`]; `None` when the bytes are something else.
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
