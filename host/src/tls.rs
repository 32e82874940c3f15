//! TLS to servers: who is trusted is what the system trusts (`SSL_CERT_FILE` names others).

use std::sync::Arc;

use rustls_native_certs::load_native_certs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Speaks TLS on a stream from now on.
///
/// # Errors
/// Why it cannot: no authority to trust, or what is wrong with the server's certificate.
pub(crate) async fn encrypt<S>(
    stream: S,
    host: &str,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(client_config()?);
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}

/// Whom to trust, and in which versions TLS is spoken.
///
/// # Errors
/// When there is no authority to trust.
pub(crate) fn client_config() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let found = load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("the system has no certificates to trust{cause}"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
