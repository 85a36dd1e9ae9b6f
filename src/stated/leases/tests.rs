//! Samples of each format, and what becomes of them: tables.

use super::*;

/// A file of dnsmasq's, of both families, with all that it writes beside leases.
pub(super) const DNSMASQ: &str = "\
1714688472 00:11:22:33:44:55 192.168.1.50 laptop 01:00:11:22:33:44:55
0 06-00:11:22:33:44:56 192.168.1.51 printer *
1714688473 00:11:22:33:44:57 192.168.1.52 * ff:00
43200 00:11:22:33:44:58 192.168.1.53 clockless *
duid 00:01:00:01:2c:5e:9a:3f:00:11:22:33:44:55
1714688474 1122867 fd00::50 laptop 00:01:00:01:2c:5e:9a:40
1714688475 T1122868 fd00::51 * 00:01:00:01:2c:5e:9a:40
agent-info 192.168.1.50 01:02
vendorclass fd00::50 00:00:01:37
";
/// A file of dhcpd's.
const DHCPD: &str = r#"# The format of this file is documented in the dhcpd.leases(5) manual page.
# This lease file was written by isc-dhcp-4.4.3-P1

# authoring-byte-order entry is generated, DO NOT DELETE
authoring-byte-order little-endian;

server-duid "\000\001\000\001,^\232?\000\021\"3DU";

lease 192.168.1.50 {
  starts 4 2024/05/02 10:11:12;
  ends 4 2024/05/02 22:21:12;
  tstp 4 2024/05/02 22:21:12;
  cltt 4 2024/05/02 10:11:12;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet 00:11:22:33:44:55;
  uid "\001\000\021\"3D;U}";
  set vendor-class-identifier = "MSFT 5.0";
  client-hostname "Laptop";
}
lease 192.168.1.51 {
  starts epoch 1714644672; # Thu May  2 10:11:12 2024
  ends epoch 1714688472; # Thu May  2 22:21:12 2024
  binding state active;
  client-hostname "old-name";
}
lease 192.168.1.51 {
  starts epoch 1714644700;
  ends never;
  binding state active;
  set ddns-rev-name = "51.1.168.192.in-addr.arpa.";
  set ddns-fwd-name = "phone.lan";
  client-hostname "phone-x";
}
lease 192.168.1.52 {
  starts 4 2024/05/02 10:11:12;
  ends 4 2024/05/02 22:21:12;
  binding state active;
  client-hostname "gone";
}
lease 192.168.1.52 {
  starts 4 2024/05/02 10:11:12;
  ends 4 2024/05/02 10:20:00;
  binding state free;
  client-hostname "gone";
}
lease 192.168.1.53 {
  ends 4 2024/05/02 22:21:12;
  abandoned;
  client-hostname "x";
}
failover peer "dhcp" state {
  my state normal at 4 2024/05/02 10:00:00;
}
host fixed { dynamic; hardware ethernet 00:11:22:33:44:59; fixed-address 192.168.1.60; }
ia-na "\001\002\003" {
  cltt 4 2024/05/02 10:11:12;
  iaaddr fd00::50 {
    binding state active;
    preferred-life 375;
    max-life 600;
    ends 4 2024/05/02 22:21:12;
    set ddns-fwd-name = "laptop.lan";
  }
}
lease 192.168.1.54 {
  starts 4 2024/05/02 10:11:12;
  ends 4 2024/05/02 22:2"#;
/// Kea's files, of each family.
const KEA4: &str = "\
address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
192.168.1.50,00:11:22:33:44:55,01:00:11:22:33:44:55,3600,1714688472,1,0,0,laptop.lan.,0,,0
192.168.1.51,00:11:22:33:44:56,,3600,1714688472,1,0,0,declined,1,,0
192.168.1.52,00:11:22:33:44:57,,3600,1714688472,1,0,0,moved,0,,0
192.168.1.52,00:11:22:33:44:57,,3600,1714690000,1,0,0,renewed,0,{ \"a\": 1&#x2c \"b\": 2 },0
192.168.1.53,00:11:22:33:44:58,,3600,1714688472,1,0,0,deleted,0,,0
192.168.1.53,00:11:22:33:44:58,,0,1714688472,1,0,0,deleted,0,,0
192.168.1.54,00:11:22:33:44:59,,4294967295,6009611967,1,0,0,forever,0,,0
192.168.1.55,00:11:22:33:44:60,,3600,1714688472,1,0,0,,0,,0
192.168.1.56,00:11:22:33:44:61,,3600,1714688472,1,0,0,reclaimed,2,,0
";
const KEA6: &str = "\
address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id
fd00::50,00:01,4000,1714688472,1,3000,0,7,128,1,1,laptop.lan.,,0,,,,0
fd00:1::,00:01,4000,1714688472,1,3000,2,7,56,0,0,router,,0,,,,0
";

/// What is read: `address host ends given`, and the problems, as `line! what`.
fn shown(parts: &[&str], format: Option<Format>) -> Vec<String> {
    let parts: Vec<Part<'_>> =
        parts.iter().map(|text| Part { file: "leases", content: text.as_bytes() }).collect();
    let (leases, problems) = match read(&parts, format) {
        Ok((leases, problems)) => (leases, problems),
        Err(problem) => return vec![format!("broken! {}", problem.message)],
    };
    let ends = |ends: Option<i64>| ends.map_or("never".to_owned(), |ends| ends.to_string());
    let given = |given: i64| if given == i64::MAX { "?".to_owned() } else { given.to_string() };
    let each = leases.leases.iter().map(|lease| {
        let host = String::from_utf8_lossy(&lease.host);
        format!("{} {host} {} {}", lease.address, ends(lease.ends), given(lease.given))
    });
    let bad = problems.iter().map(|problem| format!("{}! {}", problem.line.unwrap_or(0), problem.message));
    each.chain(bad).collect()
}

#[test]
fn leases_are_read_as_their_servers_write_them() {
    let dnsmasq = [
        "192.168.1.50 laptop 1714688472 1714688472",
        "192.168.1.51 printer never ?",
        "192.168.1.53 clockless never ?",
        "fd00::50 laptop 1714688474 1714688474",
    ];
    let dhcpd = [
        "192.168.1.50 Laptop 1714688472 1714644672",
        "192.168.1.51 phone.lan never 1714644700",
        "fd00::50 laptop.lan 1714688472 1714688472",
    ];
    let kea4 = [
        "192.168.1.50 laptop.lan. 1714688472 1714684872",
        "192.168.1.52 renewed 1714690000 1714686400",
        "192.168.1.54 forever never 1714644672",
    ];
    assert_eq!(shown(&[DNSMASQ], None), dnsmasq);
    assert_eq!(shown(&[DHCPD], None), dhcpd);
    assert_eq!(shown(&[KEA4], None), kea4);
    assert_eq!(shown(&[KEA6], None), ["fd00::50 laptop.lan. 1714688472 1714684472"]);
    // Lines may end as on other systems.
    assert_eq!(shown(&[&DNSMASQ.replace('\n', "\r\n")], None), dnsmasq);
    assert_eq!(shown(&[&KEA4.replace('\n', "\r\n")], None), kea4);
}

#[test]
fn a_format_is_found_out_or_said() {
    let other = "broken! no file of leases that is known";
    let columns = "broken! the first row names no address, valid_lifetime, expire and hostname";
    let none: [&str; 0] = [];
    for (text, format, expected) in [
        ("", None, &none[..]),
        ("\n# nothing yet\n", None, &none),
        ("# dhcpd\nserver-duid \"x\";\n", None, &none),
        ("duid 00:01\n", None, &none),
        (
            "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state\n",
            None,
            &none,
        ),
        ("<html>\n", None, &[other]),
        ("nas 192.168.1.10\n", None, &[other]),
        ("address,hostname\n", None, &[columns]),
        ("1714688472 x 192.168.1.50 a *\n", Some(Format::Kea), &[columns]),
        ("1714688472 x 192.168.1.50 a *\n", Some(Format::Dnsmasq), &["192.168.1.50 a 1714688472 1714688472"]),
        ("1714688472 x 192.168.1.50 a *\n", Some(Format::Dhcpd), &none),
    ] {
        assert_eq!(shown(&[text], format), expected, "{text}");
    }
}

#[test]
fn a_bad_entry_costs_itself_only() {
    for (text, expected) in [
        ("1 x 192.168.1.50 a *\n1 x nowhere b *\n1 x 192.168.1.52 c *\n", "2! no lease of dnsmasq's"),
        ("1 x 192.168.1.50 a *\n1 x 192.168.1.51\n1 x 192.168.1.52 c\n", "2! no lease of dnsmasq's"),
        (
            "lease 192.168.1.50 { client-hostname \"a\"; }\nlease x { client-hostname \"b\"; }\n\
             lease 192.168.1.52 { client-hostname \"c\"; }",
            "2! a lease without an address or an end that can be read",
        ),
        (
            "lease 192.168.1.50 { client-hostname \"a\"; }\nlease 192.168.1.51 { ends 9 soon; client-hostname \"b\"; }\n\
             lease 192.168.1.52 { client-hostname \"c\"; }",
            "2! a lease without an address or an end that can be read",
        ),
        (
            "address,valid_lifetime,expire,hostname\n192.168.1.50,4294967295,1,a\n192.168.1.51,soon,1,b\n\
             192.168.1.52,4294967295,1,c\n",
            "3! a row that does not fit the first",
        ),
    ] {
        let found = shown(&[text], None);
        let hosts: Vec<&str> = found.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(hosts[..2], ["a", "c"], "{text}");
        assert_eq!(found[2..], [expected], "{text}");
    }
    // One that holds nothing else is broken as a whole.
    assert_eq!(shown(&["1 x nowhere b *\n"], None), ["broken! no lease of dnsmasq's"]);
}

#[test]
fn what_is_half_written_is_read_as_far_as_it_goes() {
    for sample in [DNSMASQ, DHCPD, KEA4, KEA6] {
        let whole = shown(&[sample], None);
        for end in 0..sample.len() {
            let Some(part) = sample.get(..end) else { continue };
            let format = found_out(sample.as_bytes());
            for lease in shown(&[part], format).iter().filter(|line| !line.contains('!')) {
                // It may be one that a later entry replaces, or a name or a number of which the end is missing.
                let host = lease.split(' ').nth(1).unwrap();
                assert!(sample.contains(host), "{lease}");
            }
        }
        assert!(!whole.is_empty());
    }
}

#[test]
fn parts_of_a_file_are_one_behind_the_other() {
    let head = "address,valid_lifetime,expire,hostname,state\n";
    let before = format!("{head}192.168.1.50,60,1000000060,a,0\n192.168.1.51,60,1000000060,b,0\n");
    let after = format!("{head}192.168.1.50,60,1000000120,new,0\n");
    let expected = ["192.168.1.50 new 1000000120 1000000060", "192.168.1.51 b 1000000060 1000000000"];
    assert_eq!(shown(&[&before, &after], None), expected);
    assert_eq!(shown(&[&before, ""], None)[0], "192.168.1.50 a 1000000060 1000000000");
}

#[test]
fn there_is_an_end_to_what_is_kept() {
    let lines = |count: usize| -> String {
        (0..count).map(|n| format!("0 x 10.{}.{}.{} h{n} *\n", n >> 16, n >> 8 & 255, n & 255)).collect()
    };
    let text = lines(MAX_LEASES + 3);
    let (leases, problems) = read(&[Part { file: "leases", content: text.as_bytes() }], None).unwrap();
    assert_eq!((leases.leases.len(), leases.left_out), (MAX_LEASES, 3));
    assert_eq!(problems[0].message, "3 leases are left out: there are more than 65536");
    let deep = "x {".repeat(100_000);
    assert_eq!(shown(&[&deep], Some(Format::Dhcpd)), ["broken! blocks that never end"]);
}
