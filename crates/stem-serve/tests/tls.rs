//! A server that shows a certificate.

use crate::common::*;
use std::path::Path;
use std::sync::Arc;
use stem_serve::{ServeConfig, Server, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

fn sample(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

#[test]
fn a_caller_who_trusts_the_certificate_is_answered_and_plain_http_is_not() {
    let models = Models::new(&["shop"]);
    let tls = Tls { cert: sample("cert.pem"), key: sample("key.pem") };
    let server = start_with(&models.path("shop"), ServeConfig::default(), Some(tls));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(sample("cert.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    });
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    assert!(server.client().ask("GET", "/healthz", "", b"").is_err());
}

#[test]
fn a_certificate_that_is_none_is_named() {
    let models = Models::new(&["shop"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = |cert: &str, key: &str| {
        runtime.block_on(async {
            let server = Server::open(models.path("shop"), ServeConfig::default(), &device()).unwrap();
            let listener = stem_serve::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let tls = Tls { cert: sample(cert), key: sample(key) };
            server.with_tls(tls).run(listener, std::future::pending()).await.unwrap_err().to_string()
        })
    };
    assert!(refused("key.pem", "key.pem").contains("it holds no certificate"));
    assert!(refused("none.pem", "key.pem").contains("none.pem cannot be used for TLS"));
    assert!(refused("cert.pem", "cert.pem").contains("cert.pem cannot be used for TLS"));
}
