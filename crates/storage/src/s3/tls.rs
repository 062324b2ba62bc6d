//! TLS as curl and the AWS CLI accept it: certificates signed by the system's authorities or those of a bundle, and
//! certificates that are themselves in the bundle, even CA certificates. Invariant: name and validity are always
//! checked, unless checks are disabled.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, RootCertStore, SignatureScheme,
};

use super::config::S3Config;
use super::failure::{Failure, Retry};

/// Creates the TLS connector of a client.
///
/// # Errors
/// When the bundle cannot be used, or no authority is known.
pub(super) fn connector(config: &S3Config) -> Result<TlsConnector, String> {
    if !config.verify {
        return unverified();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut trusted = rustls_native_certs::load_native_certs().certs;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    if let Some(path) = &config.ca_bundle {
        let bundle = bundle(path)?;
        let (usable, _) = roots.add_parsable_certificates(bundle.iter().cloned());
        if usable == 0 {
            return Err(format!(
                "the CA bundle {} holds no usable certificate; expected PEM text with at least one -----BEGIN CERTIFICATE-----",
                path.display()
            ));
        }
        trusted.extend(bundle);
    }
    if roots.is_empty() {
        return Err("no certificate authority is known to this system; name a PEM file in AWS_CA_BUNDLE".to_owned());
    }
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let webpki = webpki.build().map_err(|error| error.to_string())?;
    let trusted = trusted.iter().map(|certificate| certificate.as_ref().to_vec()).collect();
    with_verifier(provider, Arc::new(TrustedOrSigned { webpki, trusted }))
}

/// Creates a connector that accepts every certificate.
///
/// # Errors
/// When the library rejects its own defaults.
pub(super) fn unverified() -> Result<TlsConnector, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    with_verifier(Arc::clone(&provider), Arc::new(Anyone(provider)))
}

fn with_verifier(provider: Arc<CryptoProvider>, verifier: Arc<dyn ServerCertVerifier>) -> Result<TlsConnector, String> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut tls = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// Reads the certificates of a PEM file.
fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: String| format!("the CA bundle {} {why}; expected certificates in PEM", path.display());
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    certificates.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(format!("is malformed: {error}")))
}

/// Accepts certificates signed by a trusted authority, and trusted certificates themselves.
#[derive(Debug)]
struct TrustedOrSigned {
    webpki: Arc<WebPkiServerVerifier>,
    trusted: HashSet<Vec<u8>>,
}

impl ServerCertVerifier for TrustedOrSigned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(error) = judged else { return judged };
        if !self.trusted.contains(end_entity.as_ref()) {
            // A self-signed CA certificate has no known issuer either.
            let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
            return Err(if is_authority(&error) { unknown } else { error });
        }
        // The second case: an authority with this name but another key is known.
        let unknown = matches!(
            error,
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
        );
        let named = if is_authority(&error) || unknown {
            // webpki checks the validity before it rejects a CA certificate as a server's, and before it looks for
            // the issuer.
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)
        } else {
            Err(error)
        };
        match named {
            Err(error) if !(has_no_names(&error) && is_common_name(end_entity, server_name)) => Err(error),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Returns whether a server's certificate was rejected because it is a CA certificate.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Returns whether a certificate was rejected because it has no `subjectAltName`.
fn has_no_names(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) if presented.is_empty()
    )
}

/// Returns whether a certificate's common name, which counts only if there are no other names, is that of the host.
fn is_common_name(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
    /// Object identifier 2.5.4.3.
    const COMMON_NAME: [u8; 5] = [6, 3, 0x55, 4, 3];
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let subject = certificate.subject();
    let Some(at) = subject.windows(COMMON_NAME.len()).position(|window| window == COMMON_NAME) else { return false };
    // Tag, length and text follow; host names are shorter than 128 bytes here.
    let [_, length, rest @ ..] = &subject[at + COMMON_NAME.len()..] else { return false };
    let name = rest.get(..usize::from(*length)).and_then(|name| std::str::from_utf8(name).ok());
    name.is_some_and(|name| name.eq_ignore_ascii_case(&host.to_str()))
}

/// Accepts every certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Converts a TLS handshake error into a failure with advice.
pub(super) fn failure(host: &str, port: u16, error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(inner) = inner else { return Failure::connect(format!("TLS with {host}: {error}")) };
    let text = match inner {
        Error::InvalidCertificate(why) => certificate(host, why),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => format!(
            "port {port} of {host} does not speak TLS: for plain HTTP write http://{host}:{port} instead of https"
        ),
        Error::AlertReceived(alert) => format!("{host} ends the TLS handshake with the alert {alert:?}"),
        Error::PeerIncompatible(why) => {
            format!("{host} speaks no version of TLS that is safe ({why:?}): TLS 1.2 or 1.3 is needed")
        }
        other => format!("TLS with {host}: {other}"),
    };
    // A certificate error is permanent, so it is not retried.
    Failure { retry: Retry::Never, ..Failure::unreachable(text) }
}

/// Returns whether a handshake error shows that the other side uses TLS.
pub(super) fn is_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(
        inner,
        Some(
            Error::AlertReceived(_)
                | Error::PeerIncompatible(_)
                | Error::InvalidCertificate(_)
                | Error::NoApplicationProtocol
        )
    )
}

/// Returns `host` of `DnsName("host")`, and `127.0.0.1` of `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

const UNCHECKED: &str = "storage.storage_options.verify=false lets every certificate pass, for a test";

fn certificate(host: &str, why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => format!(
            "the certificate of {host} is signed by an authority that is not known here: put the authority's certificate (that of the \
             server where it signed itself) as PEM into AWS_CA_BUNDLE ({UNCHECKED})"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of {host} has expired ({why}): renew it at the server, or set the clock of this node right \
             ({UNCHECKED})"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of {host} is not valid yet ({why}): set the clock of this node right ({UNCHECKED})"
        ),
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => format!(
            "the certificate of {host} is for other names ({}): name the endpoint by one of them, or give the server a certificate \
             for {host} ({UNCHECKED})",
            presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ")
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the certificate of {host} names no host (subjectAltName): give the server a certificate for {host} ({UNCHECKED})"
        ),
        other => format!("the certificate of {host} is not accepted: {other} ({UNCHECKED})"),
    }
}
