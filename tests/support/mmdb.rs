//! Files of places in MaxMind's format 2.0, written by the book: a search tree of bits, and values behind it.

use std::net::IpAddr;

use serde_json::{Value, json};

/// What stands before the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// Octets of nothing between the tree and the values.
const GAP: usize = 16;

/// Type: octets of UTF-8.
const TEXT: u8 = 2;
/// Type: a number of 16 bits.
const UINT16: u8 = 5;
/// Type: one of 32 bits.
const UINT32: u8 = 6;
/// Type: pairs of a text and a value.
const MAP: u8 = 7;
/// Type: a number of 64 bits.
const UINT64: u8 = 9;
/// Type: values.
const ARRAY: u8 = 11;

/// Where a bit of an address leads.
#[derive(Clone, Copy, PartialEq)]
enum Record {
    /// Nowhere.
    Nothing,
    /// On to this node.
    Node(usize),
    /// So many octets into the values.
    Value(usize),
}

/// Octets of a file that says this of networks, none of which is in another. Of IPv4 alone, or of both: IPv4 is `::/96` then.
pub fn mmdb(ip_version: u8, entries: &[(&str, Value)]) -> Vec<u8> {
    let (mut nodes, mut values) = (vec![[Record::Nothing; 2]], Vec::new());
    for (network, value) in entries {
        let (addr, len) = network.split_once('/').expect("a network");
        let len: usize = len.parse().expect("a length");
        let (octets, len) = match (addr.parse().expect("an address"), ip_version) {
            (IpAddr::V4(addr), 4) => (addr.octets().to_vec(), len),
            (IpAddr::V4(addr), _) => ([&[0; 12][..], &addr.octets()].concat(), 96 + len),
            (IpAddr::V6(addr), _) => (addr.octets().to_vec(), len),
        };
        let bit = |at: usize| usize::from(octets[at / 8] >> (7 - at % 8) & 1);
        let mut node = 0;
        for at in 0..len - 1 {
            node = match nodes[node][bit(at)] {
                Record::Node(next) => next,
                Record::Nothing => {
                    let next = nodes.len();
                    nodes.push([Record::Nothing; 2]);
                    nodes[node][bit(at)] = Record::Node(next);
                    next
                }
                Record::Value(_) => panic!("{network} is in another network"),
            };
        }
        assert!(nodes[node][bit(len - 1)] == Record::Nothing, "another network is in {network}");
        nodes[node][bit(len - 1)] = Record::Value(values.len());
        encode(value, &mut values);
    }
    let number = |record: &Record| match *record {
        Record::Nothing => nodes.len(),
        Record::Node(node) => node,
        Record::Value(at) => nodes.len() + GAP + at,
    };
    let octets = |record: &Record| [16, 8, 0].map(|shift| (number(record) >> shift) as u8);
    let mut file: Vec<u8> = nodes.iter().flatten().flat_map(octets).collect();
    file.extend([0; GAP]);
    file.extend(values);
    file.extend(MARKER);
    // Of each number the format says the type.
    let metadata = [
        ("binary_format_major_version", UINT16, 2),
        ("binary_format_minor_version", UINT16, 0),
        ("build_epoch", UINT64, 1),
        ("ip_version", UINT16, u64::from(ip_version)),
        ("node_count", UINT32, nodes.len() as u64),
        ("record_size", UINT16, 24),
    ];
    let texts = [
        ("database_type", json!("Test")),
        ("description", json!({"en": "Test"})),
        ("languages", json!(["en"])),
    ];
    control(MAP, metadata.len() + texts.len(), &mut file);
    for (key, kind, value) in metadata {
        encode(&json!(key), &mut file);
        unsigned(kind, value, &mut file);
    }
    for (key, value) in texts {
        encode(&json!(key), &mut file);
        encode(&value, &mut file);
    }
    file
}

/// Appends a value: its type and size, then itself.
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            control(TEXT, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Number(number) => unsigned(UINT32, number.as_u64().expect("not negative"), out),
        Value::Object(pairs) => {
            control(MAP, pairs.len(), out);
            for (key, value) in pairs {
                encode(&json!(key), out);
                encode(value, out);
            }
        }
        Value::Array(items) => {
            control(ARRAY, items.len(), out);
            items.iter().for_each(|item| encode(item, out));
        }
        other => panic!("{other} is not written here"),
    }
}

/// Appends a number, without the zeros before it.
fn unsigned(kind: u8, value: u64, out: &mut Vec<u8>) {
    let octets = value.to_be_bytes();
    let zeros = value.leading_zeros() as usize / 8;
    control(kind, octets.len() - zeros, out);
    out.extend(&octets[zeros..]);
}

/// Appends what stands before a value. Types above 7 have an octet of their own.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (short, more) = if size < 29 { (size as u8, None) } else { (29, Some(size - 29)) };
    out.push(if kind > 7 { short } else { kind << 5 | short });
    out.extend((kind > 7).then(|| kind - 7));
    out.extend(more.map(|more| u8::try_from(more).expect("no long text")));
}
