//! An Unbound that is asked over TLS or HTTPS, and certificates of the tests' own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::process::{Folder, PATIENCE, has_tool};

/// Where Debian's package has the program: a folder that is not on everybody's path.
const UNBOUND: &str = "/usr/sbin/unbound";
/// What the upstream knows.
const ZONE: &str = "local-zone: \"test.\" static\nlocal-data: \"www.test. A 192.0.2.7\"\nlocal-data: \"evil.test. A 192.0.2.66\"\nlocal-data: \"dns.test. A 127.0.0.1\"\nlocal-data: \"dns.test. AAAA ::1\"\n";

/// How an Unbound is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// In clear.
    Clear,
    /// By DNS over TLS.
    Tls,
    /// By DNS over HTTPS, at `/dns-query`.
    Https,
}

/// An Unbound that answers in one way alone. Dropping it kills it.
pub struct Unbound {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Unbound {
    /// Starts with the certificate `NAME.pem` and key `NAME.key` of a folder, and waits until it listens; none where it is not
    /// installed.
    pub fn start(folder: &Folder, name: &str, asked: Asked) -> Option<Unbound> {
        // Free until now; nobody else takes it so soon.
        let addr =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("its number");
        Unbound::start_at(addr, folder, name, asked)
    }

    /// The same at an address.
    pub fn start_at(addr: SocketAddr, folder: &Folder, name: &str, asked: Asked) -> Option<Unbound> {
        let program = if Path::new(UNBOUND).is_file() { UNBOUND } else { "unbound" };
        if program != UNBOUND && !has_tool(program, "unbound") {
            return None;
        }
        let path = |end: &str| folder.file(&format!("{name}{end}")).display().to_string();
        let config = format!(
            "server:\nchroot: \"\"\nusername: \"\"\npidfile: \"\"\ndirectory: \"{}\"\nuse-syslog: no\ndo-daemonize: no\n\
             interface: 127.0.0.1@{port}\n{asked}: {port}\ntls-service-key: \"{}\"\ntls-service-pem: \"{}\"\n\
             incoming-num-tcp: 10\nmodule-config: \"iterator\"\n{ZONE}remote-control:\ncontrol-enable: no\n",
            folder.path().display(),
            path(".key"),
            path(".pem"),
            port = addr.port(),
            asked = match asked {
                // No port that it listens at is for either of the others.
                Asked::Clear => "port",
                Asked::Tls => "tls-port",
                Asked::Https => "https-port",
            },
        );
        let file = format!("{name}-{}.conf", addr.port());
        folder.write(&file, &config);
        let log = fs::File::create(folder.file(&format!("{name}.log"))).expect("a log");
        let child = Command::new(program)
            .arg("-dd")
            .arg("-c")
            .arg(folder.file(&file))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unbound starts");
        let mut unbound = Unbound { child, addr };
        let begun = Instant::now();
        while TcpStream::connect(addr).is_err() {
            let ended = unbound.child.try_wait().expect("a state");
            let log = fs::read_to_string(folder.file(&format!("{name}.log"))).unwrap_or_default();
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "unbound does not listen: {ended:?}\n{log}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(unbound)
    }

    /// Ends it at once, and waits until it has.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An authority, its certificate in a file of the folder.
pub fn authority(folder: &Folder, file: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
    folder.write(file, &issuer.pem());
    issuer
}

/// A certificate for a host, and its key, in files of the folder.
pub fn certify(folder: &Folder, host: &str, issuer: &CertifiedIssuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    folder.write(&format!("{host}.pem"), &certificate.pem());
    folder.write(&format!("{host}.key"), &key.serialize_pem());
}
