//! Who is talked to over TLS, and who is not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

use reqwest::Url;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::http::{self, Http};
use super::testing::{Hosts, reply};
use super::{BadRedirect, Location, NetworkError, Source};

/// A certificate for `lists.test`, signed by itself, from 2020 to 2119.
const CERTIFICATE: &str = "
    3082018c30820132a003020102021479093714e8462c82d4f9889092d2b096521b76b1300a06082a8648ce3d04030230
    21311f301d06035504030c16726367656e2073656c66207369676e656420636572743020170d32303031303130303030
    30305a180f32313230303130313030303030305a3021311f301d06035504030c16726367656e2073656c66207369676e
    656420636572743059301306072a8648ce3d020106082a8648ce3d0301070342000483242165b07b43314c9c6cdb2762
    2410f4594adcd57f7ec6e781a5809f369e6be558d7f931c25e73e59aad296882f65d02dcd52ed446ff8bc34216d7e345
    3218a346304430150603551d11040e300c820a6c697374732e74657374301d0603551d0e04160414223a80c4c76c944e
    9a877dce3b8894e57b51397b300c0603551d130101ff04023000300a06082a8648ce3d040302034800304502207aae74
    91e0db2cae3dcb5c367e8738a9ca76fc1724ec275ae3acf1002b3444c5022100c3de84c1ed1f5f8e9cbbca284fb37968
    715da29004fd2e7d8753d1c76ff3ea83
";
/// Its key, which is for these tests alone.
const KEY: &str = "
    308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420bbe09ca80fc3b6ac93eb6ca4
    5c2184ac6278e77a4f114d519e64baf73e7fd6b9a1440342000483242165b07b43314c9c6cdb27622410f4594adcd57f
    7ec6e781a5809f369e6be558d7f931c25e73e59aad296882f65d02dcd52ed446ff8bc34216d7e3453218
";

/// Octets from hexadecimal digits.
fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// The certificate.
fn certificate() -> CertificateDer<'static> {
    octets(CERTIFICATE).into()
}

/// A server that replies so to as many connections, on a thread of its own; its port, and how many requests it saw.
fn serve(connections: usize, reply: Vec<u8>) -> (u16, thread::JoinHandle<usize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivatePkcs8KeyDer::from(octets(KEY)).into();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate()], key).unwrap());
    let serving = thread::spawn(move || {
        let connection = |_: usize| {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            // Whoever does not trust us says nothing.
            let asked = stream.read_exact(&mut [0; 64]).is_ok();
            if asked {
                stream.write_all(&reply).unwrap();
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
            usize::from(asked)
        };
        (0..connections).map(connection).sum()
    });
    (port, serving)
}

/// Asks a host at loopback, trusting the test's certificate or the built-in authorities.
async fn ask(host: &str, port: u16, trusted: bool) -> Result<(), NetworkError> {
    let url: Url =
        format!("https://{host}:{port}/a-path-that-makes-the-request-longer-than-64-octets").parse().unwrap();
    let mut source = Source::new("x", Location::Url(url.clone()));
    source.addresses = vec![Ipv4Addr::LOCALHOST.into()];
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let lookup = Arc::new(Hosts(""));
    let http = if trusted { Http::trusting(roots, lookup) } else { Http::new(lookup) };
    http::ask(&http.client(&source, &url).unwrap(), &url, None).await.map(drop)
}

#[tokio::test]
async fn only_who_proves_to_be_the_host_is_talked_to() {
    for (host, trusted, part) in [
        ("lists.test", true, ""),
        ("other.test", true, "certificate not valid for name \"other.test\""),
        ("lists.test", false, "UnknownIssuer"),
    ] {
        let (port, serving) = serve(1, reply("HTTP/1.1 200 OK", b"a.example"));
        let result = ask(host, port, trusted).await;
        assert_eq!(serving.join().unwrap(), usize::from(part.is_empty()), "{host}");
        match result {
            Ok(()) => assert_eq!(part, "", "{host}"),
            Err(NetworkError::Untrusted(why)) => {
                assert!(!part.is_empty() && why.contains(part), "{host}: {why}");
            }
            Err(error) => panic!("{host}: {error}"),
        }
    }
}

#[tokio::test]
async fn what_tls_gave_is_not_given_up() {
    let (port, serving) = serve(1, reply("HTTP/1.1 302 Found\r\nLocation: http://lists.test/", b""));
    let error = ask("lists.test", port, true).await.unwrap_err();
    assert_eq!(serving.join().unwrap(), 1);
    assert_eq!(error, NetworkError::Redirect(BadRedirect::GivesUpTls));
}
